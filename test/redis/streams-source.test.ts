import { readFileSync } from "node:fs";
import { Cluster, type Redis } from "ioredis";
import { expect, onTestFinished, test } from "vitest";
import { StartError } from "../../src/core/errors.ts";
import { createStreamsSource, type StreamsSourceOptions } from "../../src/sources/streams.ts";
import { startCluster } from "../support/cluster.ts";
import { silentLogger } from "../support/logger.ts";
import { bytesOut, callsOf, clockOffset, sourceRedis } from "../support/source-redis.ts";
import { type WatchedSource, watchSource } from "../support/watched-source.ts";

const hourMs = 3_600_000;

function watch(
  url: string,
  streams: string,
  options: Partial<StreamsSourceOptions> = {},
): Promise<WatchedSource> {
  return watchSource((wiring) =>
    createStreamsSource({
      ...{ url: `${url}?streams=${encodeURIComponent(streams)}`, intervalMs: 20, countEveryMs: 40 },
      ...wiring,
      ...options,
    }),
  );
}

async function add(at: Redis, stream: string, count = 1): Promise<readonly string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(String(await at.xadd(stream, "*", "job", `${i}`)));
  return ids;
}

async function take(at: Redis, stream: string, count: number, consumer = "worker"): Promise<string[]> {
  const reply = await at.xreadgroup("GROUP", "g", consumer, "COUNT", count, "STREAMS", stream, ">");
  const [[, entries]] = reply as [[string, [string, string[]][]]];
  return entries.map(([id]) => id);
}

test("a group's head is the first entry that no consumer was given, and its age is that of its id", async () => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "orders", "g", "0", "MKSTREAM");
  const ids = await add(at, "orders", 5);
  const watched = await watch(url, "orders");
  for (const taken of [0, 1, 3]) {
    if (taken > 0) await take(at, "orders", taken - (taken === 3 ? 1 : 0));
    const { headAgeMs, readAtMs, uncertaintyMs } = await watched.until("orders/g", {
      ...{ depth: 5 - taken, depthIsLowerBound: false, accuracy: "EXACT", inFlight: taken, paused: false },
      scheduled: null,
    });
    const offset = await clockOffset(at);
    const since = readAtMs + offset.ms - (headAgeMs ?? Number.NaN);
    const roundingMs = 2;
    expect(Math.abs(since - Number(ids[taken]?.split("-")[0]))).toBeLessThanOrEqual(
      uncertaintyMs + offset.uncertaintyMs + roundingMs,
    );
  }
  await take(at, "orders", 2);
  await watched.until("orders/g", { depth: 0, headAgeMs: null, accuracy: "EXACT", inFlight: 5 });
});

test("a group that was destroyed and made again has no depth of the one before", async () => {
  const { url, at } = await sourceRedis();
  const [, second = "", third = ""] = await add(at, "orders", 5);
  // Redis knows no lag of a group that begins in the middle.
  await at.xgroup("CREATE", "orders", "g", second);
  const watched = await watch(url, "orders", { countEveryMs: hourMs });
  await watched.until("orders/g", { depth: 3 });
  await at.xgroup("DESTROY", "orders", "g");
  await watched.untilGone("orders/g");
  await at.xgroup("CREATE", "orders", "g", third);
  await watched.until("orders/g", { depth: null, accuracy: "EXACT" });
});

test("entries that a killed worker has do not wait, and are in flight until they are acknowledged", async () => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "orders", "g", "0", "MKSTREAM");
  await add(at, "orders", 3);
  const watched = await watch(url, "orders");
  const ids = await take(at, "orders", 3, "killed");
  const first = await watched.until("orders/g", { depth: 0, inFlight: 3, headAgeMs: null });
  await watched.until("orders/g", {
    inFlightIdleMs: expect.toSatisfy((idle) => idle > (first.inFlightIdleMs ?? 0)),
  });
  await at.xclaim("orders", "g", "killed", 0, ids[0] ?? "", "IDLE", hourMs);
  await watched.until("orders/g", { inFlightIdleMs: expect.toSatisfy((idle) => idle >= hourMs) });
  // Another worker claims it, and works it.
  await at.xclaim("orders", "g", "other", 0, ids[0] ?? "");
  await watched.until("orders/g", { inFlightIdleMs: expect.toSatisfy((idle) => idle < hourMs) });
  await at.xack("orders", "g", ids[0] ?? "");
  await watched.until("orders/g", { inFlight: 2 });
  await at.xack("orders", "g", ...ids.slice(1));
  await watched.until("orders/g", { inFlight: 0, inFlightIdleMs: null });
});

