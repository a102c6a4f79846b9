import type { Health } from "./health.ts";
import type { QueueSnapshot, QueueState } from "./snapshot.ts";

export const queueOrders = ["NAME", "LATENCY", "DEPTH", "LATENESS"] as const;
export type QueueOrder = (typeof queueOrders)[number];

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
  readonly first: number;
  /** The cursor that the page begins behind; null: it is the first one. */
  readonly after: string | null;
}

export interface QueueEdge {
  readonly cursor: string;
  readonly node: QueueSnapshot;
}

export interface QueuePage {
  readonly edges: readonly QueueEdge[];
  readonly hasMore: boolean;
  /** Where the next page begins; null when this one has looked at nothing. */
  readonly endCursor: string | null;
  /** When all queues were read; null: each queue of the page was read for it. */
  readonly measuredAtMs: number | null;
  /** Known queues that were not considered: beyond the maximum, or they could not be read. */
  readonly omitted: number;
}
