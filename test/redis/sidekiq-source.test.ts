import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { messageOf, StartError } from "../../src/core/errors.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { createSidekiqSource, type SidekiqSourceOptions } from "../../src/sources/sidekiq.ts";
import { createSidekiqReader } from "../../src/sources/sidekiq-reader.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { whyNoTls } from "../support/faktory.ts";
import { silentLogger } from "../support/logger.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { startSidekiqClient, startSidekiqWorker, whyNoSidekiq } from "../support/sidekiq.ts";
import { until } from "../support/until.ts";
import { type WatchedSource, watchSource } from "../support/watched-source.ts";

const intervalMs = 20;
const hourMs = 3_600_000;

let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis({ args: ["--databases", "32"] });
  redis = new Redis(server.url);
});

afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
});

const title = whyNoSidekiq === null ? "a real Sidekiq" : `a real Sidekiq (${whyNoSidekiq})`;

describe.skipIf(whyNoSidekiq !== null)(title, () => {
  test("has the latencies and sizes that Sidekiq::Queue reports, for jobs new and old", async () => {
    const { url, at } = await ownDatabase();
    const sidekiq = startSidekiqClient(url);
    await sidekiq.push("new", ["a", "b", "c"]);
    await sidekiq.push("old", ["younger"]);
    await at.rpush("queue:old", JSON.stringify({ class: "Work", enqueued_at: (Date.now() - hourMs) / 1000 }));
    const watched = await watch(url);

    for (const [queue, size] of [
      ["new", 3],
      ["old", 2],
    ] as const) {
      const observed = await watched.until(queue, { depth: size, accuracy: "ESTIMATED", scheduled: null });
      const sentAtMs = monotonicClock.now();
      const answered = await sidekiq.ask(queue);
      const halfMs = (monotonicClock.now() - sentAtMs) / 2;
      // Both say when the head was enqueued, by this process's clock: they may differ by what they do not know.
      const bySource = observed.readAtMs - (observed.headAgeMs ?? Number.NaN);
      const bySidekiq = sentAtMs + halfMs - answered.latency * 1000;
      const roundingMs = 1;
      expect(Math.abs(bySource - bySidekiq)).toBeLessThanOrEqual(
        observed.uncertaintyMs + halfMs + roundingMs,
      );
      expect(answered.size).toBe(size);
    }
    expect(watched.latest("old")?.headAgeMs).toBeGreaterThan(hourMs - 1);
  });

  test("is seen to drain; what is scheduled or failed does not wait", async () => {
    const { url } = await ownDatabase();
    const sidekiq = startSidekiqClient(url);
    await sidekiq.push("mail", [...Array.from({ length: 40 }, String), "fail"]);
    await sidekiq.push("images", ["a"]);
    await sidekiq.pushIn("later", 3600);
    const watched = await watch(url);
    await watched.until("mail", { depth: 41, accuracy: "ESTIMATED" });
    expect(watched.latest("later")).toBeUndefined();

    startSidekiqWorker(url, ["mail", "images"]);
    await watched.until("mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    await watched.until("images", { depth: 0, headAgeMs: null });
    await until(async () => expect(await sidekiq.sets()).toEqual({ scheduled: 1, retries: 1 }));
    await watched.next();
    expect(watched.latest("mail")).toMatchObject({ depth: 0, headAgeMs: null, scheduled: null });
  });

  test("has queues that appear, and go when they are cleared", async () => {
    const { url } = await ownDatabase();
    const sidekiq = startSidekiqClient(url);
    const watched = await watch(url);
    expect((await watched.next()).queues).toEqual([]);
    await sidekiq.push("comes", ["a"]);
    await sidekiq.push("stays", ["a"]);
    await watched.until("comes", { depth: 1 });
    // A reading that begins before it is pushed may find its list in no set, and keep it.
    await watched.next();
    await sidekiq.clear("comes");
    await watched.untilGone("comes");
    expect(watched.latest("stays")).toMatchObject({ depth: 1 });
  });
});

const now = Date.now();
const [seconds, ms] = [(now - hourMs) / 1000, now - hourMs];
const [createdSeconds, createdMs] = [(now - 2 * hourMs) / 1000, now - 2 * hourMs];
const enqueued = now - hourMs;
const created = now - 2 * hourMs;
const megabytes = "x".repeat(5_000_000);
const decoy = { enqueued_at: 1_000_000_000.5, created_at: 1_000_000_000 };

/** `since` is when the head was enqueued, in ms; null when that is not known. */
const payloads: readonly { what: string; job: object | string; since: number | null }[] = [
  { what: "float seconds, as until 7", job: { args: [], enqueued_at: seconds }, since: enqueued },
  {
    what: "whole seconds",
    job: { enqueued_at: Math.floor(seconds) },
    since: Math.floor(seconds) * 1000,
  },
  {
    what: "integer ms, as since 8",
    job: { args: [], created_at: createdMs, enqueued_at: ms },
    since: enqueued,
  },
  { what: "seconds in a string", job: { enqueued_at: `${seconds}` }, since: enqueued },
  { what: "ms in a string", job: { enqueued_at: `${ms}` }, since: enqueued },
  {
    what: "no enqueued_at, created_at in seconds",
    job: { args: [], created_at: createdSeconds },
    since: created,
  },
  { what: "no enqueued_at, created_at in ms", job: { created_at: createdMs, args: [] }, since: created },
  { what: "enqueued_at null", job: { enqueued_at: null, created_at: createdMs }, since: created },
  { what: "neither", job: { args: [1] }, since: null },
  { what: "a word", job: { enqueued_at: "yesterday", created_at: ms }, since: null },
  { what: "an object", job: { enqueued_at: decoy }, since: null },
  { what: "zero", job: { enqueued_at: 0 }, since: null },
  { what: "a time that cannot be meant, in µs", job: { enqueued_at: ms * 1000 }, since: null },
  { what: "no JSON", job: "work", since: null },
  { what: "no JSON, though it begins so", job: `{"args":["enqueued_at":${ms}`, since: null },
  { what: "no JSON in between", job: `{"a":["enqueued_at":${ms}],"created_at":${ms}}`, since: null },
  { what: "a list", job: "[1]", since: null },
  { what: "a decoy before", job: { args: [decoy], enqueued_at: ms }, since: enqueued },
  {
    what: "a decoy behind",
    job: { enqueued_at: ms, args: [decoy, { a: decoy }], b: decoy },
    since: enqueued,
  },
  { what: "a decoy alone", job: { args: [decoy], cattr: decoy }, since: null },
  {
    what: "decoys, and created_at",
    job: { a: decoy, created_at: createdMs, args: [[decoy]] },
    since: created,
  },
  {
    what: "a decoy in a string",
    job: { args: [`{"enqueued_at":1000000000}`, `,"enqueued_at":5,"b":"`], enqueued_at: ms },
    since: enqueued,
  },
  {
    what: "a decoy in a string behind",
    job: { enqueued_at: ms, args: [`"enqueued_at":5`] },
    since: enqueued,
  },
  {
    what: "a decoy in a string alone",
    job: { args: [`"enqueued_at":5`], created_at: createdMs },
    since: created,
  },
  { what: "a key that ends like it", job: { 'x"enqueued_at': 5, created_at: createdMs }, since: created },
  {
    what: "its name as a value",
    job: { args: ["enqueued_at", "created_at"], enqueued_at: ms },
    since: enqueued,
  },
  { what: "spaces", job: JSON.stringify({ args: [decoy], enqueued_at: ms, b: 1 }, null, 4), since: enqueued },
  { what: "5 MB before", job: { args: [megabytes], enqueued_at: ms }, since: enqueued },
  { what: "5 MB behind", job: { enqueued_at: ms, args: [megabytes] }, since: enqueued },
  { what: "5 MB behind a string", job: { enqueued_at: `${seconds}`, args: [megabytes] }, since: enqueued },
  {
    what: "5 MB behind a null",
    job: { enqueued_at: null, created_at: createdMs, args: [megabytes] },
    since: created,
  },
  {
    what: "5 MB before, decoys at both ends",
    job: { a: decoy, args: [decoy, megabytes, decoy], enqueued_at: ms, b: decoy },
    since: enqueued,
  },
  {
    what: "5 MB behind, and a decoy",
    job: { a: decoy, enqueued_at: ms, args: [megabytes, decoy] },
    since: enqueued,
  },
  { what: "5 MB, created_at behind", job: { args: [megabytes], created_at: createdMs }, since: created },
  { what: "5 MB, neither", job: { args: [decoy, megabytes, decoy] }, since: null },
  { what: "5 MB before and behind", job: { a: megabytes, enqueued_at: ms, b: megabytes }, since: null },
  {
    what: "5 MB before and behind a decoy, which could be it",
    job: { a: [megabytes, decoy, megabytes], created_at: createdMs },
    since: null,
  },
  {
    what: "5 MB before a decoy, and created_at",
    job: { args: [megabytes, decoy], created_at: createdMs },
    since: created,
  },
  {
    what: "its name as a value, 5 MB behind",
    job: { a: ["enqueued_at"], enqueued_at: ms, args: [megabytes] },
    since: enqueued,
  },
  {
    what: "5 MB of its name as a value: too many to look at",
    job: { args: Array.from({ length: 350_000 }, () => "enqueued_at"), created_at: createdMs },
    since: null,
  },
  {
    what: "5 MB of decoys",
    job: { args: Array.from({ length: 90_000 }, () => decoy), enqueued_at: ms },
    since: enqueued,
  },
];

describe("the head's payload", () => {
  let watched: WatchedSource;
  let offset: ClockOffset;

  beforeAll(async () => {
    const { url, at } = await ownDatabase();
    for (const [i, { job }] of payloads.entries()) {
      await at.sadd("queues", `q${i}`);
      // Behind it in the queue, and so before it in the list, one that is not to be read.
      await at.lpush(`queue:q${i}`, typeof job === "string" ? job : JSON.stringify(job), "{}");
    }
    watched = await watch(url, { intervalMs: 100 });
    await until(() => expect(watched.seen.length).toBeGreaterThan(1));
    await watched.stop();
    offset = await clockOffset(at);
  });

  test.each(payloads.map((payload, i) => ({ ...payload, i })))("$what: is read right", ({ i, since }) => {
    const observed = watched.latest(`q${i}`);
    expect(observed).toMatchObject({ depth: 2, accuracy: since === null ? "UNKNOWN" : "ESTIMATED" });
    if (observed === undefined || since === null) {
      const unknown = watched.log.filter(({ fields }) => fields.queue === `q${i}`);
      expect(unknown.map(({ level, message }) => ({ level, message }))).toEqual([
        { level: "warn", message: "unknown age of the head of a queue" },
      ]);
      // Not a calm 0: it has grown since the first reading.
      expect(observed?.headAgeMs).toBeGreaterThan(0);
      expect(observed?.headAgeMs).toBeLessThan(30_000);
    } else {
      const bySource = observed.readAtMs + offset.ms - (observed.headAgeMs ?? Number.NaN);
      const roundingMs = 2;
      const tolerance = observed.uncertaintyMs + offset.uncertaintyMs + roundingMs;
      expect(Math.abs(bySource - since)).toBeLessThanOrEqual(tolerance);
    }
  });

  test("is read as a JSON parser would, or not at all, wherever its members and its size are", async () => {
    const { url, at } = await ownDatabase();
    const reader = createSidekiqReader(url, "test");
    onTestFinished(() => reader.close());
    // Times of 1 to 9 million seconds ago are distinguished by their ages.
    const time = fc.integer({ min: 1, max: 9 }).map((n) => Math.round(now / 1000) - n * 1_000_000);
    const text = fc.constantFrom(
      "a",
      '"enqueued_at":7',
      '\\"enqueued_at":',
      '"created_at":{',
      "\\",
      '"',
      "}",
    );
    const padding = fc.constantFrom(0, 0, 0, 40_000, 70_000).map((length) => "y".repeat(length));
    const key = fc.constantFrom("enqueued_at", "created_at", "args", 'x"enqueued_at', "enqueued_at\\", "{");
    const inner = fc.letrec((tie) => ({
      value: fc.oneof({ depthSize: "small" }, time, text, padding, tie("list"), tie("object")),
      list: fc.array(tie("value"), { maxLength: 3 }),
      object: fc.dictionary(key, tie("value"), { maxKeys: 3 }),
    }));
    const job = fc
      .tuple(
        fc.option(time, { nil: undefined }),
        fc.option(time, { nil: undefined }),
        fc.dictionary(key, inner.value),
      )
      .chain(([enqueuedAt, createdAt, rest]) => {
        const { enqueued_at: _, created_at: __, ...others } = rest;
        const members = Object.entries({ ...others, enqueued_at: enqueuedAt, created_at: createdAt });
        return fc.shuffledSubarray(members, { minLength: members.length }).map(Object.fromEntries);
      });
    let [known, unknown] = [0, 0];
    await fc.assert(
      fc.asyncProperty(
        fc.array(job, { minLength: 20, maxLength: 20 }),
        fc.boolean(),
        async (jobs, spaced) => {
          const names = jobs.map((_, i) => `q${i}`);
          const texts = jobs.map((one) => JSON.stringify(one, null, spaced ? 1 : undefined));
          const pipeline = at.pipeline().flushdb();
          for (const [i, name] of names.entries()) pipeline.lpush(`queue:${name}`, texts[i] ?? "");
          await pipeline.exec();
          const readings = await reader.use(new AbortController().signal, (session) =>
            session.readings(names, 50),
          );
          for (const [i, { headAgeMs }] of readings.entries()) {
            const parsed = JSON.parse(texts[i] ?? "") as Record<string, number | undefined>;
            const since = parsed.enqueued_at ?? parsed.created_at;
            const small = (texts[i] ?? "").length <= 65_536;
            if (headAgeMs === null) {
              expect(small && since !== undefined, texts[i]).toBe(false);
              unknown += 1;
            } else {
              const apart = Math.round(headAgeMs / 1e9);
              expect(apart, texts[i]).toBe(Math.round((now / 1000 - (since ?? Number.NaN)) / 1e6));
              known += 1;
            }
          }
        },
      ),
      { numRuns: 60 },
    );
    expect(known).toBeGreaterThan(unknown);
  });
});

describe("the Sidekiq source", () => {
  /** Minutes ago, from the head on. */
  const orders: readonly {
    readonly minutes: readonly number[];
    readonly head: number;
    readonly accuracy: string;
    readonly why: string;
  }[] = [
    { minutes: [9, 8, 7, 6, 5, 4, 3, 2, 1], head: 9, accuracy: "ESTIMATED", why: "in order" },
    { minutes: [9, 9, 9, 9, 9, 9, 9, 9, 9], head: 9, accuracy: "ESTIMATED", why: "all at once" },
    { minutes: [3, 2, 1, 60], head: 60, accuracy: "ESTIMATED", why: "put back, and all can be looked at" },
    {
      minutes: [9, 8, 7, 6, 5, 4, 3, 2, 60],
      head: 60,
      accuracy: "LOWER_BOUND",
      why: "put back at the far end",
    },
    {
      minutes: [9, 8, 7, 6, 5, 4, 60, 2, 1],
      head: 60,
      accuracy: "LOWER_BOUND",
      why: "others were pushed since",
    },
    {
      minutes: [9, 8, 60, 6, 5, 4, 3, 2, 1],
      head: 60,
      accuracy: "LOWER_BOUND",
      why: "it is nearly its turn",
    },
    { minutes: [60, 8, 7, 6, 5, 4, 3, 2, 1], head: 60, accuracy: "ESTIMATED", why: "it is its turn" },
    {
      minutes: [9, 8, 7, 6, 5, 4, 3, 2, 8.5],
      head: 9,
      accuracy: "LOWER_BOUND",
      why: "put back, not the oldest",
    },
    {
      minutes: [0, 8, 7, 6, 5, 4, 3, 2, 1],
      head: 8,
      accuracy: "LOWER_BOUND",
      why: "a young one is at the head",
    },
  ];
  test.each(orders)(
    "jobs of $minutes minutes: $head, $accuracy, for $why",
    async ({ minutes, head, accuracy }) => {
      const { url, at } = await ownDatabase();
      for (const minute of minutes) await enqueue(at, "q", { enqueued_at: Date.now() - minute * 60_000 });
      const watched = await watch(url);
      const read = await watched.until("q", { depth: minutes.length, accuracy });
      expect(read.headAgeMs).toBeGreaterThanOrEqual(head * 60_000 - 100);
      expect(read.headAgeMs).toBeLessThan((head + 0.5) * 60_000);
      await watched.stop();
    },
  );

  test("a job that was put back is remembered until all jobs can be looked at", async () => {
    const { url, at } = await ownDatabase();
    const push = (minute: number) => enqueue(at, "q", { enqueued_at: Date.now() - minute * 60_000 });
    for (const minute of [9, 8, 7, 6, 5, 4, 3]) await push(minute);
    const watched = await watch(url);
    await watched.until("q", { accuracy: "ESTIMATED" });
    await push(60);
    await watched.until("q", {
      accuracy: "LOWER_BOUND",
      headAgeMs: expect.toSatisfy((age) => age > 3_500_000),
    });
    for (let n = 0; n < 10; n++) await push(0);
    // It is in the middle now, and not looked at.
    await watched.until("q", { accuracy: "LOWER_BOUND", depth: 18 });
    await at.ltrim("queue:q", 0, 4);
    await watched.until("q", { accuracy: "ESTIMATED", depth: 5 });
  });

  test("a job that was put back while all could be looked at is remembered when more jobs come", async () => {
    const { url, at } = await ownDatabase();
    const push = (minute: number) => enqueue(at, "q", { enqueued_at: Date.now() - minute * 60_000 });
    for (const minute of [3, 2, 1, 60]) await push(minute);
    const watched = await watch(url);
    await watched.until("q", { accuracy: "ESTIMATED", depth: 4 });
    for (let n = 0; n < 10; n++) await push(0);
    await watched.until("q", { accuracy: "LOWER_BOUND", depth: 14 });
  });

  test("reads lists that are not in the set of queues, but none of jobs in work", async () => {
    const { url, at } = await ownDatabase();
    await enqueue(at, "listed", { enqueued_at: ms });
    await at.lpush("queue:by-hand", JSON.stringify({ enqueued_at: ms }));
    await at.lpush("queue:sq|host:1:abc|listed", JSON.stringify({ enqueued_at: ms }));
    await at.set("queue:no-list", "1");
    const watched = await watch(url);
    await watched.until("by-hand", { depth: 1, accuracy: "ESTIMATED" });
    const { queues } = await watched.next();
    expect(queues.map(({ queue }) => queue).sort()).toEqual(["by-hand", "listed"]);
    await at.del("queue:by-hand");
    await watched.until("by-hand", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("logs once that its URL leads to no queue", async () => {
    const { url, at } = await ownDatabase();
    const watched = await watch(`${url}?namespace=app`);
    const line = await watched.logged("no queues found");
    expect(line).toMatchObject({ level: "warn", fields: { err: expect.stringContaining("?namespace=") } });
    await at.sadd("app:queues", "q");
    await watched.logged("queues found");
    expect(watched.log.filter(({ level }) => level === "warn")).toHaveLength(1);
  });

  test("says so when its URL names a node of a Redis Cluster", async () => {
    await using node = await startRedis({ args: ["--cluster-enabled", "yes"] });
    await withRedis(node.url, async (at) => {
      await at.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383);
      await until(async () => expect(await at.sadd("queues", "q")).toBeGreaterThanOrEqual(0));
    });
    const watched = await watch(node.url);
    const line = await watched.logged("source unavailable");
    expect(String(line.fields.err)).toContain("a node of a Redis Cluster, which Sidekiq cannot use");
    await watched.stop();
  });

  test("reports which queues Sidekiq Pro has paused", async () => {
    const { url, at } = await ownDatabase();
    await enqueue(at, "a", { enqueued_at: ms });
    await enqueue(at, "b", { enqueued_at: ms });
    await at.sadd("queues", "c");
    await at.sadd("paused", "b", "c");
    const watched = await watch(url);
    await watched.next();
    const paused = ["a", "b", "c"].map((queue) => watched.latest(queue)?.paused);
    expect(paused).toEqual([false, true, true]);
    await at.srem("paused", "b");
    await watched.until("b", { paused: false, depth: 1 });
  });

  test("reads the queues of its namespace and of its database, and no others", async () => {
    const { url, at } = await ownDatabase();
    await enqueue(at, "plain", { enqueued_at: ms });
    await at.sadd("billing:queues", "invoices");
    await at.lpush("billing:queue:invoices", JSON.stringify({ enqueued_at: ms }));
    await at.sadd("billing:paused", "invoices");
    const plain = await watch(url);
    expect((await plain.next()).queues.map(({ queue }) => queue)).toEqual(["plain"]);
    const billing = await watch(`${url}?namespace=billing`);
    expect((await billing.next()).queues).toEqual([
      expect.objectContaining({ queue: "invoices", depth: 1, paused: true, accuracy: "ESTIMATED" }),
    ]);
  });

  test("two Sidekiqs with a queue of the same name are two sources with one queue each", async () => {
    const [first, second] = [await ownDatabase(), await ownDatabase()];
    await enqueue(first.at, "default", { enqueued_at: ms });
    await second.at.sadd("queues", "default");
    const [a, b] = [await watch(first.url), await watch(second.url, { source: "billing" })];
    expect(await a.next()).toMatchObject({ source: "sidekiq", queues: [{ queue: "default", depth: 1 }] });
    expect(await b.next()).toMatchObject({ source: "billing", queues: [{ queue: "default", depth: 0 }] });
    expect((await b.next()).freshForMs).toBe(2000);
  });

  test("a queue's key that is no list is unknown, and hides no other queue", async () => {
    const { url, at } = await ownDatabase();
    await enqueue(at, "good", { enqueued_at: ms });
    await at.sadd("queues", "broken");
    await at.set("queue:broken", "not a list");
    await at.set("paused", "not a set");
    const watched = await watch(url);
    await watched.until("broken", { accuracy: "UNKNOWN", depth: null, headAgeMs: null });
    expect(watched.latest("good")).toMatchObject({ accuracy: "ESTIMATED", depth: 1, paused: false });
    expect(watched.log).toHaveLength(1);
    await at.del("queue:broken");
    await watched.until("broken", { accuracy: "EXACT", headAgeMs: null });
  });

  test("leaves out queues whose names cannot be shown, and warns once", async () => {
    const { url, at } = await ownDatabase();
    await enqueue(at, "good", { enqueued_at: ms });
    await at.sadd("queues", "", "a*", "a\nb", "x".repeat(193), Buffer.from([0x61, 0xff]));
    const watched = await watch(url);
    await watched.next();
    expect((await watched.next()).queues.map(({ queue }) => queue)).toEqual(["good"]);
    expect(watched.log).toEqual([
      expect.objectContaining({ level: "warn", message: "skipped queues with invalid names" }),
    ]);
    expect(watched.log[0]?.fields.count).toBe(5);
  });

  test("reads no more queues than it may, and says so once", async () => {
    const { url, at } = await ownDatabase();
    await at.sadd("queues", ...Array.from({ length: 1000 }, (_, i) => `q${i}`));
    const watched = await watch(url, { maxQueues: 250 });
    await watched.next();
    expect((await watched.next()).queues).toHaveLength(250);
    expect(watched.log.map(({ message }) => message)).toEqual(["skipped queues beyond the limit"]);
  });

  test("a sink that fails is logged once, and reading goes on", async () => {
    const { url, at } = await ownDatabase();
    await at.sadd("queues", "q");
    let works = false;
    const watched = await watch(url, {}, () => works);
    await watched.logged("source reading not stored", 3);
    works = true;
    await watched.next();
    await watched.logged("source readings stored again");
    expect(watched.log.filter(({ level }) => level === "warn")).toHaveLength(1);
  });
});

describe("the load on the watched Redis", () => {
  test("300 queues are read in bounded chunks, by commands that only read a piece", async () => {
    await using own = await startRedis();
    await withRedis(own.url, async (at) => {
      for (let i = 0; i < 300; i++) await enqueue(at, `q${i}`, { enqueued_at: ms });
      await at.config("RESETSTAT");
      const watched = await watch(own.url, { intervalMs: 60_000 });
      const { queues } = await watched.next();
      expect(new Set(queues.map(({ queue }) => queue)).size).toBe(300);
      expect(queues).toHaveLength(300);
      const calls = await callsOf(at);
      // The first asks for a script that Redis does not know yet.
      expect(calls).toMatchObject({
        evalsha_ro: 6,
        eval_ro: 1,
        llen: 300,
        lindex: 300,
        smismember: 6,
        time: 6,
      });
      expect(calls.sscan).toBeGreaterThan(1);
      expect(calls.sscan).toBeLessThan(10);
      const expected = [
        "client|setname",
        "config|resetstat",
        "eval_ro",
        "evalsha_ro",
        "hello",
        "lindex",
        "llen",
      ];
      const reading = Object.keys(calls).filter((command) => command !== "info");
      expect(reading.sort()).toEqual([...expected, "scan", "smismember", "sscan", "time"]);
      expect(calls.scan).toBe(1);
      await watched.stop();
    });
  });

  test("payloads of 5 MB stay where they are, and no script looks at many of them", async () => {
    await using own = await startRedis();
    await withRedis(own.url, async (at) => {
      for (let i = 0; i < 4; i++) await enqueue(at, `q${i}`, { args: [megabytes], enqueued_at: ms });
      const watched = await watch(own.url);
      await watched.next();
      await at.config("RESETSTAT");
      const first = watched.seen.length;
      await until(() => expect(watched.seen.length).toBeGreaterThan(first + 5));
      await watched.stop();
      const [calls, bytes] = [await callsOf(at), await bytesOut(at)];
      const readings = calls.sscan ?? 0;
      expect(calls.evalsha_ro).toBeGreaterThanOrEqual(4 * (readings - 1));
      expect(bytes / readings).toBeLessThan(2000);
      expect(watched.latest("q3")).toMatchObject({ depth: 1, accuracy: "ESTIMATED" });
    });
  });

  test("a user who may only read is enough", async () => {
    await using own = await startRedis();
    await withRedis(own.url, async (at) => {
      await enqueue(at, "a", { enqueued_at: ms });
      const may = ["-@all", "+@read", "-keys", "+eval_ro", "+evalsha_ro", "+time"];
      await at.acl("SETUSER", "watcher", "on", ">50% of p@ss/word:é", "~*", ...may);
      const password = encodeURIComponent("50% of p@ss/word:é");
      const watched = await watch(own.url.replace("//", `//watcher:${password}@`));
      await watched.until("a", { depth: 1, accuracy: "ESTIMATED" });
      await watched.stop();
    });
  });

  test("a Redis without read-only scripts is read all the same", async () => {
    await using own = await startRedis({
      args: ["--rename-command", "EVAL_RO", "", "--rename-command", "EVALSHA_RO", ""],
    });
    await withRedis(own.url, async (at) => {
      await enqueue(at, "a", { enqueued_at: ms });
      const watched = await watch(own.url);
      await watched.until("a", { depth: 1, accuracy: "ESTIMATED" });
      await watched.next();
      expect(watched.log).toEqual([]);
      expect(await callsOf(at)).toMatchObject({ eval: 1 });
      // From then on they are known not to be there.
      const errors = await at.info("errorstats");
      await watched.next();
      expect(await at.info("errorstats")).toBe(errors);
      await watched.stop();
    });
  });
});

describe("a Redis that goes", () => {
  test("is warned of once while it is away, and read again when it is back", async () => {
    const consoleError = vi.spyOn(console, "error");
    await using own = await startRedis({ appendonly: true });
    await withRedis(own.url, (at) => enqueue(at, "a", { enqueued_at: ms }));
    const watched = await watch(own.url);
    await watched.until("a", { depth: 1 });
    await own.kill();
    await watched.logged("source unavailable", 3);
    await own.restart();
    await watched.logged("source available again");
    await watched.until("a", { depth: 1 });
    const lines = watched.log.filter(({ level }) => level !== "debug").map(({ level }) => level);
    expect(lines).toEqual(["warn", "info"]);
    expect(consoleError).not.toHaveBeenCalled();
    await watched.stop();
  });

  test("silently is a failure, and is read through a new connection when it goes on", async () => {
    await using own = await startRedis();
    const watched = await watch(own.url);
    await watched.next();
    process.kill(own.pid, "SIGSTOP");
    const { fields } = await watched.logged("source unavailable");
    expect(messageOf(fields.err)).toBe("Command timed out");
    process.kill(own.pid, "SIGCONT");
    await watched.logged("source available again");
    await withRedis(own.url, async (at) => {
      await until(async () =>
        expect(String(await at.client("LIST")).match(/name=queue-latency-sidekiq/g)).toHaveLength(1),
      );
    });
    await watched.stop();
  });

  test.skipIf(whyNoTls !== null)(
    "through TLS is read, when the certificate is one that Node trusts",
    async () => {
      const trusted = getCACertificates("default");
      onTestFinished(() => setDefaultCACertificates(trusted));
      const dir = await mkdtemp(join(tmpdir(), "ql-sidekiq-"));
      onTestFinished(() => rm(dir, { recursive: true, force: true }));
      const [certificate, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
      const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
      const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
      const files = ["-keyout", key, "-out", certificate];
      execFileSync("openssl", ["req", "-x509", ...kind, ...subject, ...files], { stdio: "ignore" });
      await using own = await startRedis();
      await withRedis(own.url, async (at) => {
        await enqueue(at, "a", { enqueued_at: ms });
        await at.config("SET", "tls-cert-file", certificate, "tls-key-file", key, "tls-auth-clients", "no");
        // The port is free again at once: the same one, by TLS only.
        await at.config("SET", "port", 0, "tls-ca-cert-file", certificate, "tls-port", own.port);
      });
      const watched = await watch(`rediss://localhost:${own.port}/0`);
      const { fields } = await watched.logged("source unavailable", 2);
      expect(messageOf(fields.err)).toContain("self-signed certificate");
      setDefaultCACertificates([...trusted, await readFile(certificate, "utf8")]);
      await watched.until("a", { depth: 1, accuracy: "ESTIMATED" });
      await watched.stop();
    },
  );

  test("by a wrong password is warned of, and the password stands nowhere in the log", async () => {
    const consoleError = vi.spyOn(console, "error");
    await using own = await startRedis({ args: ["--requirepass", "right"] });
    const watched = await watch(own.url.replace("//", "//:hunter2@"));
    const { fields } = await watched.logged("source unavailable", 3);
    expect(messageOf(fields.err)).toContain("WRONGPASS");
    const logged = watched.log.map(({ fields: { err, ...rest } }) => [{ ...Object(err) }, String(err), rest]);
    expect(JSON.stringify(logged)).not.toContain("hunter2");
    expect(consoleError).not.toHaveBeenCalled();
    await watched.stop();
  });

  test("to no such database is a failure, not database 0", async () => {
    const watched = await watch(server.url.replace(/\/$/, "/999"));
    const { fields } = await watched.logged("source unavailable");
    expect(messageOf(fields.err)).toContain("DB index is out of range");
    expect(watched.seen).toEqual([]);
  });

  test("does not hold stop(), when it accepts and never answers", async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => void sockets.push(socket.resume())).listen(0, "127.0.0.1");
    await once(silent, "listening");
    onTestFinished(() => void silent.close());
    const watched = await watch(`redis://127.0.0.1:${(silent.address() as AddressInfo).port}`);
    await until(() => expect(sockets).toHaveLength(1));
    const startedAtMs = monotonicClock.now();
    await watched.stop();
    expect(monotonicClock.now() - startedAtMs).toBeLessThan(onThisMachine(500));
    await until(() => expect(sockets[0]?.closed).toBe(true));
    expect(watched.log).toEqual([]);
  });
});

test.each([
  "hunter2",
  "tcp://:hunter2@localhost:7419",
  "redis://:hunter2@",
  "redis://:hunter2@host/no-number",
  "redis://:hunter2%@host",
  "redis://user:1?hunter2@host",
  "redis://user:1#hunter2@host",
  "redis://host/0?namspace=hunter2",
])("refuses the URL %s, and does not repeat it", (url) => {
  const options = { url, intervalMs, sink: { observe: async () => {} }, logger: silentLogger };
  expect(() => createSidekiqSource(options)).toThrow(StartError);
  expect(() => createSidekiqSource(options)).not.toThrow(/hunter2/);
});

const watch = (url: string, options: Partial<SidekiqSourceOptions> = {}, sinkWorks = () => true) =>
  watchSource(
    (wiring) => createSidekiqSource({ url, intervalMs, ...wiring, ...options }),
    sinkWorks,
    (stop) => stops.push(stop),
  );

/** Sources that were started, also by hooks, where nothing can be registered for the end of a test. */
const stops: (() => Promise<void>)[] = [];
afterAll(() => Promise.all(stops.map((stop) => stop())));

let databases = 0;

/** A database of the shared Redis that no other test uses: its own URL, and a connection to it. */
async function ownDatabase(): Promise<{ readonly url: string; readonly at: Redis }> {
  databases += 1;
  const url = `${server.url}${databases}`;
  const at = new Redis(url);
  stops.push(async () => at.disconnect());
  return { url, at };
}

async function withRedis(url: string, work: (at: Redis) => Promise<unknown>): Promise<void> {
  const at = new Redis(url);
  try {
    await work(at);
  } finally {
    at.disconnect();
  }
}

/** As Sidekiq's client does it, whatever the version. */
async function enqueue(at: Redis, queue: string, job: object): Promise<void> {
  await at.pipeline().sadd("queues", queue).lpush(`queue:${queue}`, JSON.stringify(job)).exec();
}

interface ClockOffset {
  /** Redis's time minus {@link monotonicClock}'s. */
  readonly ms: number;
  readonly uncertaintyMs: number;
}

async function clockOffset(at: Redis): Promise<ClockOffset> {
  const sentAtMs = monotonicClock.now();
  const [whole, micros] = await at.time();
  const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
  return { ms: Number(whole) * 1000 + Number(micros) / 1000 - sentAtMs - uncertaintyMs, uncertaintyMs };
}

/** How often each command was called since the statistics were reset. */
async function callsOf(at: Redis): Promise<Record<string, number>> {
  const lines = (await at.info("commandstats")).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm);
  return Object.fromEntries([...lines].map(([, command, calls]) => [command, Number(calls)]));
}

async function bytesOut(at: Redis): Promise<number> {
  return Number(/^total_net_output_bytes:(\d+)/m.exec(await at.info("stats"))?.[1]);
}
