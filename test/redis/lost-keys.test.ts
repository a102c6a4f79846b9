import fc from "fast-check";
import { describe, expect, inject, it } from "vitest";
import { isUnavailable } from "../../src/core/errors.ts";
import { eventTypes, type QueueEvent } from "../../src/core/events.ts";
import { recordingLogger } from "../support/logger.ts";
import { keysWith } from "../support/redis.ts";
import { allParts, openRecorder, openTracker, type TestTracker } from "../support/tracker.ts";
import { createTrackerModel } from "../support/tracker-model.ts";
import { until } from "../support/until.ts";

const redisUrl = inject("redisUrl");
/** In the middle of a generation of tombstones. */
const start = 1_790_000_010_000;
const eventWindowMs = 20_000;
const maxWaitMs = 60_000;

function event(type: QueueEvent["type"], jobId: string, queue = "q"): QueueEvent {
  return { type, queue, jobId, attempt: 0, atMs: null, availableAtMs: null };
}
async function read({ tracker }: TestTracker, queue = "q") {
  const [snapshot] = await tracker.read([queue], allParts);
  if (snapshot === undefined) throw new Error("one queue was asked for");
  return snapshot;
}

/** As Redis evicts it. @returns false when there is no such key. */
async function evict({ redis, keys }: TestTracker, part: string, queue = "q"): Promise<boolean> {
  return (await redis.del(keys.state(queue).replace(/state$/, part))) === 1;
}

async function open() {
  let now = start;
  let sweeping: Promise<TestTracker> | undefined;
  const logger = recordingLogger();
  const options = { eventWindowMs, maxWaitMs, now: () => now };
  const opened = await openTracker(redisUrl, { ...options, logger });
  return {
    ...opened,
    log: logger.lines,
    sweep: () => openRecorder(opened, options).sweep(["q"]),
    /** Until the test is over. */
    sweepAlways() {
      sweeping = openTracker(redisUrl, { ...options, prefix: opened.prefix, sweepEveryMs: 20 });
      void sweeping.then(({ tracker }) => tracker.start());
    },
    advance(ms: number) {
      now += ms;
    },
    async [Symbol.asyncDispose]() {
      const sweeper = await sweeping;
      await sweeper?.tracker.stop();
      await sweeper?.[Symbol.asyncDispose]();
      for (const key of await keysWith(opened.redis, opened.prefix)) await opened.redis.unlink(key);
      await opened[Symbol.asyncDispose]();
    },
  };
}