interface Case {
  readonly why: string;
  readonly arrange: (at: Redis, ids: readonly string[]) => Promise<unknown>;
  /** Of the entry, by its place in the stream as it was. */
  readonly head: number | null;
  readonly depth: number;
}

/** Of a stream with entries 0 to 9, of which group g was given none. */
const cases: readonly Case[] = [
  { why: "nothing was deleted: Redis knows the lag", arrange: async () => {}, head: 0, depth: 10 },
  {
    why: "the head was deleted, and Redis knows no lag",
    arrange: (at, ids) => at.xdel("s", ids[0] ?? ""),
    head: 1,
    depth: 9,
  },
  {
    why: "an entry in the middle was deleted after some were given",
    async arrange(at, ids) {
      await take(at, "s", 3);
      await at.xdel("s", ids[6] ?? "");
    },
    head: 3,
    depth: 6,
  },
  {
    why: "all that is left was deleted: no entry waits, and the lag is not known",
    async arrange(at, ids) {
      await take(at, "s", 8);
      await at.xdel("s", ids[8] ?? "", ids[9] ?? "");
    },
    head: null,
    depth: 0,
  },
  {
    why: "unread entries were trimmed: they are lost, and do not wait",
    arrange: (at) => at.xtrim("s", "MAXLEN", 4),
    head: 6,
    depth: 4,
  },
  {
    why: "some were given, then some more trimmed",
    async arrange(at) {
      await take(at, "s", 2);
      await at.xtrim("s", "MAXLEN", 5);
    },
    head: 5,
    depth: 5,
  },
  {
    why: "given ones were trimmed",
    async arrange(at) {
      await take(at, "s", 4);
      await at.xtrim("s", "MAXLEN", 7);
    },
    head: 4,
    depth: 6,
  },
  {
    why: "the group was set to an id in the middle",
    arrange: (at, ids) => at.xgroup("SETID", "s", "g", ids[4] ?? ""),
    head: 5,
    depth: 5,
  },
  {
    why: "the group was set to the end",
    arrange: (at) => at.xgroup("SETID", "s", "g", "$"),
    head: null,
    depth: 0,
  },
  {
    why: "the group was set back to the begin after it was given all",
    async arrange(at) {
      await take(at, "s", 10);
      await at.xgroup("SETID", "s", "g", "0");
    },
    head: 0,
    depth: 10,
  },
  {
    why: "the group was set back, and is said to have read all: Redis takes its lag for 0",
    async arrange(at) {
      await take(at, "s", 10);
      await at.call("XGROUP", "SETID", "s", "g", "0", "ENTRIESREAD", "10");
    },
    head: 0,
    depth: 10,
  },
];

test.each(cases)("where $why, entry $head is the head of $depth", async ({ arrange, head, depth }) => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM");
  const ids = await add(at, "s", 10);
  await arrange(at, ids);
  const watched = await watch(url, "s");
  const { headAgeMs, readAtMs, uncertaintyMs } = await watched.until("s/g", {
    ...{ depth, accuracy: "EXACT", headAgeMs: head === null ? null : expect.any(Number) },
  });
  if (head === null) return;
  const offset = await clockOffset(at);
  const since = readAtMs + offset.ms - (headAgeMs ?? Number.NaN);
  expect(Math.abs(since - Number(ids[head]?.split("-")[0]))).toBeLessThanOrEqual(
    uncertaintyMs + offset.uncertaintyMs + 2,
  );
});

test("each group of a stream is a queue of its own; one that is destroyed is gone, and a stream without any is unknown", async () => {
  const { url, at } = await sourceRedis();
  await add(at, "orders", 2);
  const watched = await watch(url, "orders");
  await watched.until("orders", { depth: null, headAgeMs: null, accuracy: "UNKNOWN" });
  await at.xgroup("CREATE", "orders", "g", "0");
  await at.xgroup("CREATE", "orders", "late", "$");
  await watched.until("orders/g", { depth: 2, accuracy: "EXACT" });
  await watched.until("orders/late", { depth: 0, headAgeMs: null });
  await watched.untilGone("orders");
  await at.xgroup("DESTROY", "orders", "g");
  await watched.untilGone("orders/g");
  expect(watched.latest("orders/late")).toMatchObject({ depth: 0 });
  await at.del("orders");
  await watched.untilGone("orders/late");
  await at.xgroup("CREATE", "orders", "g", "0", "MKSTREAM");
  await watched.until("orders/g", { depth: 0, headAgeMs: null });
});

