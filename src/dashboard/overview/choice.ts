import { type Health, healths } from "../format/health-words.ts";

export const queueStates = ["WAITING", "EMPTY", "PAUSED"] as const;
export type QueueState = (typeof queueStates)[number];

/** What the table is sorted by. Names and sources begin with the first, all else with the worst or the highest. */
const sortKeys = [
  "worst",
  "name",
  "latency",
  "lateness",
  "depth",
  "in",
  "out",
  "p95",
  "forecast",
  "source",
  "state",
  "accuracy",
] as const;
export type SortKey = (typeof sortKeys)[number];

/** Which queues a person wants to see, and in which order. All of it is in the query string. */
export interface Choice {
  readonly search: string;
  readonly source: string | null;
  readonly state: QueueState | null;
  readonly healths: readonly Health[];
  readonly sort: SortKey;
  readonly isReversed: boolean;
  /** For a screen on the wall: only what is not OK, large. */
  readonly isTv: boolean;
}

/** The choice of a query string. What is not known in it is left out. */
export function choiceOf(params: URLSearchParams): Choice {
  const wanted = (params.get("health") ?? "").toUpperCase().split(",");
  return {
    search: params.get("q") ?? "",
    source: params.get("source"),
    state: queueStates.find((state) => state === params.get("state")?.toUpperCase()) ?? null,
    healths: healths.filter((health) => wanted.includes(health)),
    sort: sortKeys.find((key) => key === params.get("sort")) ?? "worst",
    isReversed: params.has("reverse"),
    isTv: params.has("tv"),
  };
}

/** Whether any queue is left out. */
export function isFiltered({ search, source, state, healths: chosen }: Choice): boolean {
  return search !== "" || source !== null || state !== null || chosen.length > 0;
}
