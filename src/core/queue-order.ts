import { AppError } from "./errors.ts";
import { type Forecast, type Health, severities } from "./health.ts";
import type { QueueOrder } from "./queue-page.ts";
import { accuracies, type QueueSnapshot, queueStates, type Window } from "./snapshot.ts";

/** Rank of a queue in an order: greater keys come first, the first key before the others. */
export type Rank = readonly number[];

/** Where a page begins. */
export interface Cursor {
  readonly queue: string;
  readonly rank: Rank;
  /** The instant of the ranking that this walk through the pages uses; null in the order of names. */
  readonly atMs: number | null;
}

/** What the rank of a queue depends on beside its snapshot. */
export interface RankFacts {
  /** Heads are aged to this instant. While nothing happens they all grow older; by a fixed instant they do not change places. */
  readonly atMs: number;
  readonly objectiveMsOf: (queue: string) => number | null;
  /** Needed for the order HEALTH. */
  readonly health: Health | null;
  /** Needed for the orders by a forecast; null also when there is none. */
  readonly forecast: Forecast | null;
}

const noRank: Rank = [];

/**
 * Worst first. Unknown values come before all others: a queue whose latency is not known may be the worst
 * one, and must not hide behind 10,000 others. So do those of an INCOMPLETE queue, the greater ones first.
 *
 * - LATENESS is latency / objective; queues without an objective cannot be late, and come last, by latency.
 * - ACCURACY has stale queues first, then the least certain.
 * - HEALTH is by {@link severities}, then by latency / objective, which is 0 without an objective, then by latency.
 * - The orders by counts, and by a forecast, have queues last of which there is none: whole job systems do not report them, and of a
 *   queue with nothing to do there is nothing to forecast.
 */
export function rankOf(snapshot: QueueSnapshot, order: QueueOrder, facts: RankFacts): Rank {
  if (order === "NAME") return noRank;
  if (order === "DEPTH") return rankBy(snapshot.depth ?? unknown, snapshot);
  const latencyMs = rankedLatencyMs(snapshot, facts.atMs);
  switch (order) {
    case "LATENCY":
      return rankBy(latencyMs, snapshot);
    case "SOURCE":
      return textRank(snapshot.source ?? "");
    case "STATE":
      return [queueStates.indexOf(snapshot.state)];
    case "ACCURACY":
      return [snapshot.stale ? accuracies.length : accuracies.indexOf(snapshot.accuracy)];
    case "LATENESS": {
      const objectiveMs = facts.objectiveMsOf(snapshot.queue);
      return objectiveMs === null ? [-1, latencyMs] : rankBy(latencyMs / objectiveMs, snapshot);
    }
    case "ENQUEUED_PER_SECOND":
      return [snapshot.throughput?.[rateWindow]?.enqueuedPerSecond ?? -1];
    case "DEQUEUED_PER_SECOND":
      return [snapshot.throughput?.[rateWindow]?.dequeuedPerSecond ?? -1];
    case "WAIT_TIME_P95":
      return [snapshot.waitTime?.[waitWindow]?.p95 ?? -1];
    case "BREACH_SECONDS": {
      const breach = facts.forecast?.breachSeconds ?? null;
      return breach === null ? [0, 0] : [1, -breach.likely];
    }
    case "DRAIN_SECONDS": {
      if (facts.forecast?.unstable === true) return [2, 0];
      const drain = facts.forecast?.drainSeconds ?? null;
      return drain === null ? [0, 0] : [1, drain.likely];
    }
    case "HEALTH": {
      const objectiveMs = facts.objectiveMsOf(snapshot.queue);
      const lateness = objectiveMs === null ? 0 : latencyMs / objectiveMs;
      const isUncertain = snapshot.accuracy === "INCOMPLETE" || latencyMs === unknown;
      return [severities[facts.health ?? "UNKNOWN"], isUncertain ? unknown : lateness, latencyMs];
    }
  }
}

