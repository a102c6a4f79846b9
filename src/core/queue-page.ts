import type { Health } from "./health.ts";
import type { QueueSnapshot, QueueState, Window } from "./snapshot.ts";

/** The orders by what the last minutes were like: they need the counts of all queues. */
export const countedOrders = ["ENQUEUED_PER_SECOND", "DEQUEUED_PER_SECOND", "WAIT_TIME_P95"] as const;
/** The orders by a forecast of all queues. */
export const forecastOrders = ["BREACH_SECONDS", "DRAIN_SECONDS"] as const;
export const queueOrders = [
  ...(["NAME", "HEALTH", "LATENCY", "DEPTH", "LATENESS", "SOURCE", "STATE", "ACCURACY"] as const),
  ...countedOrders,
  ...forecastOrders,
] as const;
export type QueueOrder = (typeof queueOrders)[number];

export function isAmong(orders: readonly QueueOrder[], order: QueueOrder): boolean {
  return orders.includes(order);
}

/** Which queues a page is of. Null: whatever it is. */
export interface QueueFilter {
  /** Names that begin with this. */
  readonly prefix: string | null;
  /** A glob of whole names; without a wildcard, a part of them. */
  readonly search: string | null;
  readonly source: string | null;
  readonly states: readonly QueueState[] | null;
  readonly healths: readonly Health[] | null;
}

export interface QueuePageRequest extends QueueFilter {
  readonly orderBy: QueueOrder;
  /** Whether the order is turned round, and that of equal queues with it. */
  readonly reverse: boolean;
  readonly first: number;
  /** The cursor that the page begins behind; null: it is the first one. */
  readonly after: string | null;
  /** How many queues are skipped before the page, behind the cursor if there is one. */
  readonly offset: number;
  /** Whether the page has `counts`. */
  readonly hasCounts: boolean;
  /** Whether its counts are by health, too. */
  readonly hasHealthCounts: boolean;
  /** Windows for which its queues have their throughput, and their wait times. */
  readonly throughput: readonly Window[];
  readonly waitTime: readonly Window[];
}

export interface QueueEdge {
  readonly cursor: string;
  readonly node: QueueSnapshot;
}

/** Of the queues that were considered. */
export interface QueueCounts {
  /** How many pass the filter. */
  readonly total: number;
  /** By source, how many pass the filter but for `source`; sources without one are left out. */
  readonly bySource: ReadonlyMap<string, number>;
  /** How many pass the filter but for `healths`; null where the health of the queues was not needed. */
  readonly byHealth: Readonly<Record<Health, number>> | null;
}

export interface QueuePage {
  readonly edges: readonly QueueEdge[];
  readonly hasMore: boolean;
  /** Where the next page begins; null when this one is empty. */
  readonly endCursor: string | null;
  /** Null when not requested. */
  readonly counts: QueueCounts | null;
  /** When all queues were read; null: each queue of the page was read for it. */
  readonly measuredAtMs: number | null;
  /** Known queues that were not considered: beyond the maximum, or they could not be read. */
  readonly omitted: number;
}
