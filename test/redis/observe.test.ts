import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import { LeaseLostError } from "../../src/core/lease.ts";
import type { Observation, ObservedCounts } from "../../src/core/observation.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { connectTo, mastersOf } from "../support/redis.ts";
import { allParts, openRecorder, openTracker, type TestTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const start = 1_790_000_000_000;
const processStart = 5_000_000;
const freshForMs = 3_000;
/** Redis's time, and this process's own, which have nothing to do with each other but run alike. */
let elapsed = 0;
let opened: TestTracker;

beforeEach(async () => {
  elapsed = 0;
  vi.spyOn(monotonicClock, "now").mockImplementation(() => processStart + elapsed);
  opened = await openTracker(inject("redisUrl"), { now: () => start + elapsed });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await opened[Symbol.asyncDispose]();
});

/** Read just now, exactly; in queue "default" one job waits since a minute. */
function observation(rest: Partial<Observation> = {}): Observation {
  return {
    queue: "default",
    headAgeMs: 60_000,
    uncertaintyMs: 0,
    depth: 1,
    scheduled: 0,
    paused: false,
    accuracy: "EXACT",
    readAtMs: processStart + elapsed,
    ...rest,
  };
}
const observe = (queues: readonly Observation[], source = "faktory") =>
  opened.tracker.observe({ source, queues, freshForMs });
const event = (queue: string): QueueEvent => {
  return { type: "ENQUEUED", queue, jobId: "a", attempt: 0, atMs: null, availableAtMs: null };
};
async function snapshot(queue = "faktory/default") {
  const [read] = await opened.tracker.read([queue], allParts);
  if (read === undefined) throw new Error("one queue was asked for");
  return read;
}
const listed = () => opened.tracker.list({ limit: 100 });

describe("a queue that a job system is asked about", () => {
  it("waits, however old its head claims to be", async () => {
    await observe([observation({ headAgeMs: 292 * 365 * 86_400_000 })]);
    expect(await snapshot()).toMatchObject({ state: "WAITING", oldestSinceMs: 0 });
  });

  describe("whose job system counts", () => {
    /** Counted since the start: of the last second one job that came, and two that left. */
    const counts = (rest: Partial<ObservedCounts> = {}): ObservedCounts => ({
      cursor: elapsed + 1,
      sinceMs: processStart,
      untilMs: processStart + elapsed,
      enqueued: 1,
      left: [
        { atMs: processStart + elapsed - 500, waitMs: 2_000 },
        { atMs: processStart + elapsed - 1_000, waitMs: null },
      ],
      ...rest,
    });
    const rates = async () => (await snapshot()).throughput?.ONE_MINUTE ?? null;
    const waits = async () => (await snapshot()).waitTime?.ONE_MINUTE ?? null;

    it("has rates and wait times of a window once it has been counted for so long", async () => {
      elapsed = 59_000;
      await observe([observation({ counts: counts() })]);
      expect(await snapshot()).toMatchObject({ throughput: null, waitTime: null });
      elapsed = 60_000;
      await observe([observation({ counts: counts() })]);
      expect(await rates()).toEqual({ enqueuedPerSecond: 2 / 60, dequeuedPerSecond: 4 / 60 });
      expect(await waits()).toMatchObject({ count: 2, mean: 2, max: 2 });
      expect((await snapshot()).waitTime).toMatchObject({ FIVE_MINUTES: null, FIFTEEN_MINUTES: null });
    });

    it("counts a reading once, and keeps what was counted while there is nothing new", async () => {
      elapsed = 61_000;
      const reading = counts();
      await observe([observation({ counts: reading })]);
      await observe([observation({ counts: reading })]);
      elapsed = 62_000;
      await observe([observation()]);
      expect(await waits()).toMatchObject({ count: 1 });
      expect(await rates()).toEqual({ enqueuedPerSecond: 1 / 60, dequeuedPerSecond: 2 / 60 });
    });

    it("has wait times and no rates where jobs that come are not counted", async () => {
      elapsed = 61_000;
      await observe([observation({ counts: counts({ enqueued: null }) })]);
      expect(await snapshot()).toMatchObject({ throughput: null, waitTime: { ONE_MINUTE: { count: 1 } } });
    });

    it("counts several jobs at once, and says of which windows some may have been missed", async () => {
      elapsed = 400_000;
      const left = [{ atMs: processStart + elapsed - 500, waitMs: 3_000, count: 7 }];
      await observe([observation({ counts: counts({ enqueued: 5, left, isLowerBound: true }) })]);
      const sums = { enqueuedPerSecond: 5 / 60, dequeuedPerSecond: 7 / 60 };
      expect(await rates()).toEqual({ ...sums, isLowerBound: true });
      expect(await waits()).toEqual({
        ...{ count: 7, mean: 3, max: 3, isUpperBound: true },
        ...{ p50: expect.closeTo(3, 1), p95: expect.closeTo(3, 1), p99: expect.closeTo(3, 1) },
      });
      const { uncountedAtMs, measuredAtMs } = await snapshot();
      expect(uncountedAtMs).toBe(measuredAtMs);
      elapsed += 62_000;
      await observe([observation({ counts: counts() })]);
      expect(await rates()).not.toHaveProperty("isLowerBound");
      // A window of wait times reaches back further by one slot.
      expect(await waits()).toHaveProperty("isUpperBound", true);
      expect((await snapshot()).throughput?.FIVE_MINUTES).toHaveProperty("isLowerBound", true);
      await observe([observation({ counts: null })]);
      elapsed += 1;
      await observe([observation({ counts: counts() })]);
      expect(await snapshot()).not.toHaveProperty("uncountedAtMs");
    });

    it.each([
      { how: "jobs were missed", run: async () => observe([observation({ counts: null })]) },
      {
        how: "another reader began anew",
        run: () =>
          observe([observation({ counts: counts({ cursor: 90_000, sinceMs: processStart + elapsed }) })]),
      },
      {
        how: "Redis has evicted what was counted",
        async run() {
          await opened.redis.del(opened.keys.recent("faktory/default"));
          elapsed += 1_000;
          await observe([observation({ counts: counts() })]);
        },
      },
      {
        how: "the source is stale",
        async run() {
          elapsed += freshForMs + 1;
        },
      },
    ])("has neither after $how", async ({ run }) => {
      elapsed = 61_000;
      await observe([observation({ counts: counts() })]);
      expect(await waits()).toMatchObject({ count: 1 });
      await run();
      expect(await snapshot()).toMatchObject({ throughput: null, waitTime: null });
    });
  });

  it("is listed and read under its source's name as soon as it was observed", async () => {
    expect(await snapshot()).toMatchObject({ state: "MISSING", source: null });
    await observe([observation({ headAgeMs: 42_000, depth: 7, scheduled: 2, accuracy: "ESTIMATED" })]);
    expect(await listed()).toEqual(["faktory/default"]);
    expect(await snapshot()).toEqual({
      queue: "faktory/default",
      source: "faktory",
      state: "WAITING",
      oldestSinceMs: start - 42_000,
      latencyMs: 42_000,
      depth: 7,
      scheduled: 2,
      lost: null,
      accuracy: "ESTIMATED",
      measuredAtMs: start,
      stale: false,
      changesAtMs: start + freshForMs + 1,
      clockSkewMs: null,
      throughput: null,
      waitTime: null,
    });
  });

  it.each([
    { headAgeMs: null, depth: 0, paused: false, state: "EMPTY", latencyMs: 0, why: "no job waits" },
    { headAgeMs: 0, depth: 1, paused: false, state: "WAITING", latencyMs: 0, why: "the head has just come" },
    {
      headAgeMs: 0.4,
      depth: 1,
      paused: false,
      state: "WAITING",
      latencyMs: 1,
      why: "ages are rounded up to whole ms",
    },
    {
      headAgeMs: 9,
      depth: 3,
      paused: true,
      state: "PAUSED",
      latencyMs: 9,
      why: "paused with jobs that wait all the same",
    },
    { headAgeMs: null, depth: 0, paused: true, state: "PAUSED", latencyMs: 0, why: "paused and empty" },
    {
      headAgeMs: 7,
      depth: null,
      paused: false,
      state: "WAITING",
      latencyMs: 7,
      why: "its depth is not reported",
    },
  ])("is $state with a latency of $latencyMs ms when $why", async ({ state, latencyMs, why: _, ...said }) => {
    await observe([observation(said)]);
    const oldestSinceMs = said.headAgeMs === null ? null : start - latencyMs;
    expect(await snapshot()).toMatchObject({ state, latencyMs, oldestSinceMs, depth: said.depth });
  });

  it("has a depth that is a lower bound, until it is counted whole", async () => {
    await observe([observation({ depth: 10_000, depthIsLowerBound: true })]);
    expect(await snapshot()).toMatchObject({ state: "WAITING", depth: 10_000, depthIsLowerBound: true });
    await observe([observation({ depth: 10_000 })]);
    expect(await snapshot()).toMatchObject({ depth: 10_000 });
    expect(await snapshot()).not.toHaveProperty("depthIsLowerBound");
  });

  it("has the number of jobs in flight, and since when the oldest of them is", async () => {
    await observe([observation({ inFlight: 3, inFlightIdleMs: 2_000 })]);
    expect(await snapshot()).toMatchObject({ inFlight: 3, inFlightSinceMs: start - 2_000 });
    elapsed = 1_000;
    await observe([observation({ inFlight: 0, inFlightIdleMs: null, readAtMs: processStart + 1_000 })]);
    expect(await snapshot()).toMatchObject({ inFlight: 0, inFlightSinceMs: null });
    elapsed = 2_000;
    await observe([observation({ readAtMs: processStart + 2_000 })]);
    expect(await snapshot()).not.toHaveProperty("inFlight");
  });

  it.each([
    {
      overtaken: { count: 2, inOrderAgeMs: 4_000 },
      inOrderSinceMs: start - 4_000,
      why: "two were left behind",
    },
    { overtaken: { count: 1, inOrderAgeMs: null }, inOrderSinceMs: null, why: "no other job waits" },
    {
      overtaken: { count: 0, inOrderAgeMs: null },
      inOrderSinceMs: start - 60_000,
      why: "the head is in order",
    },
  ])("has the number of overtaken jobs, and since when the others wait: $why", async (row) => {
    await observe([observation({ overtaken: row.overtaken })]);
    expect(await snapshot()).toMatchObject({
      overtaken: row.overtaken.count,
      inOrderSinceMs: row.inOrderSinceMs,
    });
    elapsed = 1_000;
    await observe([observation({ headAgeMs: 61_000 })]);
    expect(await snapshot()).not.toHaveProperty("overtaken");
  });

  it("does not report how many were overtaken while the age of its head is not known", async () => {
    await observe([observation({ accuracy: "UNKNOWN", overtaken: { count: 0, inOrderAgeMs: null } })]);
    expect(await snapshot()).not.toHaveProperty("overtaken");
  });

  it("keeps since when the oldest job in order waits while readings differ by their uncertainty", async () => {
    const overtaken = (inOrderAgeMs: number) => ({ count: 1, inOrderAgeMs });
    await observe([observation({ uncertaintyMs: 3, overtaken: overtaken(4_000) })]);
    elapsed = 1_000;
    const later = { headAgeMs: 61_000, uncertaintyMs: 3 };
    await observe([observation({ ...later, overtaken: overtaken(5_003) })]);
    expect(await snapshot()).toMatchObject({ inOrderSinceMs: start - 4_000 });
    await observe([observation({ ...later, overtaken: overtaken(5_010) })]);
    expect(await snapshot()).toMatchObject({ inOrderSinceMs: start - 4_010 });
  });

  it("has no latency, but its depth, when the source does not know how old the head is", async () => {
    await observe([observation({ accuracy: "UNKNOWN", headAgeMs: 7_000, depth: 3, scheduled: null })]);
    const unknown = { latencyMs: null, oldestSinceMs: null, scheduled: null };
    expect(await snapshot()).toMatchObject({ state: "WAITING", accuracy: "UNKNOWN", depth: 3, ...unknown });
  });

  it("has a head that ages by the clock between two readings, and since before the reading was stored", async () => {
    elapsed = 10_000;
    await observe([observation({ headAgeMs: 5_000, readAtMs: processStart + 9_200 })]);
    expect(await snapshot()).toMatchObject({ latencyMs: 5_800, measuredAtMs: start + 10_000 });
    elapsed = 12_000;
    expect(await snapshot()).toMatchObject({ latencyMs: 7_800, measuredAtMs: start + 12_000, stale: false });
  });

  it("is stale with its last reading, when its source falls silent; and fresh with the next", async () => {
    elapsed = 1_000;
    await observe([observation({ headAgeMs: 5_000, depth: 4, readAtMs: processStart + 900 })]);
    elapsed = 1_000 + freshForMs;
    expect(await snapshot()).toMatchObject({ stale: false, latencyMs: 5_000 + 100 + freshForMs });
    for (elapsed of [1_000 + freshForMs + 1, 10_000_000]) {
      expect(await snapshot()).toMatchObject({
        state: "WAITING",
        stale: true,
        latencyMs: 5_000,
        depth: 4,
        measuredAtMs: start + 900,
        oldestSinceMs: start + 900 - 5_000,
        changesAtMs: null,
      });
    }
    await observe([observation({ headAgeMs: 100 })]);
    expect(await snapshot()).toMatchObject({ stale: false, latencyMs: 100, measuredAtMs: start + elapsed });
  });

  it("has a head that does not move while readings differ by no more than they may be off", async () => {
    await observe([observation({ headAgeMs: 10_000, uncertaintyMs: 50 })]);
    for (const jitterMs of [40, -50, 50, -1, 49, -49]) {
      elapsed += 1_000;
      await observe([observation({ headAgeMs: 10_000 + elapsed + jitterMs, uncertaintyMs: 50 })]);
      expect(await snapshot()).toMatchObject({ oldestSinceMs: start - 10_000, latencyMs: 10_000 + elapsed });
    }
  });

  it.each([
    { byMs: 60, why: "a younger job is the head now" },
    { byMs: -60, why: "an older one has come to the front" },
  ])("has another head when a reading differs by more than it may be off: $why", async ({ byMs }) => {
    await observe([observation({ headAgeMs: 10_000, uncertaintyMs: 50 })]);
    elapsed += 1_000;
    await observe([observation({ headAgeMs: 11_000 - byMs, uncertaintyMs: 50 })]);
    expect(await snapshot()).toMatchObject({ oldestSinceMs: start - 10_000 + byMs });
  });

  it("has a new head after it was empty, also one of the same age", async () => {
    await observe([observation({ headAgeMs: 10_000 })]);
    await observe([observation({ headAgeMs: null, depth: 0 })]);
    expect(await snapshot()).toMatchObject({ state: "EMPTY", oldestSinceMs: null });
    await observe([observation({ headAgeMs: 10_003 })]);
    expect(await snapshot()).toMatchObject({ state: "WAITING", oldestSinceMs: start - 10_003 });
  });

  it("becomes MISSING and leaves the list when the next reading does not name it", async () => {
    await observe([observation({ queue: "a" }), observation({ queue: "b" }), observation({ queue: "c" })]);
    await observe([observation({ queue: "b" })]);
    expect(await listed()).toEqual(["faktory/b"]);
    expect(await snapshot("faktory/a")).toMatchObject({ state: "MISSING", source: null });
    expect(await opened.redis.exists(...opened.keys.all("faktory/a"))).toBe(0);
    await observe([]);
    expect(await listed()).toEqual([]);
    await observe([observation({ queue: "a" })]);
    expect(await snapshot("faktory/a")).toMatchObject({ state: "WAITING" });
  });

  it("is forgotten by its own source only", async () => {
    await observe([observation()], "faktory");
    await observe([observation()], "faktory2");
    await opened.tracker.record([event("faktory/of events"), event("faktor")], null);
    await observe([], "faktory2");
    expect(await listed()).toEqual(["faktor", "faktory/default", "faktory/of events"]);
    await observe([], "faktory");
    expect(await listed()).toEqual(["faktor", "faktory/of events"]);
    expect(await snapshot("faktory/of events")).toMatchObject({ state: "WAITING", source: "events" });
  });

  it("is one of very many, and all that have gone are found", async () => {
    const many = Array.from({ length: 2_500 }, (_, i) => observation({ queue: `q${i}` }));
    await observe(many);
    expect(await opened.tracker.list({ limit: 10_000 })).toHaveLength(2_500);
    await observe(many.filter((_, i) => i % 5 === 0));
    expect(await opened.tracker.list({ limit: 10_000 })).toHaveLength(500);
    expect(await snapshot("faktory/q5")).toMatchObject({ state: "WAITING" });
    expect(await snapshot("faktory/q6")).toMatchObject({ state: "MISSING" });
    await observe([]);
  });

  it("refuses events, and says who owns it", async () => {
    await observe([observation()]);
    await expect(opened.tracker.record([event("faktory/default")], null)).rejects.toMatchObject({
      code: "BAD_USER_INPUT",
      message: expect.stringContaining("faktory"),
    });
    expect(await snapshot()).toMatchObject({ source: "faktory", depth: 1, latencyMs: 60_000 });
  });

  it("takes no part in sweeping", async () => {
    await observe([observation()]);
    const recorder = openRecorder(opened, { eventWindowMs: 1_000, maxWaitMs: 1_000, now: () => start });
    expect(await recorder.sweep(["faktory/default", "never seen"])).toEqual({
      ...{ lost: 0, failures: [], empty: [], known: [] },
      unknown: ["never seen"],
    });
    expect(await snapshot()).toMatchObject({ depth: 1 });
    expect(await snapshot("never seen")).toMatchObject({ state: "MISSING" });
  });
});

describe("notes for the next reader of a source", () => {
  it("are stored with what was observed, kept until there are others, and forgotten with the queue", async () => {
    const { tracker } = opened;
    await observe([observation({ notes: "first" }), observation({ queue: "without" })]);
    expect(await tracker.notes("faktory")).toEqual(new Map([["default", "first"]]));
    expect(await tracker.notes("other")).toEqual(new Map());
    elapsed += 1_000;
    await observe([observation(), observation({ queue: "without" })]);
    expect(await tracker.notes("faktory")).toEqual(new Map([["default", "first"]]));
    elapsed += 1_000;
    await observe([observation({ notes: "second" }), observation({ queue: "without" })]);
    expect(await tracker.notes("faktory")).toEqual(new Map([["default", "second"]]));
    elapsed += 1_000;
    await observe([observation({ queue: "without" })]);
    expect(await tracker.notes("faktory")).toEqual(new Map());
  });
});

describe("a fence", () => {
  const report = (fence: number | undefined, queues: readonly Observation[]) =>
    opened.tracker.observe({ source: "faktory", queues, freshForMs }, fence);
  const everything = async () => ({
    keys: await opened.redis.hgetall(opened.keys.state("faktory/default")),
    listed: await listed(),
  });

  it("lets the same and every newer reader pass", async () => {
    for (const [fence, depth] of [
      [7, 1],
      [7, 2],
      [8, 3],
      [1_000_000_000_000, 4],
    ] as const) {
      await report(fence, [observation({ depth })]);
      expect(await snapshot()).toMatchObject({ depth });
    }
  });

  it.each([
    { queues: () => [observation({ depth: 9 })], why: "another reading of the queue" },
    { queues: () => [observation({ headAgeMs: null, depth: 0 })], why: "the queue is empty" },
    { queues: () => [], why: "the queue has gone" },
    { queues: () => [observation({ depth: 3 })], why: "the same again, which would look fresh" },
  ])("turns an older reader away, who changes nothing: $why", async ({ queues }) => {
    await report(10, [observation({ depth: 3 })]);
    const before = await everything();
    elapsed += 500;
    // By number, not by text.
    for (const fence of [9, 2]) await expect(report(fence, queues())).rejects.toThrow(LeaseLostError);
    expect(await everything()).toEqual(before);
    await report(10, [observation({ depth: 4 })]);
    expect(await snapshot()).toMatchObject({ depth: 4 });
  });

  it("keeps an older reader from forgetting what it has not read, though it reports queues of its own", async () => {
    await report(1, [observation({ queue: "old" })]);
    await report(2, [observation()]);
    expect(await listed()).toEqual(["faktory/default"]);
    // It is not known any more that "old" has gone; the reader of now forgets it again with its next reading.
    await expect(report(1, [observation({ queue: "old" })])).rejects.toThrow(LeaseLostError);
    expect(await snapshot()).toMatchObject({ state: "WAITING" });
    await report(2, [observation()]);
    expect(await listed()).toEqual(["faktory/default"]);
  });

  it("does not prevent a command without one: an admin who forgets a queue", async () => {
    await report(5, [observation()]);
    expect(await opened.tracker.forget("faktory/default")).toBe(true);
    await report(5, [observation()]);
    await report(undefined, [observation({ depth: 6 })]);
    expect(await snapshot()).toMatchObject({ depth: 6 });
    await expect(report(4, [observation()])).rejects.toThrow(LeaseLostError);
  });
});

describe("the notice of change", () => {
  /** The names published by `work`. */
  async function published(work: () => Promise<unknown>): Promise<string[]> {
    const listener = connectTo(inject("redisUrl"));
    try {
      const received: string[] = [];
      listener.on("message", (_, message: string) => received.push(message));
      /** The messages of one node come in order, but not those of several: so each of them marks where we are. */
      const mark = async (text: string) => {
        const masters = mastersOf(opened.redis);
        for (const master of masters) await master.publish(opened.keys.changes, text);
        const marks = () => received.filter((message) => message === text);
        await until(() => expect(marks()).toHaveLength(masters.length));
      };
      await listener.subscribe(opened.keys.changes);
      await mark("the beginning");
      const countBefore = received.length;
      await work();
      await mark("the end");
      return received
        .slice(countBefore)
        .filter((message) => message !== "the end")
        .sort();
    } finally {
      listener.disconnect();
    }
  }

  const before: Partial<Observation> = { headAgeMs: 10_000, uncertaintyMs: 50, depth: 3, scheduled: 1 };
  const cases: readonly { now: Partial<Observation>; afterMs?: number; isNews: boolean; why: string }[] = [
    { now: {}, isNews: false, why: "the same again" },
    { now: { headAgeMs: 10_950 }, isNews: false, why: "the head may be the same" },
    { now: { headAgeMs: 5_000 }, isNews: true, why: "another head" },
    { now: { headAgeMs: null, depth: 0 }, isNews: true, why: "no job waits any more" },
    { now: { depth: 4 }, isNews: true, why: "one more waits" },
    { now: { scheduled: 0 }, isNews: true, why: "one fewer is scheduled" },
    { now: { paused: true }, isNews: true, why: "it was paused" },
    { now: { accuracy: "UNKNOWN" }, isNews: true, why: "it is not sure any more" },
    { now: {}, afterMs: freshForMs, isNews: false, why: "still fresh at the last moment" },
    { now: {}, afterMs: freshForMs + 1, isNews: true, why: "it was stale, and is fresh again" },
  ];

  it.each(cases)("is given only when it is news: $why", async ({ now, afterMs = 1_000, isNews }) => {
    expect(await published(() => observe([observation(before)]))).toEqual(["faktory/default"]);
    elapsed += afterMs;
    const age = before.headAgeMs! + afterMs;
    const received = await published(() => observe([observation({ ...before, headAgeMs: age, ...now })]));
    expect(received).toEqual(isNews ? ["faktory/default"] : []);
  });

  it("is given once when a queue has gone", async () => {
    await observe([observation({ queue: "a" }), observation({ queue: "b" })]);
    expect(await published(() => observe([observation({ queue: "b" })]))).toEqual(["faktory/a"]);
    expect(await published(() => observe([observation({ queue: "b" })]))).toEqual([]);
    expect(await published(() => opened.tracker.forget("faktory/b"))).toEqual(["faktory/b"]);
    expect(await published(() => opened.tracker.forget("faktory/b"))).toEqual([]);
  });

  it("is given by events that change something, and by no others", async () => {
    expect(
      await published(() => opened.tracker.record([event("q"), event("q"), event("r")], "batch")),
    ).toEqual(["q", "r"]);
    expect(await published(() => opened.tracker.record([event("q")], null))).toEqual([]);
    expect(
      await published(() => opened.tracker.record([event("q"), event("q"), event("r")], "batch")),
    ).toEqual([]);
  });
});
