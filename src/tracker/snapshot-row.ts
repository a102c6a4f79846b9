import {
  type Accuracy,
  accuracies,
  type QueueSnapshot,
  type QueueTotals,
  type SnapshotParts,
  type Throughput,
  type WaitTime,
  type Window,
  windowSeconds,
} from "../core/snapshot.ts";
import { waitTimeOf } from "../core/wait-time.ts";

/** What snapshot.lua returns of one queue that is known, by name. Instants are ms by Redis's clock. */
export interface SnapshotRow {
  readonly source: string;
  readonly sinceMs: number | null;
  readonly depth: number | null;
  readonly depthIsLowerBound: boolean;
  readonly scheduled: number | null;
  readonly changesAtMs: number | null;
  readonly accuracy: Accuracy;
  readonly isPaused: boolean;
  readonly measuredAtMs: number;
  readonly isStale: boolean;
  /** Two for each window. */
  readonly throughputs: readonly string[];
  readonly waitTimes: readonly (readonly number[])[];
  readonly hasRates: boolean;
  readonly hasWaits: boolean;
  readonly clockSkewMs: number | null;
  readonly lost: number | null;
  /** Redis has lost something of the queue, which is to be reported before the row is used. */
  readonly hasLost: boolean;
  readonly totals: readonly number[] | null;
  /** How many jobs are, and since when the oldest of them is, where that is known; empty: not reported. */
  readonly inFlight: readonly number[];
  /** How long before the end of the windows jobs may have come and left uncounted last; null: none may have. */
  readonly uncountedForMs: number | null;
  readonly overtaken: number | null;
  readonly inOrderSinceMs: number | null;
}

const rowLength = 5;
const numbersInRow = 13;

/** @returns null when it is not what snapshot.lua makes of what was written: garbage is no number. */
export function rowOf(reply: unknown): SnapshotRow | null {
  if (!Array.isArray(reply) || reply.length !== rowLength) return null;
  const [source, accuracy, text, throughputs, waitTimes] = reply;
  const [numbers = [], skew = [], inFlight = [], totals = []] = String(text).split(";").map(numbersOf);
  const isWhole = numbers.length === numbersInRow && [numbers, skew, inFlight, totals].every(areFinite);
  if (!isWhole || typeof source !== "string" || !accuracies.includes(accuracy)) return null;
  const at = (index: number): number => numbers[index] as number;
  const counted = at(7);
  return {
    source,
    sinceMs: numberOrNull(at(0)),
    depth: at(1) < -1 ? -at(1) : numberOrNull(at(1)),
    depthIsLowerBound: at(1) < -1,
    scheduled: numberOrNull(at(2)),
    changesAtMs: numberOrNull(at(3)),
    accuracy,
    isPaused: at(4) === 1,
    measuredAtMs: at(5),
    isStale: at(6) === 1,
    throughputs,
    waitTimes,
    hasRates: counted === 1,
    hasWaits: counted > 0,
    clockSkewMs: skew[0] ?? null,
    lost: numberOrNull(at(8)),
    hasLost: at(9) === 1,
    totals: totals.length === 0 ? null : totals,
    inFlight,
    uncountedForMs: numberOrNull(at(10)),
    overtaken: numberOrNull(at(11)),
    inOrderSinceMs: numberOrNull(at(12)),
  };
}

function numbersOf(text: string): readonly number[] {
  return text === "" ? [] : text.split(" ").map(Number);
}

function areFinite(numbers: readonly number[]): boolean {
  return numbers.every(Number.isFinite);
}

/** -1 stands for null. */
function numberOrNull(value: number): number | null {
  return value >= 0 ? value : null;
}

/** Whether a recorded queue has no head, and no job that is due later. */
export function hasNoJobs({ source, sinceMs, changesAtMs }: SnapshotRow): boolean {
  return source === "events" && sinceMs === null && changesAtMs === null;
}

