import { Redis } from "ioredis";
import { expect, onTestFinished, test } from "vitest";
import { type HistoryStep, historySteps, stepSeconds } from "../../src/core/history.ts";
import type { FinishedStep } from "../../src/history/sampler.ts";
import { mergeRecords, type StepCounts, type StepRecord } from "../../src/history/step-record.ts";
import { createHistoryWriter } from "../../src/history/writer.ts";
import { hourMs, keptMs, openHistory } from "../support/history.ts";
import { startRedis } from "../support/redis.ts";

/** A whole number of days. */
const start = 1_790_000_000_000 - (1_790_000_000_000 % (24 * hourMs));
const hours = 30 * 24;
const queues = Array.from({ length: 10 }, (_, i) => `queue-${i}`);

test("a month of ten queues keeps what is to be kept and no more, and every hour is the sum of its minutes", async () => {
  const redis = await startRedis();
  onTestFinished(() => redis[Symbol.asyncDispose]());
  await using history = await openHistory(redis.url, start);
  const { store } = history;
  // What the tracker counted is drawn here, for a month of real events would take a month of this machine.
  const countsOf = async (queue: string, atMs: number): Promise<StepCounts> => {
    // No queue was known before that.
    if (atMs < start + 30 * 60_000) {
      return { enqueued: 0, dequeued: 0, waits: 0, sumMs: 0, maxMs: 0, buckets: new Map() };
    }
    const waits = (queues.indexOf(queue) + atMs / 10_000) % 7;
    const buckets = new Map(waits === 0 ? [] : [[waits, waits]]);
    return { enqueued: waits + 1, dequeued: waits, waits, sumMs: waits * 10, maxMs: waits, buckets };
  };
  const writer = createHistoryWriter({ ...store, countsOf });
  const written = new Map<string, Map<number, StepRecord[]>>();
  for (let hour = 0; hour < hours; hour++) {
    // Two steps of each hour, in different minutes; the second one is its last.
    for (const atMs of [start + hour * hourMs + 30 * 60_000, start + (hour + 1) * hourMs - 10_000]) {
      const seen: FinishedStep["seen"] = {
        samples: 10,
        waitingSamples: 3,
        pausedSamples: 0,
        incompleteSamples: 0,
        maxLatencyMs: hour,
        sumLatencyMs: hour * 3,
        lastLatencyMs: hour,
        maxDepth: hour,
        lastDepth: 1,
      };
      await Promise.all(queues.map((queue) => writer.write({ queue, atMs, seen, isCounted: true })));
      for (const queue of queues) {
        const ofQueue = written.get(queue) ?? new Map<number, StepRecord[]>();
        written.set(queue, ofQueue);
        const hourAtMs = start + hour * hourMs;
        const record = { ...seen, counts: await countsOf(queue, atMs) };
        ofQueue.set(hourAtMs, [...(ofQueue.get(hourAtMs) ?? []), record]);
      }
    }
  }

  const all = { fromMs: 0, toMs: null };
  // Redis evicts blocks of a hundred at once.
  const most = (step: HistoryStep) => Math.min(hours * 2, (2 * keptMs[step]) / hourMs + 101);
  for (const queue of queues) {
    for (const step of historySteps) {
      const steps = await store.range(queue, step, all);
      expect(steps.length, `${queue} ${step}`).toBeLessThanOrEqual(most(step));
      // The newest one is there.
      expect(steps.at(-1)?.atMs).toBe(start + hours * hourMs - stepSeconds[step] * 1000);
    }
    const stored = (await store.range(queue, "ONE_HOUR", all)).map(({ atMs, record }) => [atMs, record]);
    const expected = [...(written.get(queue) ?? [])].map(([atMs, records]) => [atMs, mergeRecords(records)]);
    expect(stored).toEqual(expected);
  }
  const client = new Redis(redis.url);
  onTestFinished(() => client.disconnect());
  const usedMemory = Number(/^used_memory:(\d+)/m.exec(await client.info("memory"))?.[1]);
  // A megabyte for each queue is what everything that can ever be there may take.
  expect(usedMemory).toBeLessThan(queues.length * 1_000_000);
});
