import fc from "fast-check";
import { describe, expect, inject, it } from "vitest";
import { eventTypes, type QueueEvent } from "../../src/core/events.ts";
import { recordingLogger } from "../support/logger.ts";
import { keysWith } from "../support/redis.ts";
import { allParts, openRecorder, openTracker, type TestTracker } from "../support/tracker.ts";
import { createTrackerModel } from "../support/tracker-model.ts";

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
  const logger = recordingLogger();
  const options = { eventWindowMs, maxWaitMs, now: () => now };
  const opened = await openTracker(redisUrl, { ...options, logger });
  return {
    ...opened,
    log: logger.lines,
    sweep: () => openRecorder(opened, options).sweep(["q"]),
    advance(ms: number) {
      now += ms;
    },
    async [Symbol.asyncDispose]() {
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
    const { doubt } = await opened.redis.hgetall(opened.keys.state("q"));
    expect(doubt).toBe(String(start + eventWindowMs - 1));
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

  it("whatever keys, in a random history, is never EXACT with numbers that are not the model's", async () => {
    let exact = 0;
    let incomplete = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(stepArb, { minLength: 1, maxLength: 15 }), async (steps) => {
        await using opened = await open();
        const model = createTrackerModel({ eventWindowMs, maxWaitMs });
        let now = start;
        for (const { advanceMs, events, batch, evicted, isSwept } of steps) {
          now += advanceMs;
          opened.advance(advanceMs);
          if (evicted !== null) await evict(opened, evicted);
          if (isSwept) await opened.sweep();
          const sent = events.map(([type, jobId]) => event(type, jobId));
          const batchId = batch === null ? null : String(batch);
          model.record(sent, batchId, now);
          // One that was used for another batch, as far as Redis remembers.
          await opened.tracker.record(sent, batchId).catch(() => {});
          const { state, accuracy, oldestSinceMs, depth, scheduled } = await read(opened);
          if (accuracy === "INCOMPLETE") incomplete += 1;
          if (accuracy !== "EXACT") continue;
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
