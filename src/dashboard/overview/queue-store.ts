import { effect, type ReadonlySignal, signal, untracked } from "@preact/signals";
import { isPaused, observeServerTime } from "../clock.ts";
import type { ApiError } from "../graphql/api-error.ts";
import { subscribe } from "../graphql/client.ts";
import { type QueuePage, type QueueRow, queuePage, queueRows } from "../graphql/documents.ts";
import type { VariablesOf } from "../graphql/graphql.ts";
import type { Choice, SortKey } from "./choice.ts";

/** Rows of the table by their place in the order. */
export interface Range {
  readonly offset: number;
  readonly first: number;
}

/** What the last push says, for the range that it was asked for. */
export interface LoadedPage {
  /** The same for pages of the same order and filters. */
  readonly choiceKey: string;
  readonly offset: number;
  /** As many rows were asked for. */
  readonly first: number;
  readonly rows: readonly QueueRow[];
  readonly total: number;
  readonly healthCounts: QueuePage["healthCounts"];
  readonly sourceCounts: QueuePage["sourceCounts"];
  readonly omitted: number;
}

export type PageVariables = VariablesOf<typeof queuePage>;

const orders: Readonly<Record<SortKey, NonNullable<PageVariables["orderBy"]>>> = {
  worst: "HEALTH",
  name: "NAME",
  latency: "LATENCY",
  lateness: "LATENESS",
  depth: "DEPTH",
  in: "ENQUEUED_PER_SECOND",
  out: "DEQUEUED_PER_SECOND",
  p95: "WAIT_TIME_P95",
  forecast: "DRAIN_SECONDS",
  source: "SOURCE",
  state: "STATE",
  accuracy: "ACCURACY",
};

/** On a screen on the wall only what is not OK is shown, unless other healths were chosen. */
const notOk = ["STALLED", "FALLING_BEHIND", "SLOW", "UNKNOWN"] as const;

/** Of the subscription for what a person chose, in the range that is on the screen. What is not chosen is left out. */
export function pageVariables(choice: Choice, { offset, first }: Range): PageVariables {
  const { search, source, state, sort, isReversed, isTv } = choice;
  const healths = choice.healths.length > 0 ? choice.healths : isTv ? notOk : null;
  return {
    orderBy: orders[sort],
    ...(isReversed && { reverse: true }),
    offset,
    first,
    ...(search !== "" && { search }),
    ...(source !== null && { source }),
    ...(state !== null && { state: [state] }),
    ...(healths !== null && { health: [...healths] }),
  };
}

export interface QueueStore {
  /** Null before the first push. */
  readonly page: ReadonlySignal<LoadedPage | null>;
  readonly error: ReadonlySignal<ApiError | null>;
  /** Ends the subscription. */
  stop(): void;
}

/** Keeps one subscription for the page on the screen. While the display is stopped, the newest push waits to be shown. */
export function createQueueStore(variables: ReadonlySignal<PageVariables>): QueueStore {
  const page = signal<LoadedPage | null>(null);
  const newest = signal<LoadedPage | null>(null);
  const error = signal<ApiError | null>(null);

  const stopSubscription = effect(() => {
    const asked = variables.value;
    const choiceKey = JSON.stringify({ ...asked, offset: 0, first: 0 });
    return subscribe(queuePage, asked, {
      next({ queues }) {
        error.value = null;
        if (queues.measuredAt !== null) observeServerTime(queues.measuredAt);
        newest.value = {
          choiceKey,
          offset: asked.offset ?? 0,
          first: asked.first ?? 0,
          rows: queues.edges.map(({ node }) => node),
          total: queues.totalCount,
          healthCounts: queues.healthCounts,
          sourceCounts: queues.sourceCounts,
          omitted: queues.omitted,
        };
      },
      error(failure) {
        error.value = failure;
      },
    });
  });
  const stopShowing = effect(() => {
    const shown = newest.value;
    // Rows and filters that are asked for while the display is stopped are shown as they come.
    const before = untracked(() => page.value);
    const isSamePage =
      before?.choiceKey === shown?.choiceKey &&
      before?.offset === shown?.offset &&
      before?.first === shown?.first;
    if (!isPaused.value || !isSamePage) page.value = shown;
  });

  return {
    page,
    error,
    stop() {
      stopSubscription();
      stopShowing();
    },
  };
}

/**
 * Rows of queues that keep their place though they have left the page.
 *
 * @param names in one text, so that the same names are no change.
 */
export function watchRows(names: readonly string[], onRows: (rows: readonly QueueRow[]) => void): () => void {
  let hasCome = false;
  return subscribe(
    queueRows,
    { queues: [...names] },
    {
      // The first push too, as long as the display is stopped: its row has nothing to show else.
      next({ queueLatency }) {
        if (isPaused.peek() && hasCome) return;
        hasCome = true;
        onRows(queueLatency);
      },
      // They stay as they were, and are stale until the order is free again.
      error: () => {},
    },
  );
}