/** What the ids of a producer are, and what can be said of the age of the head, `1h` being an hour old. */
const ownIds = [
  { ids: (_: number) => ["1-1", "2-1"], accuracy: "UNKNOWN", why: "they are numbers, not times" },
  { ids: (now: number) => [`${now + hourMs}-0`], accuracy: "LOWER_BOUND", why: "its clock is far ahead" },
  { ids: (now: number) => [`${now * 1000}-0`], accuracy: "UNKNOWN", why: "they are times in µs" },
  { ids: (now: number) => [`${now + 30_000}-0`], accuracy: "ESTIMATED", why: "its clock is ahead" },
  { ids: (now: number) => [`${now - hourMs}-0`], accuracy: "EXACT", why: "nothing contradicts it yet" },
] as const;

test.each(ownIds)(
  "of a producer that makes ids, accuracy is $accuracy when $why",
  async ({ ids, accuracy }) => {
    const { url, at } = await sourceRedis();
    await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM");
    const [seconds] = await at.time();
    for (const id of ids(Number(seconds) * 1000)) await at.xadd("s", id, "job", "1");
    const watched = await watch(url, "s");
    const seen = await watched.until("s/g", { accuracy });
    if (accuracy !== "UNKNOWN") return;
    // Not a calm 0: it has been unknown for longer with each reading.
    await watched.until("s/g", { headAgeMs: expect.toSatisfy((age) => age > (seen.headAgeMs ?? 0)) });
  },
);

test("a new entry with a time from before the last look shows that the producer makes the ids", async () => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM");
  const [seconds] = await at.time();
  const hourAgo = Number(seconds) * 1000 - hourMs;
  await at.xadd("s", `${hourAgo}-0`, "job", "1");
  const watched = await watch(url, "s");
  await watched.until("s/g", { accuracy: "EXACT", depth: 1 });
  await at.xadd("s", `${hourAgo + 1000}-0`, "job", "2");
  await watched.until("s/g", { accuracy: "ESTIMATED", depth: 2 });
  // From then on all are such.
  await at.xadd("s", "*", "job", "3");
  await take(at, "s", 2);
  await watched.until("s/g", { accuracy: "ESTIMATED", depth: 1 });
});

/** What happens to a stream between two readings, with ids of an hour ago where Redis would make one of now. */
const oldIds = [
  {
    why: "the stream was deleted and made again with smaller ids",
    change: (at: Redis, hourAgo: number) =>
      at
        .multi()
        .del("s")
        .xgroup("CREATE", "s", "g", "0", "MKSTREAM")
        .xadd("s", `${hourAgo - 1000}-0`, "job", "1"),
  },
  {
    why: "the one with such an id has been deleted already",
    change: (at: Redis, hourAgo: number) =>
      at
        .multi()
        .xadd("s", `${hourAgo + 1000}-0`, "job", "2")
        .xdel("s", `${hourAgo + 1000}-0`),
  },
];

test.each(oldIds)("the producer's ids are noticed when $why", async ({ change }) => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM");
  const [seconds] = await at.time();
  const hourAgo = Number(seconds) * 1000 - hourMs;
  await at.xadd("s", `${hourAgo}-0`, "job", "1");
  const watched = await watch(url, "s");
  await watched.until("s/g", { accuracy: "EXACT", depth: 1 });
  await change(at, hourAgo).exec();
  await watched.until("s/g", { accuracy: "ESTIMATED", depth: 1 });
});

const lua = readFileSync(new URL("../../src/sources/lua/streams.lua", import.meta.url), "utf8");

/** Names of groups in Redis's order, which is that of their bytes. */
const goneGroups = [
  { gone: "b", rest: ["ba", "c", "Ü"] },
  { gone: "B", rest: ["a", "ba", "c", "Ü"] },
  { gone: "", rest: ["A", "a", "ba", "c", "Ü"] },
  { gone: "b\u0000", rest: ["ba", "c", "Ü"] },
  { gone: "z", rest: ["Ü"] },
  { gone: "é", rest: [] },
];

