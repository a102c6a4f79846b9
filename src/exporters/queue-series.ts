import { inOrderLatencyMs, type QueueSnapshot, type SnapshotParts, waitBoundsMs } from "../core/snapshot.ts";
import { escaped, type MetricHead } from "./metric.ts";

/** What of a queue its series are made of. */
export const seriesParts: SnapshotParts = {
  ...{ depth: true, scheduled: true, lost: true, totals: true },
  ...{ throughput: new Set(), waitTime: new Set() },
};

/** One metric of every queue. */
export interface QueueMetric extends MetricHead {
  /**
   * In Prometheus's text format, each line with its end; "" where nothing honest can be said.
   *
   * @param labels `queue="…",source="…"`
   */
  readonly lines: (snapshot: QueueSnapshot, labels: string) => string;
  /** The same for OpenTelemetry; none where nothing honest can be said. */
  readonly points: (snapshot: QueueSnapshot) => readonly QueuePoint[];
}

export interface QueuePoint {
  /** Labels beside those of the queue. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number | WaitHistogram;
}

/** Wait times in seconds. */
export interface WaitHistogram {
  /** One for each bucket; the last one has no upper bound. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Upper bounds of the buckets of {@link WaitHistogram}, in seconds. */
export const waitBoundsSeconds: readonly number[] = waitBoundsMs.map((ms) => ms / 1_000);

/**
 * The metrics of every queue.
 *
 * @param objectiveMsOf how soon jobs of a queue should be dequeued, in ms; null: no objective is set
 */
export function createQueueMetrics(objectiveMsOf: (queue: string) => number | null): readonly QueueMetric[] {
  const objective = gauge(
    { name: "queue_objective_seconds", otelName: "queue.objective", unit: "s" },
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
    { name: "queue_oldest_job_age_seconds", otelName: "queue.oldest_job.age", unit: "s" },
    "Seconds since the oldest waiting job became claimable, 0 when no job waits. Absent where it is not known: the queue is stale, or its accuracy unknown.",
    ({ latencyMs, stale }) => (stale || latencyMs === null ? null : latencyMs / 1_000),
  ),
  gauge(
    { name: "queue_overtaken_jobs", otelName: "queue.overtaken_jobs", unit: "{job}" },
    "Waiting jobs that became claimable before every job that was dequeued in the last minute or longer. Absent where the source reports no job but the oldest, and where queue_oldest_job_age_seconds is.",
    ({ overtaken = null, stale }) => (stale ? null : overtaken),
  ),
  gauge(
    { name: "queue_in_order_job_age_seconds", otelName: "queue.in_order_job.age", unit: "s" },
    "Seconds since the oldest waiting job that was not overtaken became claimable, 0 when there is none. Absent where queue_overtaken_jobs is.",
    (snapshot) => {
      const latencyMs = inOrderLatencyMs(snapshot);
      return snapshot.stale || latencyMs === null ? null : latencyMs / 1_000;
    },
  ),
  gauge(
    { name: "queue_depth", otelName: "queue.depth", unit: "{job}" },
    "Jobs that can be claimed now. Absent where the source does not report them, and while the queue is stale.",
    ({ depth, stale }) => (stale ? null : depth),
  ),
  gauge(
    { name: "queue_depth_is_lower_bound", otelName: "queue.depth.is_lower_bound", unit: "{queue}" },
    "1 when more jobs than queue_depth may wait, since the source counts them up to a limit. Else absent.",
    ({ depthIsLowerBound, stale }) => (!stale && depthIsLowerBound ? 1 : null),
  ),
  gauge(
    { name: "queue_scheduled", otelName: "queue.scheduled", unit: "{job}" },
    "Jobs that cannot be claimed yet. Absent where the source does not report them, and while the queue is stale.",
    ({ scheduled, stale }) => (stale ? null : scheduled),
  ),
  gauge(
    { name: "queue_in_flight", otelName: "queue.in_flight", unit: "{job}" },
    "Jobs that were delivered to a worker and are not acknowledged. Absent where the source does not report them, and while the queue is stale.",
    ({ inFlight = null, stale }) => (stale ? null : inFlight),
  ),
  gauge(
    { name: "queue_in_flight_idle_seconds", otelName: "queue.in_flight.idle", unit: "s" },
    "Seconds since the oldest job in flight was last delivered. Absent when there is none, where the source does not report it, and while the queue is stale.",
    ({ inFlightSinceMs = null, measuredAtMs, stale }) =>
      stale || inFlightSinceMs === null ? null : Math.max(0, measuredAtMs - inFlightSinceMs) / 1_000,
  ),
  gauge(
    { name: "queue_lost", otelName: "queue.lost", unit: "{job}" },
    "Jobs that were dropped since they had waited longer than MAX_WAIT, less those whose dequeue arrived later. Absent where a job system reports the queue, and while it is stale.",
    ({ lost, stale }) => (stale ? null : lost),
  ),
  gauge(
    { name: "queue_paused", otelName: "queue.paused", unit: "{queue}" },
    "1 when the queue is paused, else 0. Absent while the queue is stale.",
    ({ state, stale }) => (stale ? null : Number(state === "PAUSED")),
  ),
  gauge(
    { name: "queue_stale", otelName: "queue.stale", unit: "{queue}" },
    "1 when the source has not answered lately: then there is no other number of this queue. Else 0.",
    ({ stale }) => Number(stale),
  ),
  labelled(
    { name: "queue_accuracy_info", otelName: "queue.accuracy.info", unit: "{queue}", type: "gauge" },
    "Always 1; how far the age can be trusted is in the label accuracy: exact, estimated, lower_bound, incomplete or unknown. Absent while the queue is stale.",
    "accuracy",
    ({ accuracy, stale }) => (stale ? [] : [[accuracy.toLowerCase(), 1]]),
  ),
  gauge(
    { name: "queue_observed_timestamp_seconds", otelName: "queue.observed.timestamp", unit: "s" },
    "When the queue was measured, by the clock of its Redis; of a stale queue, the last time.",
    ({ measuredAtMs }) => measuredAtMs / 1_000,
  ),
  labelled(
    { name: "queue_events_total", otelName: "queue.events", unit: "{job}", type: "counter" },
    "Jobs by what happened to them since the queue became known: enqueued, dequeued, removed or lost. The last two also count jobs whose dequeue arrived later. Absent where the source does not report them, while the queue is stale, and while Redis is known to have lost events.",
    "type",
    (snapshot) => {
      const totals = reliableTotals(snapshot);
      if (totals === null) return [];
      const { enqueued, dequeued, removed, lost } = totals;
      const counts: [string, number][] = [
        ["enqueued", enqueued],
        ["dequeued", dequeued],
        ["removed", removed],
      ];
      if (lost !== null) counts.push(["lost", lost]);
      return counts;
    },
  ),
  {
    name: "queue_wait_seconds",
    otelName: "queue.wait",
    unit: "s",
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
    points(snapshot) {
      const totals = reliableTotals(snapshot);
      if (totals === null) return [];
      const counts = bounds.map((_, i) => totals.waits[i] ?? 0);
      return [{ value: { counts, sum: totals.waitedMs / 1_000 } }];
    },
  },
];

const bounds: readonly string[] = [...waitBoundsSeconds.map(String), "+Inf"];

/** Any name is a label's value, once these are written so that they do not end it. */
export function labelsOf({ queue, source }: QueueSnapshot): string {
  return `queue="${escaped(queue)}",source="${escaped(source ?? "")}"`;
}

function gauge(
  names: Pick<MetricHead, "name" | "otelName" | "unit">,
  help: string,
  read: (snapshot: QueueSnapshot) => number | null,
): QueueMetric {
  return {
    ...{ ...names, type: "gauge", help },
    lines(snapshot, labels) {
      const value = read(snapshot);
      return value === null ? "" : `${names.name}{${labels}} ${value}\n`;
    },
    points(snapshot) {
      const value = read(snapshot);
      return value === null ? [] : [{ value }];
    },
  };
}

/** A metric with one more label. */
function labelled(
  head: Omit<MetricHead, "help">,
  help: string,
  label: string,
  read: (snapshot: QueueSnapshot) => readonly (readonly [value: string, count: number])[],
): QueueMetric {
  return {
    ...{ ...head, help },
    lines(snapshot, labels) {
      let lines = "";
      for (const [value, count] of read(snapshot))
        lines += `${head.name}{${labels},${label}="${value}"} ${count}\n`;
      return lines;
    },
    points: (snapshot) =>
      read(snapshot).map(([value, count]) => ({ labels: { [label]: value }, value: count })),
  };
}

function reliableTotals({ totals, stale, accuracy }: QueueSnapshot) {
  return totals === undefined || stale || accuracy === "INCOMPLETE" ? null : totals;
}
