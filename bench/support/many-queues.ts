import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import { encodeRecord } from "../../src/history/step-record.ts";
import type { TestTracker } from "../../test/support/tracker.ts";

const count = 10_000;
const stepMs = 10_000;

/** Every fifth has an objective. */
export const manyNames: readonly string[] = Array.from(
  { length: count },
  (_, i) => `team-${i % 50}/queue-${String(i).padStart(5, "0")}${i % 5 === 0 ? "_within_30_seconds" : ""}`,
);

/** For how long the head of each queue has waited, in seconds: a hundredth is stuck, a twentieth is late, the others are lively. */
const headAges = manyNames.map((_, i) => (i % 100 === 1 ? 3_600 : i % 20 === 5 ? 45 : 1 + (i % 7)));

export interface Histories {
  /** Adds the steps that are missing up to now, as if a server had run until now. */
  fillOn(): Promise<void>;
}

/** A job waits in each queue, and each has a history of some hours up to now, as if a server had run. */
export async function fillQueues(opened: TestTracker, redisUrl: string, hours: number): Promise<Histories> {
  const nowMs = Date.now();
  for (let from = 0; from < count; from += 250) {
    const events = manyNames
      .slice(from, from + 250)
      .map((queue, i) => eventOf("ENQUEUED", queue, "0", nowMs - 1_000 * (headAges[from + i] ?? 0)));
    await opened.tracker.record(events, null);
  }
  const filledToMs = manyNames.map(() => nowMs - (nowMs % stepMs) - hours * 3_600_000);
  async function fillOn(): Promise<void> {
    // However long Redis takes on a busy machine.
    const redis = new Redis(redisUrl);
    for (let from = 0; from < count; from += 100) {
      const fills = manyNames.slice(from, from + 100).map((queue, i) => {
        const fromMs = filledToMs[from + i] ?? 0;
        const toMs = Date.now() - (Date.now() % stepMs);
        filledToMs[from + i] = toMs;
        const sinceMs = headAges[from + i] === 3_600 ? nowMs - 3_600_000 : null;
        const records = recordsOf(fromMs, toMs, sinceMs);
        const key = opened.keys.history(queue, "TEN_SECONDS");
        return redis.call("EVAL", appendSteps, 1, key, fromMs, toMs - stepMs, stepMs, ...records);
      });
      await Promise.all(fills);
    }
    redis.disconnect();
  }
  await fillOn();
  return { fillOn };
}

/** A step that a server has written meanwhile stays. */
const appendSteps = `for at = ARGV[1], ARGV[2], ARGV[3] do
  local record = ARGV[4 + (at - ARGV[1]) / ARGV[3] % (#ARGV - 3)]
  redis.pcall('XADD', KEYS[1], string.format('%.0f-1', at), 'step', record)
end`;

/** Of a queue whose head stays, one for each step; else a few, to be repeated. */
function recordsOf(fromMs: number, toMs: number, sinceMs: number | null): readonly Buffer[] {
  if (sinceMs === null) return livelyRecords;
  return Array.from({ length: (toMs - fromMs) / stepMs }, (_, i) =>
    recordOf(Math.max(0, fromMs + (i + 1) * stepMs - sinceMs), i),
  );
}

/** @param stuckMs the age of the head, if no job leaves. */
function recordOf(stuckMs: number | null, step: number): Buffer {
  const jobs = stuckMs === null ? 50 + (step % 13) : 0;
  const latencyMs = stuckMs ?? 200 + 37 * (step % 11);
  return encodeRecord({
    ...{ samples: 10, waitingSamples: stuckMs === null ? 4 + (step % 6) : 10 },
    ...{ pausedSamples: 0, incompleteSamples: 0 },
    ...{ maxLatencyMs: latencyMs, sumLatencyMs: 10 * latencyMs, lastLatencyMs: latencyMs },
    ...{ maxDepth: 4, lastDepth: 1 + (stuckMs === null ? step % 3 : 0) },
    counts: {
      ...{ enqueued: jobs, dequeued: jobs, waits: jobs, sumMs: 200 * jobs, maxMs: 700 },
      buckets: new Map(jobs === 0 ? [] : Array.from({ length: 15 }, (_, i) => [20 + 3 * i, 4])),
    },
  });
}

const livelyRecords = Array.from({ length: 12 }, (_, step) => recordOf(null, step));

export interface Changes extends AsyncDisposable {
  /** How many there have been. */
  readonly count: number;
}

/** Changes queues at random, this number a second, as a producer or a worker does with another server: one job comes, or one leaves. */
export function changeQueues({ tracker }: TestTracker, perSecond: number): Changes {
  const everyMs = 50;
  const oldest = new Uint32Array(count);
  const next = new Uint32Array(count).fill(1);
  const stop = new AbortController();
  let changed = 0;

  function change(): QueueEvent {
    const i = Math.floor(Math.random() * count);
    const isFull = (next[i] ?? 0) - (oldest[i] ?? 0) > 1;
    const jobs = isFull ? oldest : next;
    const job = (jobs[i] as number)++;
    return eventOf(isFull ? "DEQUEUED" : "ENQUEUED", manyNames[i] ?? "", String(job), null);
  }

  async function run(): Promise<void> {
    for (let atMs = performance.now(); !stop.signal.aborted; atMs += everyMs) {
      const events = Array.from({ length: (perSecond * everyMs) / 1_000 }, change);
      await tracker.record(events, null);
      changed += events.length;
      await pause(Math.max(0, atMs + everyMs - performance.now()));
    }
  }

  const ended = run();
  // A failure is reported where it is awaited, at the end.
  ended.catch(() => {});
  return {
    get count() {
      return changed;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

function eventOf(type: QueueEventType, queue: string, jobId: string, atMs: number | null): QueueEvent {
  return { type, queue, jobId, attempt: 0, atMs, availableAtMs: null };
}
