import { setImmediate } from "node:timers/promises";
import { type HistoryStep, stepSeconds } from "../core/history.ts";
import { latencyAt, type QueueSnapshot, type SnapshotParts } from "../core/snapshot.ts";
import { createRedisClock, type RedisClock } from "../redis/redis-clock.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { StepRecord } from "./step-record.ts";

export interface SamplerOptions {
  readonly read: (queues: readonly string[], parts: SnapshotParts) => Promise<QueueSnapshot[]>;
  /** Is handed what was seen of a queue in a step of ten seconds, once that is over by the queue's Redis; without its counts. */
  readonly onStep: (finished: FinishedStep) => void;
  /** For how long a queue without a notice of change is taken to be as it was, in ms. @default 5_000 // 5 seconds */
  readonly rereadMs?: number;
  /** Tests only: the monotonic clock, in ms. */
  readonly now?: () => number;
}

export interface FinishedStep {
  readonly queue: string;
  readonly atMs: number;
  readonly seen: Omit<StepRecord, "counts">;
  /** Whether its source counts enqueues and dequeues. */
  readonly isCounted: boolean;
}

/** Looks at queues, and sums up what it sees by steps of ten seconds. */
export interface Sampler {
  /** From now on these queues, and no others, are looked at. */
  follow(queues: readonly string[]): void;
  /** This queue may have changed. @returns whether it is one of those that are looked at. */
  changed(queue: string): boolean;
  /** Whether the feed reports all changes from now on. Until it does, each sample reads every queue. */
  setFeedLive(isFeedLive: boolean): void;
  /** One sample of every queue. A queue that cannot be read has none; never rejects. */
  sample(): Promise<void>;
}

interface Sampled {
  readonly queue: string;
  readonly clock: RedisClock;
  snapshot: QueueSnapshot | undefined;
  isOutdated: boolean;
  readAtMs: number;
  step: RunningStep | undefined;
}

interface RunningStep {
  readonly atMs: number;
  isCounted: boolean;
  samples: number;
  waitingSamples: number;
  pausedSamples: number;
  incompleteSamples: number;
  lowerBoundSamples?: number;
  maxLatencyMs: number;
  sumLatencyMs: number;
  lastLatencyMs: number;
  maxDepth: number;
  lastDepth: number;
}

const parts: SnapshotParts = {
  depth: true,
  scheduled: false,
  lost: false,
  throughput: new Set(),
  waitTime: new Set(),
};
const stepMs = stepSeconds["TEN_SECONDS" satisfies HistoryStep] * 1000;
/** StepStore.countsOf returns counts of steps that began less than this long ago. */
const countedForMs = 180_000;
/** Few enough that the event loop, and Redis, do something else in between. */
const queuesPerTurn = 200;

