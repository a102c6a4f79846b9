import type { Found } from "./all-queues.ts";
import type { MetricHead } from "./metric.ts";

export interface CountMetric extends MetricHead {
  readonly count: (counts: QueueCounts) => number;
}

export interface QueueCounts extends Found {
  /** How many of the queues that were found are stale. */
  readonly stale: number;
  /** How many queues have a history. */
  readonly historyMaxQueues: number;
}

/** How many queues have no series, so that a truncated export is not read as a complete one. */
export const countMetrics: readonly CountMetric[] = [
  {
    ...named("queue_latency_known_queues", "Queues that are known. Absent while Redis does not answer."),
    count: ({ known }) => known,
  },
  {
    ...named(
      "queue_latency_omitted_queues",
      "Known queues that have no series here, since there are more than METRICS_MAX_QUEUES.",
    ),
    count: ({ omitted }) => omitted,
  },
  {
    ...named(
      "queue_latency_queues_without_history",
      "Known queues of which no history is kept, since there are more than HISTORY_MAX_QUEUES.",
    ),
    count: ({ known, historyMaxQueues }) => Math.max(0, known - historyMaxQueues),
  },
  {
    ...named(
      "queue_latency_unreadable_queues",
      "Known queues that have no series in this scrape, since they could not be read.",
    ),
    count: ({ unreadable }) => unreadable,
  },
  {
    ...named("queue_latency_stale_queues", "Queues with series here that are stale."),
    count: ({ stale }) => stale,
  },
];

function named(name: string, help: string): MetricHead {
  return {
    ...{ name, type: "gauge", help },
    ...{ otelName: name.replace("queue_latency_", "queue_latency."), unit: "{queue}" },
  };
}