describe("a recorded queue of which Redis has evicted", () => {
  const parts = ["waiting", "state", "recent", "departed:0", "departed:1"];

  /** One job waits, one has gone, and both hashes of tombstones are in use. */
  async function fill(opened: Awaited<ReturnType<typeof open>>): Promise<void> {
    await opened.tracker.record([event("ENQUEUED", "gone"), event("ENQUEUED", "waits")], null);
    await opened.tracker.record([event("DEQUEUED", "gone")], null);
    opened.advance(eventWindowMs - 1);
    await opened.tracker.record([event("DEQUEUED", "early")], "batch");
  }

  it.each(parts)("%s is INCOMPLETE in the first answer of any server, and stays so", async (part) => {
    await using opened = await open();
    await fill(opened);
    expect(await read(opened)).toMatchObject({ depth: 1, accuracy: "EXACT" });
    expect(await evict(opened, part)).toBe(true);
    const options = { prefix: opened.prefix, eventWindowMs, maxWaitMs, now: () => start + eventWindowMs };
    await using other = await openTracker(redisUrl, options);
    expect(await read(other)).toMatchObject({ accuracy: "INCOMPLETE", source: "events" });
    await opened.tracker.record([event("ENQUEUED", "next")], null);
    expect(await read(opened)).toMatchObject({ accuracy: "INCOMPLETE" });
  });

  it.each(parts)("%s is INCOMPLETE when the next event comes before any reader", async (part) => {
    await using opened = await open();
    await fill(opened);
    await evict(opened, part);
    await opened.tracker.record([event("ENQUEUED", "next")], null);
    expect(await read(opened)).toMatchObject({ accuracy: "INCOMPLETE" });
  });

  it.each(parts)("%s is INCOMPLETE once it was swept", async (part) => {
    await using opened = await open();
    await fill(opened);
    await evict(opened, part);
    await opened.sweep();
    const foundAt = await opened.redis.hget(opened.keys.state("q"), "doubt");
    expect(foundAt).toBe(String(start + eventWindowMs - 1));
  });

  it.each(parts)(
    "%s is logged, and EXACT again when MAX_WAIT has passed, or when an operator says so",
    async (part) => {
      for (const ends of ["passes", "trust", "forget"] as const) {
        await using opened = await open();
        await fill(opened);
        await evict(opened, part);
        const { changesAtMs, measuredAtMs } = await read(opened);
        await opened.tracker.stop();
        expect(opened.log).toMatchObject([{ level: "error", fields: { queues: 1 } }]);
        expect(changesAtMs).toBeLessThanOrEqual(measuredAtMs + maxWaitMs + 1);
        if (ends === "passes") opened.advance(maxWaitMs + 1);
        else expect(await opened.tracker[ends]("q")).toBe(true);
        expect((await read(opened)).accuracy).toBe(ends === "forget" ? "UNKNOWN" : "EXACT");
      }
    },
  );

  describe("all keys, later than anything of it was remembered,", () => {
    async function fillAndEvictAll(opened: Awaited<ReturnType<typeof open>>): Promise<void> {
      await fill(opened);
      opened.advance(2 * eventWindowMs);
      expect(await read(opened)).toMatchObject({ depth: 1, accuracy: "EXACT" });
      for (const part of parts) await evict(opened, part);
    }

    it("is INCOMPLETE and listed in the first answer of any server, and stays so", async () => {
      await using opened = await open();
      await fillAndEvictAll(opened);
      const options = { prefix: opened.prefix, eventWindowMs, maxWaitMs };
      await using other = await openTracker(redisUrl, {
        ...options,
        now: () => start + 3 * eventWindowMs - 1,
      });
      expect(await read(other)).toMatchObject({ state: "EMPTY", accuracy: "INCOMPLETE", source: "events" });
      expect(await read(opened)).toMatchObject({ accuracy: "INCOMPLETE" });
      expect(await opened.tracker.list({ limit: 10 })).toEqual(["q"]);
      await opened.tracker.record([event("ENQUEUED", "next")], null);
      expect(await read(opened)).toMatchObject({ depth: 1, accuracy: "INCOMPLETE" });
      expect(await opened.tracker.trust("q")).toBe(true);
      expect(await read(opened)).toMatchObject({ depth: 1, accuracy: "EXACT" });
    });

    it("is INCOMPLETE when the next that is asked of it is to record", async () => {
      await using opened = await open();
      await fillAndEvictAll(opened);
      await opened.tracker.record([event("ENQUEUED", "next")], null);
      expect(await read(opened)).toMatchObject({ depth: 1, accuracy: "INCOMPLETE" });
    });

    it("is INCOMPLETE once it was swept, and stays listed", async () => {
      await using opened = await open();
      await fillAndEvictAll(opened);
      opened.sweepAlways();
      await until(async () => {
        expect(await opened.redis.hget(opened.keys.state("q"), "doubt")).not.toBeNull();
      });
      expect(await opened.tracker.list({ limit: 10 })).toEqual(["q"]);
    });

    it("is INCOMPLETE though an earlier version recorded it, once this one has swept it before", async () => {
      await using opened = await open();
      await fill(opened);
      await opened.redis.del(opened.keys.recorded);
      opened.sweepAlways();
      await until(async () => expect(await opened.redis.exists(opened.keys.recorded)).toBe(1));
      opened.advance(2 * eventWindowMs);
      for (const part of parts) await evict(opened, part);
      expect(await read(opened)).toMatchObject({ accuracy: "INCOMPLETE" });
    });

    it.each([
      { what: "forgotten", evicted: [] },
      { what: "forgotten, and nothing of it is remembered", evicted: parts },
    ])("is MISSING when it was $what", async ({ evicted }) => {
      await using opened = await open();
      await fill(opened);
      await opened.tracker.forget("q");
      for (const part of evicted) await evict(opened, part);
      opened.advance(2 * eventWindowMs);
      expect(await read(opened)).toMatchObject({ state: "MISSING" });
    });

    it("is MISSING when it was forgotten just before another process marked it as recorded", async () => {
      await using opened = await open();
      await fill(opened);
      await opened.tracker.forget("q");
      await opened.redis.sadd(opened.keys.recorded, "q");
      expect(await read(opened)).toMatchObject({ state: "MISSING" });
      expect(await opened.redis.exists(opened.keys.recorded)).toBe(0);
    });

    it("is MISSING when a job system reported it: its next report says how it is", async () => {
      await using opened = await open();
      const observed = { headAgeMs: 1_000, uncertaintyMs: 0, depth: 1, scheduled: 0, paused: false } as const;
      await opened.tracker.observe({
        source: "faktory",
        freshForMs: 60_000,
        queues: [{ ...observed, queue: "q", accuracy: "EXACT", readAtMs: performance.now() }],
      });
      expect(await read(opened, "faktory/q")).toMatchObject({ state: "WAITING" });
      await evict(opened, "state", "faktory/q");
      expect(await read(opened, "faktory/q")).toMatchObject({ state: "MISSING" });
    });

    it("is answered as ever when the key of recorded queues is of another type", async () => {
      await using opened = await open();
      await opened.redis.set(opened.keys.recorded, "garbage");
      await fill(opened);
      expect(await read(opened)).toMatchObject({ depth: 1, accuracy: "EXACT" });
      expect(await read(opened, "never")).toMatchObject({ state: "MISSING" });
      expect(await opened.tracker.forget("q")).toBe(true);
    });
  });

  it("a key that it does not need any more is EXACT", async () => {
    await using opened = await open();
    await fill(opened);
    await opened.tracker.record([event("DEQUEUED", "waits")], null);
    opened.advance(900_001);
    expect(await read(opened)).toMatchObject({ state: "EMPTY", accuracy: "EXACT" });
    for (const part of ["recent", "departed:0", "departed:1"]) await evict(opened, part);
    expect(await read(opened)).toMatchObject({ state: "EMPTY", accuracy: "EXACT" });
    await opened.sweep();
    await opened.tracker.record([event("ENQUEUED", "next")], null);
    expect(await read(opened)).toMatchObject({ depth: 1, accuracy: "EXACT" });
  });

  it("nothing, written by version 1, is EXACT before and after it is written again", async () => {
    await using opened = await open();
    await fill(opened);
    const unknownThen = ["jobs", "tombstones:0", "tombstones:1", "countedAt", "eventAt", "knownAt"];
    await opened.redis.hdel(opened.keys.state("q"), ...unknownThen);
    expect(await read(opened)).toMatchObject({ depth: 1, accuracy: "EXACT", lost: 0 });
    await opened.tracker.record([event("ENQUEUED", "next")], null);
    expect(await read(opened)).toMatchObject({ depth: 2, accuracy: "EXACT" });
    await evict(opened, "waiting");
    expect(await read(opened)).toMatchObject({ depth: 0, accuracy: "INCOMPLETE" });
  });

  const stepArb = fc.record({
    advanceMs: fc.oneof(fc.constant(0), fc.nat(2_000), fc.nat(30_000)),
    events: fc.array(fc.tuple(fc.constantFrom(...eventTypes), fc.constantFrom("a", "b", "c")), {
      maxLength: 4,
    }),
    batch: fc.option(fc.nat(2)),
    evicted: fc.option(fc.constantFrom(...parts), { freq: 3 }),
    isSwept: fc.boolean(),
  });

  /** Another batch may have had this id, as far as Redis remembers: then it is refused. A busy Redis is asked again. */
  async function recordUnlessUsed(
    { tracker }: TestTracker,
    events: readonly QueueEvent[],
    batchId: string | null,
  ): Promise<void> {
    for (;;) {
      try {
        await tracker.record(events, batchId);
        return;
      } catch (error) {
        if (!isUnavailable(error)) return;
      }
    }
  }

  it("whatever keys, in a random history, is never EXACT with numbers that are not the model's", async () => {
    let exact = 0;
    let incomplete = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(stepArb, { minLength: 1, maxLength: 15 }), async (steps) => {
        await using opened = await open();
        const model = createTrackerModel({ eventWindowMs, maxWaitMs });
        let now = start;
        let hasLost = false;
        /**
         * What is repeated after its first was lost is new to Redis: a job may then wait, from then on, that does not wait in the model.
         * So after the loss is over a history is compared no further.
         */
        let isRepeated = false;
        let wasIncomplete = false;
        const sentBatches = new Set<string>();
        const endedEarly = new Set<string>();
        for (const { advanceMs, events, batch, evicted, isSwept } of steps) {
          now += advanceMs;
          opened.advance(advanceMs);
          if (evicted !== null) await evict(opened, evicted);
          if (isSwept) await opened.sweep();
          const sent = events.map(([type, jobId]) => event(type, jobId));
          const batchId = batch === null ? null : String(batch);
          hasLost ||= evicted !== null;
          const waiting = new Set(model.waiting("q", now).map(({ jobId }) => jobId));
          const answer = model.record(sent, batchId, now);
          const hasRepeated =
            (answer !== "REFUSED" && answer.duplicates > 0) ||
            (batchId !== null && sentBatches.has(batchId)) ||
            sent.some(({ type, jobId }) => type === "ENQUEUED" && endedEarly.has(jobId));
          isRepeated ||= hasLost && hasRepeated;
          if (batchId !== null) sentBatches.add(batchId);
          for (const { type, jobId } of sent) {
            if (type !== "ENQUEUED" && !waiting.has(jobId)) endedEarly.add(jobId);
          }
          await recordUnlessUsed(opened, sent, batchId);
          const { state, accuracy, oldestSinceMs, depth, scheduled } = await read(opened);
          if (accuracy === "INCOMPLETE") {
            incomplete += 1;
            wasIncomplete = true;
          }
          if (accuracy !== "EXACT") continue;
          if (wasIncomplete && isRepeated) return;
          hasLost = isRepeated = wasIncomplete = false;
          exact += 1;
          const { waitsMs: _, ...expected } = model.snapshot("q", now);
          expect({ state, oldestSinceMs, depth, scheduled }).toEqual({
            state: expected.state,
            oldestSinceMs: expected.oldestSinceMs,
            depth: expected.depth,
            scheduled: expected.scheduled,
          });
        }
      }),
      { numRuns: 150 },
    );
    expect(exact).toBeGreaterThan(100);
    expect(incomplete).toBeGreaterThan(100);
  });
});