/** Reads only queues that may have changed; the others have only grown older. Instants are by `monotonicClock`. */
export function createSampler(options: SamplerOptions): Sampler {
  const { read, onStep, rereadMs = 5_000, now = () => monotonicClock.now() } = options;
  let sampled = new Map<string, Sampled>();
  let isFeedLive = false;

  function isDue({ isOutdated, readAtMs, snapshot, clock }: Sampled, nowMs: number): boolean {
    if (!isFeedLive || isOutdated || snapshot === undefined || nowMs - readAtMs >= rereadMs) return true;
    return snapshot.changesAtMs !== null && snapshot.changesAtMs <= clock.at(nowMs);
  }

  async function readAgain(entry: Sampled): Promise<void> {
    entry.isOutdated = false;
    try {
      const [snapshot] = await read([entry.queue], parts);
      entry.snapshot = snapshot;
      entry.readAtMs = now();
      if (snapshot !== undefined && !snapshot.stale) entry.clock.observe(snapshot.measuredAtMs);
    } catch {
      // Readers for clients report the reason; the history records a gap.
      entry.snapshot = undefined;
    }
  }

  /** Thousands a second: no snapshot is made of what is only older. */
  function take(entry: Sampled, snapshot: QueueSnapshot, nowMs: number): void {
    const { state, stale, depth, accuracy } = snapshot;
    const latencyMs = latencyAt(snapshot, nowMs);
    // Forgotten, and its history with it.
    if (state === "MISSING") entry.step = undefined;
    if (stale || latencyMs === null || depth === null) return;
    const seenAtMs = Math.max(nowMs, snapshot.measuredAtMs);
    const atMs = seenAtMs - (seenAtMs % stepMs);
    if (entry.step !== undefined && entry.step.atMs < atMs) finish(entry);
    entry.step ??= emptyStep(atMs);
    const step = entry.step;
    // A step's counts are those that were received in it, a little later than they were counted.
    const isWhole = (snapshot.uncountedAtMs ?? Number.NEGATIVE_INFINITY) < step.atMs - stepMs;
    step.isCounted = snapshot.throughput !== null && isWhole;
    step.samples += 1;
    if (depth > 0 || latencyMs > 0) step.waitingSamples += 1;
    if (state === "PAUSED") step.pausedSamples += 1;
    if (accuracy === "INCOMPLETE") step.incompleteSamples += 1;
    if (snapshot.depthIsLowerBound) step.lowerBoundSamples = (step.lowerBoundSamples ?? 0) + 1;
    const latency = Math.round(latencyMs);
    step.maxLatencyMs = Math.max(step.maxLatencyMs, latency);
    step.sumLatencyMs += latency;
    step.lastLatencyMs = latency;
    step.maxDepth = Math.max(step.maxDepth, depth);
    step.lastDepth = depth;
  }

  /** Whether or not the queue can still be seen: what was counted in a step that is over is not kept for long. */
  function endStep(entry: Sampled, nowMs: number): void {
    if (entry.step === undefined) return;
    const sinceMs = nowMs - entry.step.atMs;
    // This process slept, and the counts may have gone; or Redis's clock was ahead and has been set right: there was no such time.
    if (sinceMs >= countedForMs || sinceMs < -stepMs) entry.step = undefined;
    else if (sinceMs >= stepMs) finish(entry);
  }

  function finish(entry: Sampled): void {
    if (entry.step === undefined) return;
    const { atMs, isCounted, ...seen } = entry.step;
    entry.step = undefined;
    onStep({ queue: entry.queue, atMs, seen, isCounted });
  }

  return {
    follow(queues) {
      const create = (queue: string): Sampled => ({
        queue,
        clock: createRedisClock({ now }),
        snapshot: undefined,
        isOutdated: true,
        readAtMs: 0,
        step: undefined,
      });
      sampled = new Map(queues.map((queue) => [queue, sampled.get(queue) ?? create(queue)]));
    },
    changed(queue) {
      const entry = sampled.get(queue);
      if (entry === undefined) return false;
      entry.isOutdated = true;
      return true;
    },
    setFeedLive(isFeedLiveNow) {
      isFeedLive = isFeedLiveNow;
      for (const entry of sampled.values()) entry.isOutdated = true;
    },
    async sample() {
      const entries = [...sampled.values()];
      const due = entries.filter((entry) => isDue(entry, now()));
      const reads: Promise<void>[] = [];
      for (let from = 0; from < due.length; from += queuesPerTurn) {
        if (from > 0) await setImmediate();
        reads.push(...due.slice(from, from + queuesPerTurn).map(readAgain));
      }
      await Promise.all(reads);
      for (const entry of entries) {
        const { snapshot, clock } = entry;
        const nowMs = clock.at(now());
        endStep(entry, nowMs);
        if (snapshot !== undefined) take(entry, snapshot, nowMs);
      }
    },
  };
}

function emptyStep(atMs: number): RunningStep {
  return {
    atMs,
    isCounted: false,
    samples: 0,
    waitingSamples: 0,
    pausedSamples: 0,
    incompleteSamples: 0,
    maxLatencyMs: 0,
    sumLatencyMs: 0,
    lastLatencyMs: 0,
    maxDepth: 0,
    lastDepth: 0,
  };
}
