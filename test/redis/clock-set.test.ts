import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import type { FollowedQueue } from "../../src/core/log-following.ts";
import { type RecordingLogger, recordingLogger } from "../support/logger.ts";
import { allParts, openTracker, type TestTracker } from "../support/tracker.ts";

const start = 1_790_000_000_000;
const hour = 3_600_000;
const eventWindowMs = 60_000;

/** Of this process, and by how much Redis's clock was set. */
let localMs = 0;
let setMs = 0;
let opened: TestTracker;
let logger: RecordingLogger;
const clock = { now: () => localMs };
const now = () => start + localMs + setMs;

beforeEach(async () => {
  [localMs, setMs] = [0, 0];
  logger = recordingLogger();
  opened = await openTracker(inject("redisUrl"), { now, clock, eventWindowMs, logger });
});
afterEach(() => opened[Symbol.asyncDispose]());

async function read(queue = "q") {
  const [snapshot] = await opened.tracker.read([queue], allParts);
  if (snapshot === undefined) throw new Error("one queue was asked for");
  return snapshot;
}
function record(type: QueueEvent["type"], jobId: string, availableAtMs: number | null = null) {
  const event = { type, queue: "q", jobId, attempt: 0, atMs: null, availableAtMs };
  return opened.tracker.record([event], null);
}
function set(byMs: number): void {
  setMs += byMs;
  localMs += 1_000;
}

const unknown = { accuracy: "UNKNOWN", latencyMs: null, oldestSinceMs: null };

