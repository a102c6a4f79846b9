import { describe, expect, test } from "vitest";
import type { FollowResult } from "../../src/core/log-following.ts";
import { createQueueProgress, type QueueProgress } from "../../src/sources/bullmq-queue.ts";
import type { ReadReply } from "../../src/sources/bullmq-reader.ts";

const clocks = { sourceNowMs: 0, readAtMs: 0, uncertaintyMs: 0 };

/** A queue with nothing in it, whose stream gets this number of events a second. */
function play(options: {
  readonly perSecond: number;
  readonly maxEvents: number;
  readonly readings?: number;
  readonly minPaceMs?: number;
  readonly isTrimmed?: boolean;
}) {
  const { perSecond, maxEvents, readings = 50, minPaceMs = 20, isTrimmed = false } = options;
  const warnings: number[] = [];
  const progress = createQueueProgress({
    ...{ source: "bullmq", queue: "q", reconcileMs: 10_000, cursor: null, repairing: false },
    minPaceMs: () => minPaceMs,
    checkMs: () => 1_000,
    onTrimmed: (max) => warnings.push(max),
  });
  let nowMs = 1_000_000;
  for (let n = 0; n < readings; n++) {
    read(progress, nowMs, {
      added: Math.round((nowMs - 1_000_000) * (perSecond / 1_000)),
      maxEvents,
      missedUntilMs: isTrimmed && n > 0 ? nowMs : null,
    });
    nowMs = progress.dueMs;
  }
  const before = nowMs;
  read(progress, nowMs, { added: Math.round((nowMs - 1_000_000) * (perSecond / 1_000)), maxEvents });
  return { paceMs: progress.dueMs - before, warnings, progress };
}

function read(progress: QueueProgress, nowMs: number, rest: Partial<ReadReply>): void {
  const request = progress.request(nowMs);
  const isAll = request.page?.list === "all";
  const reply: ReadReply = {
    ...{ exists: true, cursor: "1-0", more: false, missedUntilMs: null, added: 0, maxEvents: 10_000 },
    ...{ events: [], counts: null, there: [], headIsGone: false, page: [], skewMs: null },
    looked: isAll ? 0 : -1,
    ...rest,
  };
  const followed = progress.learn(request, reply, clocks, nowMs);
  const result: FollowResult = {
    ...{ applied: true, cursor: reply.cursor, jobs: 0, head: null, lacksExpected: false },
    ...{ sweepFrom: null, repairing: false },
  };
  progress.recorded(request, reply, followed === null ? null : result, nowMs);
}

describe("a queue is read", () => {
  test.each([
    { perSecond: 0, maxEvents: 10_000, paceMs: [1, 200], why: "nothing happens: with all others" },
    { perSecond: 1_600, maxEvents: 10_000, paceMs: [1, 200], why: "six seconds of events are kept" },
    { perSecond: 1_600, maxEvents: 100, paceMs: [20, 21], why: "three readings in what BullMQ keeps" },
    { perSecond: 1_600, maxEvents: 200, paceMs: [40, 43], why: "three readings in what BullMQ keeps" },
    { perSecond: 100_000, maxEvents: 100, paceMs: [20, 20], why: "no more often than the bound" },
    { perSecond: 1_600, maxEvents: 0, paceMs: [20, 20], why: "a stream that keeps nothing" },
  ])("at $perSecond events a second, of which $maxEvents are kept, each $paceMs ms: $why", (row) => {
    const { paceMs } = play(row);
    expect(paceMs).toBeGreaterThanOrEqual(row.paceMs[0]!);
    expect(paceMs).toBeLessThanOrEqual(row.paceMs[1]!);
  });

  test("less often when many queues are read more often", () => {
    expect(play({ perSecond: 1_600, maxEvents: 100, minPaceMs: 90 }).paceMs).toBe(90);
  });

  test("as often as the bound allows while its stream is trimmed unread, which is reported", () => {
    const { progress, warnings } = play({ perSecond: 10, maxEvents: 100, isTrimmed: true, readings: 5 });
    expect(progress.isHurried).toBe(true);
    expect(warnings).toContain(100);
  });

  test.each([
    { checkMs: 2, counts: [true, true, true, true, true, true], why: "there are few queues" },
    { checkMs: 1_000, counts: [false, false, false, false, true, false], why: "there are many" },
  ])("and compared with its lists each $checkMs ms at most: $why", ({ checkMs, counts }) => {
    const progress = createQueueProgress({
      ...{ source: "bullmq", queue: "q", reconcileMs: 10_000, cursor: null, repairing: false },
      minPaceMs: () => 20,
      checkMs: () => checkMs,
      onTrimmed: () => expect.unreachable(),
    });
    let nowMs = 1_000_000;
    const asked = () => progress.request(nowMs).counts;
    const step = () => read(progress, nowMs, asked() ? { counts: { jobs: 0, paused: false } } : {});
    step();
    nowMs += 1_200;
    step();
    const found = counts.map(() => {
      nowMs += 200;
      const isAsked = asked();
      step();
      return isAsked;
    });
    expect(found).toEqual(counts);
  });

  test("with no report when the reader itself was away", () => {
    const progress = createQueueProgress({
      ...{ source: "bullmq", queue: "q", reconcileMs: 10_000, cursor: "1-0", repairing: false },
      minPaceMs: () => 20,
      checkMs: () => 1_000,
      onTrimmed: () => expect.unreachable(),
    });
    read(progress, 1_000_000, { missedUntilMs: 1 });
  });
});
