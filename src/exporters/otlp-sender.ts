// Loads the OpenTelemetry SDK: it is imported when OTLP is configured, and not before.
import { type HrTime, ValueType } from "@opentelemetry/api";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-proto";
import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
} from "@opentelemetry/sdk-metrics";
import { wallClock } from "../runtime/clock.ts";
import type { OtelHistogram, OtelMetric } from "./otel-metric.ts";
import { createOtlpRequests, type OtlpEndpoint, type OtlpRequestsOptions } from "./otlp-requests.ts";

export interface OtlpSender {
  /**
   * Sends one request.
   *
   * @param startedAtMs since when sums are counted; null: not known.
   * @throws RejectedError when the collector answered, and did not accept all of it.
   * @throws Error when the collector did not answer, or asked to try again later.
   */
  send(metrics: readonly OtelMetric[], startedAtMs: number | null): Promise<void>;
  close(): Promise<void>;
}

export interface OtlpSenderOptions extends OtlpRequestsOptions {
  /** Attributes of the resource that all metrics belong to. */
  readonly attributes: Readonly<Record<string, string>>;
}

export function createOtlpSender(endpoint: OtlpEndpoint, options: OtlpSenderOptions): OtlpSender {
  const { attributes, version } = options;
  const requests = createOtlpRequests(endpoint, options);
  const exporter = new OTLPMetricExporter(requests.exporterOptions);
  const resource: Resource = resourceFromAttributes({ ...attributes });
  const scope = { name: "queue-latency", version };

  return {
    async send(metrics, startedAtMs) {
      const [startTime, endTime] = [timeOf(startedAtMs ?? 0), timeOf(wallClock.epochMs())];
      const data = metrics.map((metric) => dataOf(metric, startTime, endTime));
      await requests.send((done) =>
        exporter.export({ resource, scopeMetrics: [{ scope, metrics: data }] }, done),
      );
    },
    async close() {
      await exporter.shutdown();
      requests.close();
    },
  };
}

function timeOf(ms: number): HrTime {
  return [Math.trunc(ms / 1_000), Math.round((ms % 1_000) * 1_000_000)];
}

function dataOf(metric: OtelMetric, startTime: HrTime, endTime: HrTime): MetricData {
  const { name, unit, description, type, points } = metric;
  const base = {
    descriptor: { name, unit, description, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  if (type === "histogram") {
    const dataPoints = points.map(
      ({ attributes, value }): DataPoint<Histogram> => ({
        ...{ attributes, startTime, endTime },
        value: histogramOf(value as OtelHistogram),
      }),
    );
    return { ...base, dataPointType: DataPointType.HISTOGRAM, dataPoints };
  }
  const dataPoints = points.map(
    ({ attributes, value }): DataPoint<number> => ({
      ...{ attributes, startTime: type === "gauge" ? endTime : startTime, endTime },
      value: value as number,
    }),
  );
  if (type === "gauge") return { ...base, dataPointType: DataPointType.GAUGE, dataPoints };
  return { ...base, dataPointType: DataPointType.SUM, isMonotonic: type === "counter", dataPoints };
}

function histogramOf({ bounds, counts, sum }: OtelHistogram): Histogram {
  const count = counts.reduce((all, each) => all + each, 0);
  return { buckets: { boundaries: [...bounds], counts: [...counts] }, sum, count };
}
