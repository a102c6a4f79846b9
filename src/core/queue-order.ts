import { AppError } from "./errors.ts";
import { type QueueOrder, queueOrders } from "./queue-page.ts";
import type { QueueSnapshot } from "./snapshot.ts";

/** Rank of a queue in an order: greater keys come first, the first key before the second. */
export interface Rank {
  readonly first: number;
  readonly second: number;
}

/** Where a page begins. */
export interface Cursor {
  readonly queue: string;
  readonly rank: Rank;
  /** The instant of the ranking that this walk through the pages uses; null in the order of names. */
  readonly atMs: number | null;
}

const noRank: Rank = { first: 0, second: 0 };

/**
 * Worst first. Unknown values come before all others: a queue whose latency is not known may be the worst
 * one, and must not hide behind 10,000 others. So do those of an INCOMPLETE queue, the greater ones first.
 *
 * LATENESS is latency / objective; queues without an objective cannot be late, and come last, by latency.
 *
 * @param atMs heads are aged to this instant. While nothing happens they all grow older; by a fixed instant they do not change places.
 */
export function rankOf(
  snapshot: QueueSnapshot,
  order: QueueOrder,
  atMs: number,
  objectiveMsOf: (queue: string) => number | null,
): Rank {
  if (order === "NAME") return noRank;
  if (order === "DEPTH") return rankBy(snapshot.depth ?? unknown, snapshot);
  const latencyMs = latencyAt(snapshot, atMs);
  if (order === "LATENCY") return rankBy(latencyMs, snapshot);
  const objectiveMs = objectiveMsOf(snapshot.queue);
  return objectiveMs === null ? { first: -1, second: latencyMs } : rankBy(latencyMs / objectiveMs, snapshot);
}

const unknown = Number.POSITIVE_INFINITY;

function rankBy(value: number, { accuracy }: QueueSnapshot): Rank {
  return accuracy === "INCOMPLETE" || value === unknown
    ? { first: unknown, second: value }
    : { first: value, second: 0 };
}

function latencyAt({ latencyMs, oldestSinceMs, stale }: QueueSnapshot, atMs: number): number {
  if (latencyMs === null) return unknown;
  // What is stale is as old as when it was last read.
  return stale || oldestSinceMs === null ? latencyMs : Math.max(0, atMs - oldestSinceMs);
}

/** Negative when `a` comes first; 0 when only the names decide. */
export function compareRanks(a: Rank, b: Rank): number {
  return compareKeys(a.first, b.first) || compareKeys(a.second, b.second);
}

function compareKeys(a: number, b: number): number {
  return a === b ? 0 : a > b ? -1 : 1;
}

/** In the order of their bytes, as Redis has them: not that of JavaScript's strings. */
export function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** A cursor of the order of names is the name; names are printable, so the others begin with a character that no name has. */
const mark = "\0";

export function encodeCursor(order: QueueOrder, { queue, rank, atMs }: Cursor): string {
  const keys = [rank.first, rank.second].map((key) => (Number.isFinite(key) ? key : null));
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
    const [order, atMs, first, second, queue] = JSON.parse(text.slice(mark.length)) as unknown[];
    const isWhole = typeof queue === "string" && Number.isSafeInteger(atMs) && isKey(first) && isKey(second);
    if (!isWhole || !queueOrders.includes(order as QueueOrder)) return null;
    const rank = { first: first ?? Number.POSITIVE_INFINITY, second: second ?? Number.POSITIVE_INFINITY };
    return { order: order as QueueOrder, cursor: { queue, rank, atMs: atMs as number } };
  } catch {
    return null;
  }
}

function isKey(key: unknown): key is number | null {
  return key === null || typeof key === "number";
}