test.each(goneGroups)("a reading goes on behind the group $gone, also when that has gone", async (row) => {
  const { at } = await sourceRedis();
  for (const name of ["A", "a", "ba", "c", "Ü"]) await at.xgroup("CREATE", "s", name, "0", "MKSTREAM");
  const after = `=${Buffer.from(row.gone).toString("hex")}`;
  const [, , [, ...fields]] = (await at.eval(lua, 1, "s", "0", after)) as [number, string, unknown[]];
  const names = fields.filter((_, i) => i % 5 === 0);
  expect(names).toEqual(row.rest);
});

test("a group whose name is not UTF-8 hides none of those behind it", async () => {
  const { url, at } = await sourceRedis();
  // A call reads a thousand.
  const many =
    "for i = 1, 999 do redis.call('XGROUP', 'CREATE', KEYS[1], string.format('%04d', i), '0', 'MKSTREAM') end";
  await at.eval(many, 1, "s");
  await at.xgroup("CREATE", "s", Buffer.from([0x80]), "0");
  await at.xgroup("CREATE", "s", "é", "0");
  const watched = await watch(url, "s");
  // It has no valid name itself.
  expect((await watched.next()).queues).toHaveLength(1_000);
  await watched.until("s/é", { depth: 0 });
});

test("streams are found by patterns, and keys of other types are not read", async () => {
  const { url, at } = await sourceRedis();
  for (const stream of ["mail:a", "mail:b", "other", "logs:1"])
    await at.xgroup("CREATE", stream, "g", "0", "MKSTREAM");
  await at.set("mail:no-stream", "1");
  const watched = await watch(url, "mail:*,logs:?,missing");
  await watched.until("mail:b/g", { depth: 0 });
  await watched.until("logs:1/g", { depth: 0 });
  await at.xgroup("CREATE", "mail:c", "g", "0", "MKSTREAM");
  await watched.until("mail:c/g", { depth: 0 });
  const { queues } = await watched.next();
  expect(queues.map(({ queue }) => queue).sort()).toEqual(["logs:1/g", "mail:a/g", "mail:b/g", "mail:c/g"]);
});

/** Two that have one name. */
const clashes = [
  {
    why: "a slash is in a group, and in a stream",
    arrange: (at: Redis) =>
      at.multi().xgroup("CREATE", "a", "b/c", "0", "MKSTREAM").xgroup("CREATE", "a/b", "c", "0", "MKSTREAM"),
    name: "a/b/c",
    origins: ['stream "a", group "b/c"', 'stream "a/b", group "c"'],
  },
  {
    why: "a stream without a group is named as a group of another one",
    arrange: (at: Redis) =>
      at.multi().xgroup("CREATE", "a", "b", "0", "MKSTREAM").xadd("a/b", "*", "job", "1"),
    name: "a/b",
    origins: ['stream "a", group "b"', 'stream "a/b"'],
  },
];

test.each(clashes)("neither of two queues of one name has numbers when $why", async (row) => {
  const { arrange, name, origins } = row;
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "other", "g", "0", "MKSTREAM");
  await arrange(at).exec();
  const watched = await watch(url, "a,a/b,other");
  await watched.until(name, { depth: null, headAgeMs: null, accuracy: "UNKNOWN" });
  await watched.until("other/g", { depth: 0, accuracy: "EXACT" });
  expect((await watched.next()).queues).toHaveLength(2);
  const { fields } = await watched.logged("several queues have one name");
  expect(fields).toMatchObject({ queue: name, origins });
  await at.del("a/b");
  await watched.until(name, { depth: 0, accuracy: "EXACT" });
  expect(watched.log.filter(({ message }) => message === "several queues have one name")).toHaveLength(1);
});

test.each([
  { why: "streams", add: (at: Redis) => at.xgroup("CREATE", "mail:c", "g", "0", "MKSTREAM") },
  { why: "groups", add: (at: Redis) => at.xgroup("CREATE", "mail:a", "h", "0") },
])("more $why than the limit are not read, with one warning", async ({ add }) => {
  const { url, at } = await sourceRedis();
  for (const stream of ["mail:a", "mail:b"]) await at.xgroup("CREATE", stream, "g", "0", "MKSTREAM");
  const watched = await watch(url, "mail:*", { maxQueues: 2 });
  await watched.until("mail:a/g", { depth: 0 });
  await watched.until("mail:b/g", { depth: 0 });
  expect(watched.log).toEqual([]);
  await add(at);
  const { fields } = await watched.logged("skipped queues beyond the limit");
  expect(fields).toMatchObject({ read: 2 });
  expect((await watched.next()).queues).toHaveLength(2);
  expect(watched.log).toHaveLength(1);
});

