import { type QueueSnapshot, type SnapshotParts, waitBoundsMs } from "../core/snapshot.ts";

/** What of a queue its series are made of. */
export const seriesParts: SnapshotParts = {
  ...{ depth: true, scheduled: true, lost: true, totals: true },
  ...{ throughput: new Set(), waitTime: new Set() },
};

/** One metric of every queue, in Prometheus's text format. */
export interface QueueMetric {
  readonly name: string;
  readonly type: "gauge" | "counter" | "histogram";
  readonly help: string;
  /**
   * The lines of one queue, each with its end; "" where nothing honest can be said.
   *
   * @param labels `queue="…",source="…"`
   */
  readonly lines: (snapshot: QueueSnapshot, labels: string) => string;
}

/**
 * The metrics of every queue.
 *
 * @param objectiveMsOf how soon jobs of a queue should be dequeued, in ms; null: no objective is set
 */
export function createQueueMetrics(objectiveMsOf: (queue: string) => number | null): readonly QueueMetric[] {
  const objective = gauge(
    "queue_objective_seconds",
    "Within how many seconds jobs should be dequeued. Absent where neither OBJECTIVES_FILE nor the name of the queue says so.",
    ({ queue }) => {
      const objectiveMs = objectiveMsOf(queue);
      return objectiveMs === null ? null : objectiveMs / 1_000;
    },
  );
  return [...snapshotMetrics, objective];
}

/**
 * A stale queue exports only that it is stale, and since when: Prometheus would show an old number as the current one.
 * Totals fall when Redis has lost acknowledged writes, which `rate()` would take for a restart from 0: they are left
 * out while that is known (`INCOMPLETE`).
 */
const snapshotMetrics: readonly QueueMetric[] = [
  gauge(
    "queue_oldest_job_age_seconds",
    "Seconds since the oldest waiting job became claimable, 0 when no job waits. Absent where it is not known: the queue is stale, or its accuracy unknown.",
    ({ latencyMs, stale }) => (stale || latencyMs === null ? null : latencyMs / 1_000),
  ),
  gauge(
    "queue_depth",
    "Jobs that can be claimed now. Absent where the source does not report them, and while the queue is stale.",
    ({ depth, stale }) => (stale ? null : depth),
  ),
  gauge(
    "queue_depth_is_lower_bound",
    "1 when more jobs than queue_depth may wait, since the source counts them up to a limit. Else absent.",
    ({ depthIsLowerBound, stale }) => (!stale && depthIsLowerBound ? 1 : null),
  ),
  gauge(
    "queue_scheduled",
    "Jobs that cannot be claimed yet. Absent where the source does not report them, and while the queue is stale.",
    ({ scheduled, stale }) => (stale ? null : scheduled),
  ),
  gauge(
    "queue_in_flight",
    "Jobs that were delivered to a worker and are not acknowledged. Absent where the source does not report them, and while the queue is stale.",
    ({ inFlight = null, stale }) => (stale ? null : inFlight),
  ),
  gauge(
    "queue_in_flight_idle_seconds",
    "Seconds since the oldest job in flight was last delivered. Absent when there is none, where the source does not report it, and while the queue is stale.",
    ({ inFlightSinceMs = null, measuredAtMs, stale }) =>
      stale || inFlightSinceMs === null ? null : Math.max(0, measuredAtMs - inFlightSinceMs) / 1_000,
  ),
  gauge(
    "queue_lost",
    "Jobs that were dropped since they had waited longer than MAX_WAIT, less those whose dequeue arrived later. Absent where a job system reports the queue, and while it is stale.",
    ({ lost, stale }) => (stale ? null : lost),
  ),
  gauge(
    "queue_paused",
    "1 when the queue is paused, else 0. Absent while the queue is stale.",
    ({ state, stale }) => (stale ? null : Number(state === "PAUSED")),
  ),
  gauge(
    "queue_stale",
    "1 when the source has not answered lately: then there is no other number of this queue. Else 0.",
    ({ stale }) => Number(stale),
  ),
  {
    name: "queue_accuracy_info",
    type: "gauge",
    help: "Always 1; how far the age can be trusted is in the label accuracy: exact, estimated, lower_bound, incomplete or unknown. Absent while the queue is stale.",
    lines: ({ accuracy, stale }, labels) =>
      stale ? "" : `queue_accuracy_info{${labels},accuracy="${accuracy.toLowerCase()}"} 1\n`,
  },
  gauge(
    "queue_observed_timestamp_seconds",
    "When the queue was measured, by the clock of its Redis; of a stale queue, the last time.",
    ({ measuredAtMs }) => measuredAtMs / 1_000,
  ),
  {
    name: "queue_events_total",
    type: "counter",
    help: "Jobs by what happened to them since the queue became known: enqueued, dequeued, removed or lost. The last two also count jobs whose dequeue arrived later. Absent where the source does not report them, while the queue is stale, and while Redis is known to have lost events.",
    lines(snapshot, labels) {
      const totals = reliableTotals(snapshot);
      if (totals === null) return "";
      const line = (type: string, count: number) => `queue_events_total{${labels},type="${type}"} ${count}\n`;
      const { enqueued, dequeued, removed, lost } = totals;
      const counted = line("enqueued", enqueued) + line("dequeued", dequeued) + line("removed", removed);
      return lost === null ? counted : counted + line("lost", lost);
    },
  },
  {
    name: "queue_wait_seconds",
    type: "histogram",
    help: "How long dequeued jobs had waited, from claimable to dequeued, since the queue became known. Absent where queue_events_total is.",
    lines(snapshot, labels) {
      const totals = reliableTotals(snapshot);
      if (totals === null) return "";
      let lines = "";
      let count = 0;
      for (let i = 0; i < bounds.length; i++) {
        count += totals.waits[i] ?? 0;
        lines += `queue_wait_seconds_bucket{${labels},le="${bounds[i]}"} ${count}\n`;
      }
      return `${lines}queue_wait_seconds_sum{${labels}} ${totals.waitedMs / 1_000}\nqueue_wait_seconds_count{${labels}} ${count}\n`;
    },
  },
];

const bounds: readonly string[] = [...waitBoundsMs.map((ms) => String(ms / 1_000)), "+Inf"];

/** What stands before the lines of a metric. */
export function headOf({ name, help, type }: Pick<QueueMetric, "name" | "help" | "type">): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

/** Any name is a label's value, once these are written so that they do not end it. */
export function labelsOf({ queue, source }: QueueSnapshot): string {
  return `queue="${escaped(queue)}",source="${escaped(source ?? "")}"`;
}

/** As the value of a label. */
export function escaped(text: string): string {
  return /["\\\n]/.test(text) ? text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n") : text;
}

function gauge(name: string, help: string, read: (snapshot: QueueSnapshot) => number | null): QueueMetric {
  return {
    ...{ name, type: "gauge", help },
    lines(snapshot, labels) {
      const value = read(snapshot);
      return value === null ? "" : `${name}{${labels}} ${value}\n`;
    },
  };
}

function reliableTotals({ totals, stale, accuracy }: QueueSnapshot) {
  return totals === undefined || stale || accuracy === "INCOMPLETE" ? null : totals;
}
