import { decode, encode } from "@msgpack/msgpack";
import type { HistoryPoint } from "../core/history.ts";
import { gamma, waitTimeOf } from "../core/wait-time.ts";

/** What is kept of one step: all of it can be added up, so that a longer step is exactly the sum of its shorter ones. */
export interface StepRecord {
  readonly samples: number;
  readonly waitingSamples: number;
  readonly pausedSamples: number;
  readonly incompleteSamples: number;
  /** @default 0 */
  readonly lowerBoundSamples?: number;
  readonly maxLatencyMs: number;
  readonly sumLatencyMs: number;
  readonly lastLatencyMs: number;
  readonly maxDepth: number;
  readonly lastDepth: number;
  /** Null when the source does not report it. */
  readonly counts: StepCounts | null;
}

export interface StepCounts {
  readonly enqueued: number;
  readonly dequeued: number;
  /** How many waits were measured, and their sum and longest in ms. */
  readonly waits: number;
  readonly sumMs: number;
  readonly maxMs: number;
  /** How many waits are in each bucket, by its number: see {@link historyBucket}. */
  readonly buckets: ReadonlyMap<number, number>;
}

/** Number of the tracker's buckets that are one here, which makes a busy queue's steps less than half as large. */
const bucketsInOne = 3;

/** The bucket, in the history, of what the tracker has in one of its own. */
export function historyBucket(bucket: number): number {
  return Math.ceil(bucket / bucketsInOne);
}

/** Wait in ms that stands for all waits of one bucket, within 6 % of each. */
function historyBucketMs(bucket: number): number {
  if (bucket <= 1) return bucket;
  return (2 * gamma ** (bucketsInOne * bucket - 1)) / (gamma ** bucketsInOne + 1);
}

/** Of steps in the order of their times, at least one: the step that holds them all. */
export function mergeRecords(records: readonly StepRecord[]): StepRecord {
  const last = records.at(-1);
  if (last === undefined) throw new Error("a step without observations is a gap");
  const sum = (of: (record: StepRecord) => number) =>
    records.reduce((total, record) => total + of(record), 0);
  const counts = records.flatMap((record) => record.counts ?? []);
  return {
    samples: sum((record) => record.samples),
    waitingSamples: sum((record) => record.waitingSamples),
    pausedSamples: sum((record) => record.pausedSamples),
    incompleteSamples: sum((record) => record.incompleteSamples),
    ...withLowerBounds(sum((record) => record.lowerBoundSamples ?? 0)),
    maxLatencyMs: Math.max(...records.map((record) => record.maxLatencyMs)),
    sumLatencyMs: sum((record) => record.sumLatencyMs),
    lastLatencyMs: last.lastLatencyMs,
    maxDepth: Math.max(...records.map((record) => record.maxDepth)),
    lastDepth: last.lastDepth,
    counts: counts.length === 0 ? null : mergeCounts(counts),
  };
}

/** @param all at least one. */
export function mergeCounts(all: readonly StepCounts[]): StepCounts {
  const buckets = new Map<number, number>();
  for (const counts of all) {
    for (const [bucket, count] of counts.buckets) buckets.set(bucket, (buckets.get(bucket) ?? 0) + count);
  }
  const sum = (of: (counts: StepCounts) => number) => all.reduce((total, counts) => total + of(counts), 0);
  return {
    enqueued: sum((counts) => counts.enqueued),
    dequeued: sum((counts) => counts.dequeued),
    waits: sum((counts) => counts.waits),
    sumMs: sum((counts) => counts.sumMs),
    maxMs: Math.max(...all.map((counts) => counts.maxMs)),
    buckets,
  };
}

/**
 * MessagePack of one flat list: the eight numbers of the samples, then, where there are counts, their five and two for each
 * bucket: how far it is from the one before, and how many waits are in it. With INCOMPLETE samples, or those of which the depth was
 * a lower bound, a list of that list and how many there are of both.
 */