test("logs once that no stream is named so", async () => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "order", "g", "0", "MKSTREAM");
  const watched = await watch(url, "orders:*");
  const { fields } = await watched.logged("no queues found");
  expect(String(fields.err)).toContain("orders:*");
  await at.xgroup("CREATE", "orders:1", "g", "0", "MKSTREAM");
  await watched.logged("queues found");
  expect(watched.log.filter(({ level }) => level === "warn")).toHaveLength(1);
});

test("a million entries cost as little as one, and are counted up to some thousands where Redis knows no lag", async () => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM");
  const fill = "for i = 1, 100000 do redis.call('XADD', KEYS[1], '*', 'job', i) end";
  for (let i = 0; i < 10; i++) await at.eval(fill, 1, "s");
  const watched = await watch(url, "s", { countEveryMs: 60_000 });
  await watched.until("s/g", { depth: 1_000_000, accuracy: "EXACT" });
  await at.config("RESETSTAT");
  const from = watched.seen.length;
  await watched.next();
  await watched.next();
  await watched.stop();
  const readings = watched.seen.length - from + 1;
  const calls = await callsOf(at);
  expect(calls.xrange).toBeLessThanOrEqual(2 * readings);
  expect((await bytesOut(at)) / readings).toBeLessThan(1_000);

  await take(at, "s", 1);
  const [second] = (await at.xrange("s", "-", "+", "COUNT", 500)).slice(-1);
  await at.xdel("s", second?.[0] ?? "");
  await at.config("RESETSTAT");
  const counted = await watch(url, "s", { countEveryMs: 60_000 });
  await counted.until("s/g", {
    depth: expect.toSatisfy((depth) => depth >= 5_000 && depth < 10_000),
    depthIsLowerBound: true,
    accuracy: "EXACT",
  });
});

test("entries of a megabyte stay where they are, and are read a few at a time", async () => {
  const { url, at } = await sourceRedis();
  for (let i = 0; i < 10; i++) {
    await at.xgroup("CREATE", `s${i}`, "g", "0", "MKSTREAM");
    await at.xadd(`s${i}`, "*", "job", "x".repeat(1_000_000));
  }
  await at.config("RESETSTAT");
  const watched = await watch(url, "s*", { intervalMs: 60_000 });
  const names = Array.from({ length: 10 }, (_, i) => `s${i}`).join();
  const named = await watch(url, names, { intervalMs: 60_000 });
  const { queues } = await named.next();
  expect(queues).toHaveLength(10);
  expect(queues.every(({ depth, accuracy }) => depth === 1 && accuracy === "EXACT")).toBe(true);
  await Promise.all([watched.stop(), named.stop()]);
  const calls = await callsOf(at);
  expect((calls.evalsha_ro ?? 0) + (calls.eval_ro ?? 0)).toBeGreaterThanOrEqual(10);
  expect(await bytesOut(at)).toBeLessThan(20_000);
});

const large = "x".repeat(300_000);

interface LargeCase {
  readonly why: string;
  /** Of the entries, one after the other. */
  readonly payloads: readonly string[];
  /** A group of its own begins before each entry, else there is one for all. */
  readonly isGroupEach?: boolean;
}

const largeCases: readonly LargeCase[] = [
  { why: "all are large", payloads: Array.from({ length: 60 }, () => large) },
  {
    why: "a thousand small ones come before them",
    payloads: Array.from({ length: 1_060 }, (_, i) => (i < 1_000 ? "x" : large)),
  },
  {
    why: "each is the head of another group",
    payloads: Array.from({ length: 60 }, () => large),
    isGroupEach: true,
  },
];

