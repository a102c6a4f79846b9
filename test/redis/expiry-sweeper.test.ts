import { describe, expect, inject, it, onTestFinished, vi } from "vitest";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import { createWriter } from "../../src/tracker/acknowledged-writes.ts";
import { createDataLoss } from "../../src/tracker/data-loss.ts";
import { createExpirySweeper } from "../../src/tracker/expiry-sweeper.ts";
import { createForget } from "../../src/tracker/forget.ts";
import { createQueueIndex } from "../../src/tracker/queue-index.ts";
import { createRecordedQueues } from "../../src/tracker/recorded-queues.ts";
import { recordingLogger } from "../support/logger.ts";
import { keysWith } from "../support/redis.ts";
import { openRecorder, openTracker, type TestTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const start = 1_790_000_000_000;
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const windowMs = 5 * minuteMs;

interface SweptTracker extends TestTracker {
  nowMs: number;
  readonly forgotten: string[];
  readonly logger: ReturnType<typeof recordingLogger>;
  startSweeper(): Promise<void>;
}

/** A tracker on a manual clock, with a sweeper that sweeps all the time once it is started. */
async function openSwept({
  maxWaitMs = 7 * 24 * hourMs,
  queueTtlMs = 24 * hourMs,
} = {}): Promise<SweptTracker> {
  const now = () => swept.nowMs;
  const opened = await openTracker(inject("redisUrl"), { now, maxWaitMs });
  const { redis, keys } = opened;
  const logger = recordingLogger();
  const index = createQueueIndex({ redis, keys, logger });
  const recorder = openRecorder(opened, { eventWindowMs: windowMs, maxWaitMs, now });
  const writer = createWriter({ eventWindowMs: windowMs });
  const recorded = createRecordedQueues({ redis, keys, logger });
  const forget = createForget({ redis, keys, index, recorded, writer, eventWindowMs: windowMs, now });
  const dataLoss = createDataLoss({
    ...{ redis, keys, index, recorded, writer, logger, maxWaitMs, now },
    eventWindowMs: windowMs,
  });
  const swept: SweptTracker = {
    ...opened,
    nowMs: start,
    forgotten: [],
    logger,
    async startSweeper() {
      const sweeper = createExpirySweeper({
        ...{ redis, keys, index, recorded, recorder, dataLoss, queueTtlMs, logger, everyMs: 20 },
        async forget(queue, condition) {
          const isForgotten = await forget(queue, condition);
          if (isForgotten) swept.forgotten.push(queue);
          return isForgotten;
        },
      });
      onTestFinished(() => sweeper.stop());
      await sweeper.start();
    },
  };
  return swept;
}

function event(type: QueueEventType, queue: string, more: Partial<QueueEvent> = {}): QueueEvent {
  return { type, queue, jobId: "a", attempt: 0, atMs: null, availableAtMs: null, ...more };
}

it("lists every queue again when Redis has evicted the index, and scans all keys only then", async () => {
  await using swept = await openSwept();
  const { redis, keys, tracker, logger } = swept;
  const names = [
    "a",
    "100%",
    "{braces}",
    "%7b",
    "a*b?[c]",
    "日本 🚀",
    "bullmq/mail",
    ...Array.from({ length: 300 }, (_, i) => `q${i}`),
  ];
  for (let from = 0; from < names.length; from += 500) {
    await tracker.record(
      names.slice(from, from + 500).map((queue) => event("ENQUEUED", queue)),
      null,
    );
  }
  // Of another server that shares this Redis.
  await using other = await openTracker(inject("redisUrl"), { prefix: `${swept.prefix}:{x}` });
  await other.tracker.record([event("ENQUEUED", "other")], null);
  await redis.unlink(keys.index);
  await tracker.record([event("ENQUEUED", "late")], null);
  await swept.startSweeper();
  await until(async () => expect(await tracker.count()).toBe(names.length + 1));
  const listed = await tracker.list({ limit: 10_000 });
  expect([...listed].sort()).toEqual([...names, "late"].sort());
  await until(() =>
    expect(logger.lines).toMatchObject([{ level: "info", fields: { queues: names.length } }]),
  );
  // The index has its marker now, so nothing is scanned for a name that is taken out.
  await until(async () => expect(await redis.zscore(keys.index, "")).not.toBeNull());
  await redis.zrem(keys.index, "a");
  const asked = vi.spyOn(redis, "zscore");
  await until(() => expect(asked.mock.calls.length).toBeGreaterThan(2));
  expect(await redis.zrank(keys.index, "a")).toBeNull();
});

it("drops the ghosts of every queue, also behind one that cannot be swept", async () => {
  await using swept = await openSwept({ maxWaitMs: minuteMs });
  const { redis, keys, tracker, logger } = swept;
  // More than one page of names, and the first of them is broken.
  const names = Array.from({ length: 250 }, (_, i) => `q${String(i).padStart(3, "0")}`);
  await tracker.record(
    names.map((queue) => event("ENQUEUED", queue)),
    null,
  );
  await redis.set(keys.state("q000"), "not a hash");
  swept.nowMs += minuteMs + 1;

  await swept.startSweeper();
  await until(async () => expect(await redis.zcard(keys.waiting("q249"))).toBe(0));
  expect(await redis.zcard(keys.waiting("q001"))).toBe(0);
  await until(() =>
    expect(logger.lines).toContainEqual({
      level: "warn",
      fields: { lost: 249 },
      message: "dropped jobs that waited longer than MAX_WAIT",
    }),
  );
  await until(() =>
    expect(logger.lines.find(({ level }) => level === "error")?.fields).toMatchObject({ queues: 1 }),
  );
});

describe("a queue with no event for QUEUE_TTL", () => {
  const dayMs = 24 * hourMs;
  const rows: readonly {
    readonly name: string;
    readonly events: readonly QueueEvent[];
    readonly isKept: boolean;
    readonly why: string;
  }[] = [
    {
      name: "empty",
      events: [event("ENQUEUED", "empty"), event("DEQUEUED", "empty")],
      isKept: false,
      why: "it has no jobs",
    },
    {
      name: "removed",
      events: [event("ENQUEUED", "removed"), event("REMOVED", "removed")],
      isKept: false,
      why: "a removed job is none",
    },
    { name: "early", events: [event("DEQUEUED", "early")], isKept: false, why: "no job ever came" },
    { name: "waiting", events: [event("ENQUEUED", "waiting")], isKept: true, why: "a job waits in it" },
    {
      name: "scheduled",
      events: [event("ENQUEUED", "scheduled", { availableAtMs: start + 30 * dayMs })],
      isKept: true,
      why: "a job is scheduled in it",
    },
  ];

  it("is forgotten with all its keys unless it has jobs", async () => {
    await using swept = await openSwept();
    const { tracker, redis, keys, logger } = swept;
    await tracker.record(
      rows.flatMap(({ events }) => events),
      null,
    );
    const seen = {
      headAgeMs: null,
      uncertaintyMs: 0,
      scheduled: 0,
      paused: false,
      accuracy: "EXACT",
    } as const;
    await tracker.observe({
      source: "faktory",
      queues: [{ queue: "idle", depth: 0, readAtMs: performance.now(), ...seen }],
      freshForMs: minuteMs,
    });
    swept.nowMs += dayMs + 2 * minuteMs;
    await swept.startSweeper();
    const gone = rows.filter(({ isKept }) => !isKept).map(({ name }) => name);
    await until(() => expect(swept.forgotten.toSorted()).toEqual(gone.toSorted()));
    const kept = rows.filter(({ isKept }) => isKept).map(({ name }) => name);
    await until(async () =>
      expect(await tracker.list({ limit: 100 })).toEqual(["faktory/idle", ...kept].toSorted()),
    );
    for (const name of gone) {
      const left = await redis.exists(...keys.all(name));
      expect(left, name).toBe(0);
    }
    await until(() =>
      expect(logger.lines).toContainEqual({
        level: "info",
        fields: { queues: gone.length },
        message: "forgot queues that were idle for QUEUE_TTL",
      }),
    );
  });

  it("takes with it what others keep of it, as one that is forgotten by a request does", async () => {
    let nowMs = start;
    const forgotten: string[] = [];
    await using opened = await openTracker(inject("redisUrl"), {
      now: () => nowMs,
      sweepEveryMs: 20,
      // Less than the event window, which is five minutes: that is the least.
      queueTtlMs: minuteMs,
      onForgotten: async (queue) => void forgotten.push(queue),
    });
    const { tracker } = opened;
    await tracker.record(
      [event("ENQUEUED", "idle"), event("DEQUEUED", "idle"), event("ENQUEUED", "q")],
      null,
    );
    await tracker.start();
    nowMs += 4 * minuteMs;
    await opened.redis.zadd(opened.keys.index, 0, "swept");
    await until(async () => expect(await tracker.list({ limit: 10 })).not.toContain("swept"));
    expect(forgotten).toEqual([]);
    nowMs += 3 * minuteMs;
    await until(() => expect(forgotten).toEqual(["idle"]));
    await tracker.forget("q");
    expect(forgotten).toEqual(["idle", "q"]);
  });

  it("is kept for QUEUE_TTL after its last event, however old it is", async () => {
    await using swept = await openSwept();
    const { tracker } = swept;
    const busy = (type: QueueEventType) => event(type, "busy", { jobId: `${swept.nowMs}` });
    for (let i = 0; i < 5; i++) {
      await tracker.record([busy("ENQUEUED"), busy("DEQUEUED")], null);
      swept.nowMs += 23 * hourMs;
    }
    await tracker.record([event("ENQUEUED", "idle"), event("DEQUEUED", "idle")], null);
    swept.nowMs -= 23 * hourMs;
    await tracker.record([event("DEQUEUED", "busy")], null);
    swept.nowMs += dayMs - 1;
    await swept.startSweeper();
    await swept.redis.zadd(swept.keys.index, 0, "swept");
    // A whole sweep has passed when it has taken out the name that has no state.
    await until(async () => expect(await tracker.list({ limit: 10 })).not.toContain("swept"));
    expect(swept.forgotten).toEqual([]);
    expect(await tracker.list({ limit: 10 })).toEqual(["busy", "idle"]);
  });

  it("counts from the first sweep for a queue that an earlier version recorded", async () => {
    await using swept = await openSwept();
    const { tracker, redis, keys } = swept;
    await tracker.record([event("ENQUEUED", "old"), event("DEQUEUED", "old")], null);
    await redis.hdel(keys.state("old"), "eventAt", "knownAt");
    swept.nowMs += 100 * dayMs;
    await swept.startSweeper();
    await until(async () => expect(await redis.hget(keys.state("old"), "eventAt")).toBe(String(swept.nowMs)));
    expect(swept.forgotten).toEqual([]);
    swept.nowMs += dayMs + minuteMs;
    await until(() => expect(swept.forgotten).toEqual(["old"]));
    expect(await keysWith(redis, `${swept.prefix}:{old}`)).toEqual([]);
  });

  it("stays when an event comes between the sweep's look and its removal", async () => {
    await using swept = await openSwept();
    const { tracker } = swept;
    await tracker.record([event("ENQUEUED", "q"), event("DEQUEUED", "q")], null);
    const index = createQueueIndex(swept);
    const writer = createWriter({ eventWindowMs: windowMs });
    const recorded = createRecordedQueues(swept);
    const forget = createForget({
      ...{ ...swept, index, recorded, writer },
      eventWindowMs: windowMs,
      now: () => swept.nowMs,
    });
    const idleSinceMs = swept.nowMs + hourMs;
    swept.nowMs += 2 * hourMs;
    await tracker.record([event("DEQUEUED", "q", { jobId: "b" })], null);
    expect(await forget("q", { idleSinceMs })).toBe(false);
    expect(await forget("q", { idleSinceMs: swept.nowMs })).toBe(true);
  });
});

it("takes the names of queues that have no state out of the list", async () => {
  await using swept = await openSwept();
  const { tracker, redis, keys } = swept;
  await tracker.record([event("ENQUEUED", "known")], null);
  for (let i = 0; i < 450; i++) await redis.zadd(keys.index, 0, `gone-${i}`);
  await swept.startSweeper();
  await until(async () => expect(await tracker.list({ limit: 1_000 })).toEqual(["known"]));
});

it("renews its turn with each page, so that a long sweep stays the only one, and ends when another process has it", async () => {
  await using swept = await openSwept();
  const { redis, keys, logger } = swept;
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  onTestFinished(() => void vi.useRealTimers());
  const names = Array.from({ length: 200 }, (_, i) => `q${i}`);
  const leftMs: number[] = [];
  let completed = 0;
  const sweeper = createExpirySweeper({
    ...{ redis, keys, logger, queueTtlMs: hourMs, everyMs: minuteMs },
    index: { list: async () => names, unlist: async () => {}, complete: async () => void completed++ },
    recorder: {
      async sweep() {
        leftMs.push(await redis.pttl(keys.sweepLease));
        // As after most of the turn, and as after all of it where another process has begun.
        if (leftMs.length === 1) await redis.pexpire(keys.sweepLease, 1_000_000);
        if (leftMs.length === 2) await redis.del(keys.sweepLease);
        if (leftMs.length === 3) await redis.set(keys.sweepLease, "another", "PX", minuteMs);
        return { lost: 0, unknown: [], known: [], empty: [], failures: [] };
      },
    },
    recorded: { mark: async () => [], marked: async () => [] },
    dataLoss: { reportGone: async () => [] },
    forget: async () => false,
  });
  await sweeper.start();
  vi.advanceTimersByTime(minuteMs);
  await until(() => expect(leftMs.length).toBeGreaterThanOrEqual(3));
  await sweeper.stop();
  expect(leftMs).toHaveLength(3);
  for (const ms of leftMs) {
    expect(ms).toBeGreaterThan(0);
    expect(ms).toBeLessThanOrEqual(0.9 * minuteMs);
  }
  expect(completed).toBe(0);
  expect(await redis.get(keys.sweepLease)).toBe("another");
});

it("begins no sweep while one is under way, which would take out names that the other one has just kept", async () => {
  await using swept = await openSwept();
  const { redis, keys, logger } = swept;
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  onTestFinished(() => void vi.useRealTimers());
  const released = Promise.withResolvers<void>();
  let begun = 0;
  const sweeper = createExpirySweeper({
    ...{ redis, keys, logger, queueTtlMs: hourMs, everyMs: minuteMs },
    index: { list: async () => [], unlist: async () => {}, complete: async () => {} },
    recorder: {
      async sweep() {
        begun += 1;
        await released.promise;
        return { lost: 0, unknown: [], known: [], empty: [], failures: [] };
      },
    },
    recorded: { mark: async () => [], marked: async () => [] },
    dataLoss: { reportGone: async () => [] },
    forget: async () => false,
  });
  await sweeper.start();
  vi.advanceTimersByTime(minuteMs);
  await until(() => expect(begun).toBe(1));
  // It takes longer than its turn lasts.
  await redis.del(keys.sweepLease);
  vi.advanceTimersByTime(minuteMs);
  for (let i = 0; i < 5; i++) await redis.ping();
  expect(begun).toBe(1);
  released.resolve();
  await until(async () => {
    await redis.del(keys.sweepLease);
    vi.advanceTimersByTime(minuteMs);
    expect(begun).toBeGreaterThan(1);
  });
  await sweeper.stop();
});