export function encodeRecord(record: StepRecord): Buffer {
  const { samples, waitingSamples, pausedSamples, maxLatencyMs, sumLatencyMs, lastLatencyMs } = record;
  const seen = [samples, waitingSamples, pausedSamples, maxLatencyMs, sumLatencyMs, lastLatencyMs];
  const numbers = [...seen, record.maxDepth, record.lastDepth];
  if (record.counts !== null) {
    const { enqueued, dequeued, waits, sumMs, maxMs, buckets } = record.counts;
    numbers.push(enqueued, dequeued, waits, sumMs, maxMs);
    let before = 0;
    for (const [bucket, count] of [...buckets].sort(([a], [b]) => a - b)) {
      numbers.push(bucket - before, count);
      before = bucket;
    }
  }
  const { incompleteSamples, lowerBoundSamples = 0 } = record;
  const hasBoth = lowerBoundSamples > 0 ? [lowerBoundSamples] : [];
  const { buffer, byteOffset, byteLength } = encode(
    incompleteSamples + lowerBoundSamples === 0 ? numbers : [numbers, incompleteSamples, ...hasBoth],
  );
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** @throws Error when it is not what {@link encodeRecord} made. */
export function decodeRecord(bytes: Uint8Array): StepRecord {
  const { numbers, incompleteSamples, lowerBoundSamples } = numbersIn(bytes);
  const at = (index: number): number => numbers[index] ?? 0;
  return {
    samples: at(0),
    waitingSamples: at(1),
    pausedSamples: at(2),
    incompleteSamples,
    ...withLowerBounds(lowerBoundSamples),
    maxLatencyMs: at(3),
    sumLatencyMs: at(4),
    lastLatencyMs: at(5),
    maxDepth: at(6),
    lastDepth: at(7),
    counts: numbers.length === 8 ? null : decodeCounts(numbers.slice(8)),
  };
}

function numbersIn(bytes: Uint8Array): {
  readonly numbers: readonly number[];
  readonly incompleteSamples: number;
  readonly lowerBoundSamples: number;
} {
  const decoded = decode(bytes);
  const isNested = Array.isArray(decoded) && Array.isArray(decoded[0]);
  const [numbers, incompleteSamples, lowerBoundSamples = 0]: unknown[] = isNested ? decoded : [decoded, 0];
  if (
    !Array.isArray(numbers) ||
    numbers.length < 8 ||
    !numbers.every(Number.isFinite) ||
    !Number.isFinite(incompleteSamples) ||
    !Number.isFinite(lowerBoundSamples)
  ) {
    throw new Error("expected the numbers of a step");
  }
  return {
    numbers,
    incompleteSamples: Number(incompleteSamples),
    lowerBoundSamples: Number(lowerBoundSamples),
  };
}

function withLowerBounds(lowerBoundSamples: number): Pick<StepRecord, "lowerBoundSamples"> {
  return lowerBoundSamples === 0 ? {} : { lowerBoundSamples };
}

function decodeCounts(numbers: readonly number[]): StepCounts {
  const [enqueued = 0, dequeued = 0, waits = 0, sumMs = 0, maxMs = 0] = numbers;
  const buckets = new Map<number, number>();
  let bucket = 0;
  for (let i = 5; i + 1 < numbers.length; i += 2) {
    bucket += numbers[i] ?? 0;
    buckets.set(bucket, numbers[i + 1] ?? 0);
  }
  return { enqueued, dequeued, waits, sumMs, maxMs, buckets };
}

export function toPoint(atMs: number, record: StepRecord): HistoryPoint {
  const { counts, sumLatencyMs, ...seen } = record;
  const point = { atMs, ...seen, meanLatencyMs: sumLatencyMs / record.samples };
  if (counts === null) return { ...point, counts };
  const { enqueued, dequeued, waits, sumMs, maxMs, buckets } = counts;
  const waitTime = waitTimeOf([waits, sumMs, maxMs, ...[...buckets].flat()], historyBucketMs);
  return { ...point, counts: { enqueued, dequeued, waitTime } };
}
