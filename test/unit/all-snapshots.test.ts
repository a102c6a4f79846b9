import { describe, expect, test } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { type AllSnapshotsOptions, createAllSnapshots } from "../../src/live/all-snapshots.ts";
import type { ChangeFeedListener } from "../../src/live/change-feed.ts";
import { snapshot } from "../support/live.ts";

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `q${String(i).padStart(5, "0")}`);
const redisMs = 1_790_000_000_000;

/** Queues of a Redis whose clock goes with the test's, a waiting job in each since it began. */
function open(
  names: readonly string[],
  options: Partial<Pick<AllSnapshotsOptions, "maxQueues" | "isWhole" | "counts">> = {},
) {
  let nowMs = 0;
  const reads: string[] = [];
  let listener: ChangeFeedListener | undefined;
  const states = new Map<string, Partial<QueueSnapshot>>();
  const failing = new Map<string, Error>();
  const known = [...names];
  const unlisted: string[] = [];
  let lists = 0;
  const feed = {
    isConnected: true,
    listen(added: ChangeFeedListener) {
      listener = added;
    },
  };
  const all = createAllSnapshots({
    feed,
    unlist: async (queues) => void unlisted.push(...queues),
    async choose(max) {
      lists++;
      return { names: known.slice(0, max), known: known.length };
    },
    async readEach(queues) {
      reads.push(...queues);
      const since = { state: "WAITING", depth: 1, oldestSinceMs: redisMs, latencyMs: nowMs } as const;
      const error = failing.get("*");
      if (error !== undefined) throw error;
      return queues.map(
        (queue) =>
          failing.get(queue) ??
          snapshot(queue, { ...since, measuredAtMs: redisMs + nowMs, ...states.get(queue) }),
      );
    },
    maxQueues: 10_000,
    ...options,
    clock: { now: () => nowMs },
  });
  return {
    ...{ all, feed, states, failing, known, unlisted },
    listener: () => listener ?? expect.unreachable(),
    pass(ms: number) {
      nowMs += ms;
    },
    listsOf: () => lists,
    /** The queues that were read since it was last asked. */
    readsOf: () => reads.splice(0),
    async latencies() {
      const { snapshots, agedAt } = await all.read();
      return Object.fromEntries(
        snapshots
          .map((_, i) => agedAt(i))
          .map(({ queue, latencyMs, stale }) => [queue, stale ? "stale" : latencyMs]),
      );
    },
  };
}