/** The windows that the fields of a queue have by default. */
export const rateWindow = "ONE_MINUTE" satisfies Window;
export const waitWindow = "FIVE_MINUTES" satisfies Window;

const unknown = Number.POSITIVE_INFINITY;

/** Of its first twelve bytes, as numbers that are exact: names of sources are hardly longer. The first by name has the greatest. */
function textRank(text: string): Rank {
  const bytes = Buffer.alloc(12);
  bytes.write(text);
  return [-bytes.readUIntBE(0, 6), -bytes.readUIntBE(6, 6)];
}

function rankBy(value: number, { accuracy }: QueueSnapshot): Rank {
  return accuracy === "INCOMPLETE" || value === unknown ? [unknown, value] : [value, 0];
}

/** Unlike the `latencyAt` of a snapshot, also at an instant before it was measured: a walk ranks all queues by one instant. */
function rankedLatencyMs({ latencyMs, oldestSinceMs, stale }: QueueSnapshot, atMs: number): number {
  if (latencyMs === null) return unknown;
  // What is stale is as old as when it was last read.
  return stale || oldestSinceMs === null ? latencyMs : Math.max(0, atMs - oldestSinceMs);
}

/** Negative when `a` comes first; 0 when only the names decide. Both are of the same order. */
export function compareRanks(a: Rank, b: Rank): number {
  for (let i = 0; i < a.length; i++) {
    const first = a[i] as number;
    const second = b[i] as number;
    if (first !== second) return first > second ? -1 : 1;
  }
  return 0;
}

/** In the order of their bytes, as Redis has them: not that of JavaScript's strings. */
export function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** How many keys the ranks of an order have. */
const keysOf: Readonly<Record<QueueOrder, number>> = {
  ...{ NAME: 0, HEALTH: 3, LATENCY: 2, DEPTH: 2, LATENESS: 2, SOURCE: 2, STATE: 1, ACCURACY: 1 },
  ...{
    ENQUEUED_PER_SECOND: 1,
    DEQUEUED_PER_SECOND: 1,
    WAIT_TIME_P95: 1,
    BREACH_SECONDS: 2,
    DRAIN_SECONDS: 2,
  },
};

/** A cursor of the order of names is the name; names are printable, so the others begin with a character that no name has. */
const mark = "\0";

export function encodeCursor(order: QueueOrder, { queue, rank, atMs }: Cursor): string {
  const keys = rank.map((key) => (Number.isFinite(key) ? key : null));
  const text = order === "NAME" ? queue : mark + JSON.stringify([order, atMs, ...keys, queue]);
  return Buffer.from(text).toString("base64url");
}

/** @throws AppError BAD_USER_INPUT when it is no cursor of this order. */
export function decodeCursor(order: QueueOrder, cursor: string): Cursor {
  const found = parseCursor(Buffer.from(cursor, "base64url").toString());
  if (found !== null && found.order === order && encodeCursor(order, found.cursor) === cursor)
    return found.cursor;
  const expected = "after: expected the cursor of an edge, or the endCursor of a page, with the same orderBy";
  throw new AppError("BAD_USER_INPUT", expected);
}

function parseCursor(text: string): { readonly order: QueueOrder; readonly cursor: Cursor } | null {
  if (text === "") return null;
  if (!text.startsWith(mark)) return { order: "NAME", cursor: { queue: text, rank: noRank, atMs: null } };
  try {
    const [order, atMs, ...rest] = JSON.parse(text.slice(mark.length)) as unknown[];
    const queue = rest.pop();
    const isWhole = typeof queue === "string" && Number.isSafeInteger(atMs) && rest.every(isKey);
    if (!isWhole || rest.length !== keysOf[order as QueueOrder]) return null;
    const rank = rest.map((key) => key ?? Number.POSITIVE_INFINITY);
    return { order: order as QueueOrder, cursor: { queue, rank, atMs: atMs as number } };
  } catch {
    return null;
  }
}

function isKey(key: unknown): key is number | null {
  return key === null || typeof key === "number";
}
