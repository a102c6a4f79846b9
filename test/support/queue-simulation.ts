import type { HistoryPoint } from "../../src/core/history.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";

/** A queue that jobs are taken from in order. Times are seconds from its beginning. */
export interface SimulatedQueue {
  readonly seed: number;
  readonly seconds: number;
  /** Of a Poisson process. */
  readonly arrivalsPerSecond: (atSeconds: number) => number;
  /** How many jobs come at once, by when. */
  readonly bursts?: ReadonlyMap<number, number>;
  readonly workers: (atSeconds: number) => number;
  /** Drawn once for each job that is begun. */
  readonly serviceSeconds: (random: () => number) => number;
  /** False: the source reports no counts. @default true */
  readonly isCounted?: boolean;
}

/** What was seen of it, a sample a second, and what happened later. */
export interface SimulatedHistory {
  readonly points: readonly HistoryPoint[];
  /** What is known at a whole second: the finished steps of the five minutes before, and the queue as it stands. */
  at(second: number): { readonly points: readonly HistoryPoint[]; readonly now: QueueSnapshot };
  /** Seconds from then until no job waited; null: that did not happen any more. */
  drainedAfter(second: number): number | null;
  /** Seconds from then until the head was older than that; null: that did not happen any more. */
  olderAfter(second: number, latencyMs: number): number | null;
}

/** Its seconds are whole steps of history. */
const startMs = 1_800_000_000_000;

/** The same numbers for the same seed, from 0 up to 1 (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Times until the next event of a Poisson process, and of a worker that forgets how long it has been at it. */
export function exponential(mean: number): (random: () => number) => number {
  return (random) => -mean * Math.log(1 - random());
}

export function simulateQueue(queue: SimulatedQueue): SimulatedHistory {
  const { seed, seconds, arrivalsPerSecond, bursts, workers, serviceSeconds, isCounted = true } = queue;
  const random = createRandom(seed);
  const came: number[] = [];
  let head = 0;
  let busyUntil: number[] = [];
  const emptyAt: number[] = [];
  const samples: Sample[] = [];
  let enqueued = 0;
  let dequeued = 0;

  function take(now: number): void {
    while (head < came.length && busyUntil.length < workers(now)) {
      head += 1;
      dequeued += 1;
      busyUntil.push(now + serviceSeconds(random));
      if (head === came.length) emptyAt.push(now);
    }
  }

  for (let second = 0; second < seconds; second++) {
    const arrivals = arrivalsIn(second, arrivalsPerSecond, random);
    for (let burst = bursts?.get(second) ?? 0; burst > 0; burst--) arrivals.push(second);
    arrivals.sort((a, b) => b - a);
    take(second);
    for (;;) {
      const arrival = arrivals.at(-1) ?? Number.POSITIVE_INFINITY;
      const finish = Math.min(...busyUntil, Number.POSITIVE_INFINITY);
      const next = Math.min(arrival, finish);
      if (next >= second + 1) break;
      if (arrival <= finish) {
        arrivals.pop();
        came.push(next);
        enqueued += 1;
      } else busyUntil = busyUntil.filter((until) => until !== finish);
      take(next);
    }
    const oldest = came[head];
    const latencyMs = oldest === undefined ? 0 : Math.round((second + 1 - oldest) * 1000);
    samples.push({ depth: came.length - head, latencyMs, enqueued, dequeued });
    enqueued = 0;
    dequeued = 0;
  }

  const points = Array.from({ length: Math.floor(seconds / 10) }, (_, i) =>
    pointOf(startMs + i * 10_000, samples.slice(i * 10, i * 10 + 10), isCounted),
  );
  return {
    points,
    at: (second) => ({
      points: points.filter(
        ({ atMs }) => atMs >= startMs + (second - 300) * 1000 && atMs + 10_000 <= startMs + second * 1000,
      ),
      now: snapshotOf(startMs + second * 1000, samples[second - 1] as Sample),
    }),
    drainedAfter(second) {
      if (samples[second - 1]?.depth === 0) return 0;
      const emptied = emptyAt.find((at) => at >= second);
      return emptied === undefined ? null : emptied - second;
    },
    olderAfter(second, latencyMs) {
      const found = samples.findIndex((sample, i) => i >= second - 1 && sample.latencyMs > latencyMs);
      return found < 0 ? null : found + 1 - second;
    },
  };
}

interface Sample {
  readonly depth: number;
  readonly latencyMs: number;
  readonly enqueued: number;
  readonly dequeued: number;
}

function arrivalsIn(second: number, perSecond: (at: number) => number, random: () => number): number[] {
  const arrivals: number[] = [];
  const gap = exponential(1 / Math.max(perSecond(second), 1e-9));
  for (let at = second + gap(random); at < second + 1; at += gap(random)) arrivals.push(at);
  return arrivals;
}

function pointOf(atMs: number, samples: readonly Sample[], isCounted: boolean): HistoryPoint {
  const sum = (of: (sample: Sample) => number) => samples.reduce((total, sample) => total + of(sample), 0);
  const last = samples.at(-1) as Sample;
  const waitTime = { count: 0, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 };
  return {
    atMs,
    samples: samples.length,
    waitingSamples: samples.filter(({ depth }) => depth > 0).length,
    pausedSamples: 0,
    incompleteSamples: 0,
    maxLatencyMs: Math.max(...samples.map(({ latencyMs }) => latencyMs)),
    meanLatencyMs: sum(({ latencyMs }) => latencyMs) / samples.length,
    lastLatencyMs: last.latencyMs,
    maxDepth: Math.max(...samples.map(({ depth }) => depth)),
    lastDepth: last.depth,
    counts: isCounted
      ? { enqueued: sum(({ enqueued }) => enqueued), dequeued: sum(({ dequeued }) => dequeued), waitTime }
      : null,
  };
}

function snapshotOf(measuredAtMs: number, { depth, latencyMs }: Sample): QueueSnapshot {
  return {
    queue: "simulated",
    source: "events",
    state: depth > 0 ? "WAITING" : "EMPTY",
    oldestSinceMs: depth > 0 ? measuredAtMs - latencyMs : null,
    latencyMs,
    depth,
    scheduled: 0,
    lost: null,
    accuracy: "EXACT",
    measuredAtMs,
    stale: false,
    changesAtMs: null,
    clockSkewMs: null,
    throughput: null,
    waitTime: null,
  };
}