describe("when the clock of Redis is set", () => {
  it("forward, a queue is UNKNOWN until the jobs from before have left", async () => {
    await record("ENQUEUED", "a");
    localMs += 5_000;
    expect(await read()).toMatchObject({ accuracy: "EXACT", latencyMs: 5_000 });
    set(hour);
    expect(await read()).toMatchObject(unknown);
    await record("ENQUEUED", "b");
    expect(await read()).toMatchObject(unknown);
    await record("DEQUEUED", "a");
    localMs += 2_000;
    expect(await read()).toMatchObject({ latencyMs: 2_000, accuracy: "ESTIMATED" });
    localMs += eventWindowMs;
    expect(await read()).toMatchObject({ latencyMs: 2_000 + eventWindowMs, accuracy: "EXACT" });
  });

  it("back, a queue in which jobs wait is UNKNOWN until it is as late as it was, and those have left", async () => {
    await record("ENQUEUED", "a");
    localMs += 5_000;
    expect(await read()).toMatchObject({ accuracy: "EXACT", latencyMs: 5_000 });
    set(-hour);
    expect(await read()).toMatchObject(unknown);
    await record("ENQUEUED", "b");
    expect(await read()).toMatchObject(unknown);
    localMs += hour + 1_000;
    expect(await read()).toMatchObject(unknown);
    await record("ENQUEUED", "c");
    for (const job of ["a", "b"]) await record("DEQUEUED", job);
    localMs += 2_000;
    expect(await read()).toMatchObject({ latencyMs: 2_000, accuracy: "EXACT" });
  });

  it("back, a queue is EXACT again once it was seen with no job", async () => {
    await record("ENQUEUED", "a");
    await record("ENQUEUED", "later", now() + 10_000);
    localMs += 5_000;
    await read();
    set(-hour);
    expect(await read()).toMatchObject(unknown);
    await record("DEQUEUED", "a");
    // One is due later, by a clock that is not known.
    await read();
    await record("ENQUEUED", "b");
    expect(await read()).toMatchObject(unknown);
    for (const job of ["b", "later"]) await record("REMOVED", job);
    expect(await read()).toMatchObject({ state: "EMPTY", accuracy: "EXACT" });
    await record("ENQUEUED", "c");
    localMs += 3_000;
    expect(await read()).toMatchObject({ latencyMs: 3_000, accuracy: "EXACT" });
    // And UNKNOWN once more when it is set again.
    set(-hour);
    expect(await read()).toMatchObject(unknown);
  });

  it.each([
    { what: "is noticed before anything is written", isNoticed: true },
    { what: "is not noticed before the next event", isNoticed: false },
  ])("forward by more than MAX_WAIT drops no job that waits, when that $what", async ({ isNoticed }) => {
    await record("ENQUEUED", "a");
    localMs += 5_000;
    expect(await read()).toMatchObject({ accuracy: "EXACT", latencyMs: 5_000 });
    set(30 * 24 * hour);
    if (isNoticed) expect(await read()).toMatchObject({ ...unknown, state: "WAITING", depth: 1 });
    const { expired } = await opened.tracker.record(
      [{ type: "ENQUEUED", queue: "q", jobId: "b", attempt: 0, atMs: start + localMs, availableAtMs: null }],
      null,
    );
    expect(expired).toBe(0);
    expect(await read()).toMatchObject({ ...unknown, state: "WAITING", depth: 2, lost: 0 });
    expect(await opened.tracker.waiting("q", 10)).toHaveLength(2);
    // Once the jobs from before would be ghosts by the right clock, they are.
    localMs += 7 * 24 * hour + 10_000;
    expect(await read()).toMatchObject({ state: "EMPTY", depth: 0, lost: 2 });
  });

  it("back and forth, it is right again, but for the jobs that came in between", async () => {
    await record("ENQUEUED", "before");
    localMs += 5_000;
    await read();
    set(-hour);
    await record("ENQUEUED", "between");
    expect(await read()).toMatchObject(unknown);
    localMs += 5_000;
    set(hour);
    // The younger one seems to be the head.
    expect(await read()).toMatchObject(unknown);
    await record("DEQUEUED", "between");
    expect(await read()).toMatchObject({ depth: 1, latencyMs: 12_000, accuracy: "ESTIMATED" });
    localMs += eventWindowMs;
    expect(await read()).toMatchObject({ depth: 1, latencyMs: 12_000 + eventWindowMs, accuracy: "EXACT" });
  });

  it("a queue in which no job waits is EMPTY", async () => {
    await record("ENQUEUED", "a");
    await record("DEQUEUED", "a");
    await read();
    set(-hour);
    expect(await read()).toMatchObject({ state: "EMPTY", latencyMs: 0, accuracy: "EXACT" });
  });

  it("rates and wait times are not known until their window has passed", async () => {
    await record("ENQUEUED", "a");
    await read();
    set(-hour);
    await record("DEQUEUED", "a");
    const isKnown = async () => {
      const { throughput, waitTime } = await read();
      return [throughput, waitTime].map((counts) => Object.values(counts ?? {}).map((each) => each !== null));
    };
    expect(await isKnown()).toEqual(Array(2).fill([false, false, false]));
    localMs += 60_000;
    expect(await isKnown()).toEqual(Array(2).fill([true, false, false]));
    localMs += 900_000;
    expect(await isKnown()).toEqual(Array(2).fill([true, true, true]));
  });

  it("what remembers less is not EXACT for one event window, and says when that ends", async () => {
    await record("ENQUEUED", "a");
    await record("DEQUEUED", "a");
    await read();
    set(hour);
    const { accuracy, changesAtMs, measuredAtMs } = await read();
    expect([accuracy, changesAtMs]).toEqual(["ESTIMATED", measuredAtMs + eventWindowMs]);
    localMs += eventWindowMs;
    expect(await read()).toMatchObject({ state: "EMPTY", accuracy: "EXACT", changesAtMs: null });
  });

  it("back, that is seen also by a process that starts later", async () => {
    await record("ENQUEUED", "a");
    set(-hour);
    const { prefix } = opened;
    await using later = await openTracker(inject("redisUrl"), { now, clock, eventWindowMs, prefix });
    const [snapshot] = await later.tracker.read(["q"], allParts);
    expect(snapshot).toMatchObject(unknown);
  });

  it("it is logged once, by how much", async () => {
    await record("ENQUEUED", "a");
    await read();
    set(-hour);
    for (let i = 0; i < 3; i++) await read();
    expect(logger.lines).toMatchObject([{ level: "warn", fields: { seconds: -3_600 } }]);
  });

  it.each([-hour, hour])(
    "by %d ms, a queue that a job system is asked about is right with its next reading",
    async (byMs) => {
      const observe = () =>
        opened.tracker.observe({
          source: "faktory",
          freshForMs: 3_000,
          queues: [
            {
              ...{ queue: "x", headAgeMs: 7_000, uncertaintyMs: 0, depth: 1, scheduled: null },
              ...{ paused: false, accuracy: "EXACT", readAtMs: performance.now() },
            },
          ],
        });
      await observe();
      await read("faktory/x");
      set(byMs);
      const between = await read("faktory/x");
      expect(between.stale || between.accuracy === "UNKNOWN").toBe(true);
      await observe();
      const after = await read("faktory/x");
      expect(after).toMatchObject({ stale: false, accuracy: "EXACT" });
      expect(Math.abs((after.latencyMs ?? 0) - 7_000)).toBeLessThan(1_000);
    },
  );

  it("a followed queue is UNKNOWN while a job from before waits", async () => {
    const followedQueue = (
      from: string | null,
      to: string,
      events: FollowedQueue["events"],
    ): FollowedQueue => ({
      ...{ source: "bullmq", queue: "x", fromCursor: from, toCursor: to, events, paused: null },
      ...{ sourceNowMs: start + localMs, readAtMs: performance.now(), uncertaintyMs: 0, freshForMs: 60_000 },
      ...{ repair: null, expected: [], clockSkewMs: null, missedUntilMs: null },
    });
    const event = (kind: "ENQUEUED" | "DEQUEUED", jobId: string) => ({
      ...{ kind, jobId, atMs: start + localMs, availableAtMs: null },
    });
    await opened.tracker.follow(followedQueue(null, "1", [event("ENQUEUED", "a")]));
    expect(await read("bullmq/x")).toMatchObject({ accuracy: "EXACT" });
    set(-hour);
    expect(await read("bullmq/x")).toMatchObject(unknown);
    await opened.tracker.follow(followedQueue("1", "2", [event("DEQUEUED", "a")]));
    expect(await read("bullmq/x")).toMatchObject({ accuracy: "EXACT", depth: 0 });
  });
});
