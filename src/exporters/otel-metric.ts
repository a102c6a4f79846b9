import type { AlertStatus } from "../core/alerts.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import { alertMetrics } from "./alert-series.ts";
import type { MetricHead } from "./metric.ts";
import { countMetrics, type QueueCounts } from "./queue-counts.ts";
import { type QueueMetric, waitBoundsSeconds } from "./queue-series.ts";

/** A metric as OpenTelemetry has it, with its points of now. */
export interface OtelMetric {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  /** A gauge is the last value, a sum can be added up over its attributes. */
  readonly type: "gauge" | "sum" | "counter" | "histogram";
  readonly points: readonly OtelPoint[];
}

export interface OtelPoint {
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly value: number | OtelHistogram;
}

export interface OtelHistogram {
  /** Upper bounds; the last bucket has none. */
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Converts the queues of one page. The result leaves out a metric without points. */
export function convertQueues(
  metrics: readonly QueueMetric[],
  snapshots: readonly QueueSnapshot[],
): readonly OtelMetric[] {
  const attributes = snapshots.map(({ queue, source }) => ({
    "messaging.destination.name": queue,
    "queue.source": source ?? "",
  }));
  return dropEmpty(
    metrics.map((metric) =>
      createMetric(
        metric,
        snapshots.flatMap((snapshot, i) =>
          metric.points(snapshot).map(({ labels, value }) => ({
            attributes: { ...attributes[i], ...labels },
            value: typeof value === "number" ? value : { bounds: waitBoundsSeconds, ...value },
          })),
        ),
      ),
    ),
  );
}

export function convertCounts(counts: QueueCounts): readonly OtelMetric[] {
  return countMetrics.map((metric) =>
    createMetric(metric, [{ attributes: {}, value: metric.count(counts) }]),
  );
}

export function convertAlerts(status: AlertStatus): readonly OtelMetric[] {
  return dropEmpty(
    alertMetrics.map((metric) =>
      createMetric(
        metric,
        metric.samples(status).map(({ labels, value }) => ({ attributes: labels, value })),
      ),
    ),
  );
}

function dropEmpty(metrics: readonly OtelMetric[]): readonly OtelMetric[] {
  return metrics.filter(({ points }) => points.length > 0);
}

function createMetric({ otelName, unit, help, type }: MetricHead, points: readonly OtelPoint[]): OtelMetric {
  return { name: otelName, unit, description: help, type, points };
}