describe("reading all queues", () => {
  test("reads each once, in pages, for all who ask within a second", async () => {
    const names = numbered(1_234);
    const opened = open(names);
    const [first, second] = await Promise.all([opened.all.read(), opened.all.read()]);
    expect(second).toBe(first);
    opened.pass(900);
    expect(await opened.all.read()).toBe(first);
    expect(first.snapshots.map(({ queue }) => queue)).toEqual(names);
    expect(first).toMatchObject({ measuredAtMs: redisMs, omitted: 0 });
    expect(opened.readsOf()).toEqual(names);
  });

  test("reads again only what may have changed, and ages the rest", async () => {
    const opened = open(["a", "b", "due", "gone"]);
    opened.states.set("due", { changesAtMs: redisMs + 500 });
    await opened.all.read();
    opened.readsOf();
    opened.listener().onChange("b");
    opened.listener().onChange("new");
    opened.states.set("b", { oldestSinceMs: redisMs + 900, latencyMs: 100 });
    opened.known.splice(0, 4, "a", "b", "due", "new");
    opened.pass(1_000);
    expect(await opened.latencies()).toEqual({ a: 1_000, b: 100, due: 1_000, new: 1_000 });
    expect(opened.readsOf()).toEqual(["b", "due", "new"]);
    // In case a notice was lost.
    opened.pass(5_000);
    await opened.all.read();
    expect(opened.readsOf()).toEqual(["a", "b", "due", "new"]);
  });

  test("reads a queue again sooner while something is counted of it, which becomes less with no event", async () => {
    const counts = { throughput: new Set(["ONE_MINUTE"] as const), waitTime: new Set<never>() };
    // With this number of queues, an idle queue is read again after 9 s at the earliest.
    const names = numbered(6_000);
    const opened = open(names, { counts });
    const [busy = ""] = names;
    const rate = (enqueuedPerSecond: number) =>
      opened.states.set(busy, { throughput: { ONE_MINUTE: { enqueuedPerSecond, dequeuedPerSecond: 0 } } });
    rate(2);
    await opened.all.read();
    opened.readsOf();
    rate(1);
    opened.pass(10_000);
    await opened.all.read();
    expect(opened.readsOf()).toContain(busy);
    opened.pass(4_900);
    await opened.all.read();
    expect(opened.readsOf(), "a busy one is not read again at once").not.toContain(busy);
  });

  test("lists the queues again when a change of a new one is received, and after five seconds", async () => {
    const opened = open(["a"]);
    await opened.all.read();
    opened.known.push("b");
    opened.pass(1_000);
    expect(await opened.latencies(), "in case its notice was lost, it comes later").toEqual({ a: 1_000 });
    expect(opened.listsOf()).toBe(1);
    opened.listener().onChange("b");
    opened.pass(1_000);
    expect(Object.keys(await opened.latencies())).toEqual(["a", "b"]);
    opened.known.push("c");
    opened.pass(5_000);
    expect(Object.keys(await opened.latencies())).toEqual(["a", "b", "c"]);
    expect(opened.listsOf()).toBe(3);
  });

  test("reads a few of many queues at a time in case a notice was lost, and all within half a minute", async () => {
    const names = numbered(5_000);
    const opened = open(names);
    await opened.all.read();
    opened.readsOf();
    const counts: number[] = [];
    const read = new Set<string>();
    for (let second = 0; second < 16; second++) {
      opened.pass(1_000);
      await opened.all.read();
      const reads = opened.readsOf();
      counts.push(reads.length);
      for (const queue of reads) read.add(queue);
    }
    expect(read.size).toBe(5_000);
    expect(Math.max(...counts)).toBeLessThan(1_000);
  });

  test("takes a name out of the list whose queue is gone, once each time that it is read", async () => {
    const opened = open(["a", "gone"]);
    opened.states.set("gone", { state: "MISSING" });
    expect((await opened.all.read()).snapshots.map(({ queue }) => queue)).toEqual(["a"]);
    opened.pass(1_000);
    await opened.all.read();
    expect(opened.unlisted).toEqual(["gone"]);
  });

  test("reads everything while changes are not received, and once when they are again", async () => {
    const opened = open(["a", "b"]);
    await opened.all.read();
    const next = async () => {
      opened.readsOf();
      opened.pass(1_000);
      await opened.all.read();
      return opened.readsOf();
    };
    expect(await next()).toEqual([]);
    opened.feed.isConnected = false;
    expect(await next()).toEqual(["a", "b"]);
    expect(await next()).toEqual(["a", "b"]);
    opened.feed.isConnected = true;
    opened.listener().onConnected();
    expect(await next()).toEqual(["a", "b"]);
    expect(await next()).toEqual([]);
  });

  test("reads everything while a node of a cluster is away, and once when a clock was set", async () => {
    let isWhole = true;
    const opened = open(["a", "b"], { isWhole: () => isWhole });
    await opened.all.read();
    isWhole = false;
    opened.failing.set("b", new AppError("SERVICE_UNAVAILABLE", "its node is away"));
    opened.pass(1_000);
    expect(await opened.latencies()).toEqual({ a: 1_000, b: "stale" });
    isWhole = true;
    opened.failing.clear();
    opened.pass(1_000);
    await opened.all.read();
    opened.all.outdate();
    opened.readsOf();
    opened.pass(1_000);
    await opened.all.read();
    expect(opened.readsOf()).toEqual(["a", "b"]);
  });

  test("keeps the last state of a queue that cannot be read, as stale, and counts one that never could", async () => {
    const opened = open(["a", "b", "c"]);
    opened.failing.set("c", new Error("WRONGTYPE"));
    expect(await opened.all.read()).toMatchObject({ omitted: 1 });
    opened.failing.set("b", new AppError("SERVICE_UNAVAILABLE", "its node is away"));
    opened.listener().onChange("b");
    opened.pass(1_000);
    expect(await opened.latencies()).toEqual({ a: 1_000, b: "stale" });
    opened.failing.clear();
    opened.pass(1_000);
    expect(await opened.latencies()).toEqual({ a: 2_000, b: 2_000, c: 2_000 });
  });

  test("fails when Redis does not answer, and asks it again at once", async () => {
    const opened = open(["a", "b"]);
    opened.failing.set("*", new AppError("SERVICE_UNAVAILABLE", "Redis is away"));
    await expect(opened.all.read()).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    opened.failing.clear();
    expect(await opened.latencies()).toEqual({ a: 0, b: 0 });
  });

  test("stops at the maximum, and counts what is beyond it", async () => {
    const { all } = open(numbered(30), { maxQueues: 20 });
    const { snapshots, omitted } = await all.read();
    expect(snapshots).toHaveLength(20);
    expect(omitted).toBe(10);
  });

  test("leaves out a name whose queue is gone", async () => {
    const opened = open(["a", "b"]);
    opened.states.set("b", { state: "MISSING", source: null });
    expect(await opened.latencies()).toEqual({ a: 0 });
  });
});