test.each(largeCases)("of large entries a few are in memory at once when $why", async (row) => {
  const { payloads, isGroupEach = false } = row;
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM");
  const ids: string[] = [];
  for (const [i, payload] of payloads.entries()) {
    if (isGroupEach) await at.xgroup("CREATE", "s", `g${i}`, ids.at(-1) ?? "0");
    ids.push(String(await at.xadd("s", "*", "job", payload)));
  }
  // Redis knows no lag any more, and entries are before the head.
  await at.xgroup("SETID", "s", "g", ids[0] ?? "");
  await at.xdel("s", ids.at(-2) ?? "");
  const before = await memoryOf(at);
  const watched = await watch(url, "s", { intervalMs: 60_000 });
  const { queues } = await watched.next();
  await watched.stop();
  expect(new Set(queues.map(({ queue }) => queue)).size).toBe(isGroupEach ? payloads.length + 1 : 1);
  for (const { accuracy, depth } of queues) {
    expect(accuracy).toBe("EXACT");
    expect(depth).toBeGreaterThanOrEqual(1);
  }
  // What a command answers is twice in memory, while it is put together. Before, all 18 MB of them were.
  expect((await memoryOf(at)).peak - before.used).toBeLessThan(9_000_000);
});

test("a group without a name, whose head is large, is read once", async () => {
  const { url, at } = await sourceRedis();
  for (const name of ["", "b"]) await at.xgroup("CREATE", "s", name, "0", "MKSTREAM");
  await at.xadd("s", "*", "job", "x".repeat(1_100_000));
  const watched = await watch(url, "s");
  await watched.until("s/", { depth: 1, accuracy: "EXACT" });
  await watched.until("s/b", { depth: 1, accuracy: "EXACT" });
});

test("every group of a stream is counted, though one call counts some thousands at most", async () => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM");
  await at.eval("for i = 1, 6000 do redis.call('XADD', KEYS[1], '*', 'job', i) end", 1, "s");
  const ids = (await at.xrange("s", "-", "+", "COUNT", 5)).map(([id]) => id);
  for (const [i, id] of ids.entries()) await at.xgroup("CREATE", "s", `g${i}`, id);
  const [[last]] = (await at.xrevrange("s", "+", "-", "COUNT", 1)) as [[string, string[]]];
  await at.xgroup("CREATE", "s", "late", last);
  await at.xadd("s", "*", "job", "last");
  await at.xdel("s", ids[2] ?? "");
  const watched = await watch(url, "s", { countEveryMs: 60_000 });
  for (let i = 0; i < 5; i++)
    await watched.until(`s/g${i}`, {
      depth: expect.toSatisfy((depth) => depth >= 5_000 && depth < 6_000),
      depthIsLowerBound: true,
    });
  await watched.until("s/late", { depth: 1, depthIsLowerBound: false });
});

async function memoryOf(at: Redis): Promise<{ readonly used: number; readonly peak: number }> {
  const info = await at.info("memory");
  const numberOf = (field: string) => Number(new RegExp(`^${field}:(\\d+)`, "m").exec(info)?.[1]);
  return { used: numberOf("used_memory"), peak: numberOf("used_memory_peak") };
}

test("a user who may only read is enough", async () => {
  const { url, at } = await sourceRedis();
  await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM");
  const may = ["-@all", "+@read", "-keys", "+eval_ro", "+evalsha_ro", "+time"];
  await at.acl("SETUSER", "watcher", "on", ">50% of p@ss/word:é", "~*", ...may);
  const watched = await watch(
    url.replace("//", `//watcher:${encodeURIComponent("50% of p@ss/word:é")}@`),
    "s,x:*",
  );
  await watched.until("s/g", { depth: 0, headAgeMs: null });
  expect(watched.log).toEqual([]);
});

test("a Redis Cluster is read at all its nodes", async () => {
  await using cluster = await startCluster();
  const at = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
  onTestFinished(() => at.disconnect());
  const names = Array.from({ length: 20 }, (_, i) => `mail:${i}`);
  for (const name of names) await at.xgroup("CREATE", name, "g", "0", "MKSTREAM");
  await at.xadd("mail:7", "*", "job", "1");
  const watched = await watch(cluster.nodes[0]?.url ?? "", "mail:*");
  await watched.until("mail:7/g", { depth: 1, accuracy: "EXACT" });
  for (const name of names) await watched.until(`${name}/g`, { accuracy: "EXACT" });
  await watched.stop();
});

test.each([
  "redis://:hunter2@host",
  "redis://:hunter2@host?streams=",
  "redis://:hunter2@?streams=a",
  "hunter2",
])("refuses the URL %s, and does not repeat it", (url) => {
  const options = { url, intervalMs: 20, sink: { observe: async () => {} }, logger: silentLogger };
  expect(() => createStreamsSource(options)).toThrow(StartError);
  expect(() => createStreamsSource(options)).not.toThrow(/hunter2/);
});