/** @param countedMs for how long the clock has not been set: what is counted by it of longer windows is not known. */
export function snapshotOf(
  queue: string,
  parts: SnapshotParts,
  row: SnapshotRow,
  countedMs: number,
): QueueSnapshot {
  const {
    source,
    sinceMs,
    accuracy,
    measuredAtMs,
    throughputs,
    waitTimes,
    totals,
    inFlight,
    uncountedForMs,
    overtaken,
  } = row;
  const isKnown = accuracy !== "UNKNOWN";
  // That of wait times reaches back further, by one slot.
  const mayMissJobs = (window: Window, slots = 0) =>
    uncountedForMs !== null && uncountedForMs < windowSeconds[window] * 1_000 * (1 + 0.05 * slots);
  return {
    queue,
    source,
    state: row.isPaused ? "PAUSED" : sinceMs === null ? "EMPTY" : "WAITING",
    oldestSinceMs: isKnown ? sinceMs : null,
    latencyMs: isKnown ? (sinceMs === null ? 0 : Math.max(0, measuredAtMs - sinceMs)) : null,
    depth: parts.depth ? row.depth : null,
    ...(parts.depth && row.depthIsLowerBound ? { depthIsLowerBound: true } : {}),
    scheduled: parts.scheduled ? row.scheduled : null,
    lost: row.lost,
    accuracy,
    measuredAtMs,
    stale: row.isStale,
    changesAtMs: row.changesAtMs,
    clockSkewMs: row.clockSkewMs,
    throughput: row.hasRates
      ? byWindow(parts.throughput, countedMs, (window, i) => {
          const rates = throughputOf(window, throughputs, i);
          return rates !== null && mayMissJobs(window) ? { ...rates, isLowerBound: true } : rates;
        })
      : null,
    waitTime: row.hasWaits
      ? byWindow(parts.waitTime, countedMs, (window, i) => {
          const waits = waitTimes[i]?.length ? waitTimeOf(waitTimes[i]) : null;
          return waits !== null && mayMissJobs(window, 1) ? { ...waits, isUpperBound: true } : waits;
        })
      : null,
    ...(inFlight.length === 0 ? {} : { inFlight: inFlight[0], inFlightSinceMs: inFlight[1] ?? null }),
    ...(uncountedForMs === null ? {} : { uncountedAtMs: measuredAtMs - uncountedForMs }),
    ...(overtaken === null || !isKnown ? {} : { overtaken, inOrderSinceMs: row.inOrderSinceMs }),
    ...(totals === null ? {} : { totals: totalsOf(totals, source === "events") }),
  };
}

/** What is taken back is added again: see totals.lua. */
function totalsOf(totals: readonly number[], knowsLost: boolean): QueueTotals {
  const [
    enqueued = 0,
    dequeued = 0,
    removed = 0,
    unremoved = 0,
    lost = 0,
    unlost = 0,
    waitedMs = 0,
    ...waits
  ] = totals;
  return {
    enqueued,
    dequeued,
    removed: removed + unremoved,
    lost: knowsLost ? lost + unlost : null,
    waitedMs,
    waits,
  };
}

/** null: not everything was counted in the window. */
function throughputOf(window: Window, counts: readonly string[], i: number): Throughput | null {
  if (counts[2 * i] === "") return null;
  const perSecond = (count: string | undefined) => Number(count ?? 0) / windowSeconds[window];
  return { enqueuedPerSecond: perSecond(counts[2 * i]), dequeuedPerSecond: perSecond(counts[2 * i + 1]) };
}

function byWindow<T extends Throughput | WaitTime>(
  windows: ReadonlySet<Window>,
  countedMs: number,
  value: (window: Window, i: number) => T | null,
): Partial<Record<Window, T | null>> {
  const isCounted = (window: Window) => windowSeconds[window] * 1_000 <= countedMs;
  return Object.fromEntries(
    [...windows].map((window, i) => [window, isCounted(window) ? value(window, i) : null]),
  );
}
