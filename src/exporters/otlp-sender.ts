// The only file that imports the OpenTelemetry SDK: it is loaded when OTLP is configured, and not before.
import { DiagLogLevel, diag, type HrTime, ValueType } from "@opentelemetry/api";
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

/** Where metrics are sent to, and how. */
export interface OtlpEndpoint {
  /** Of metrics, such as `http://127.0.0.1:4318/v1/metrics`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Of one request, with all its retries. */
  readonly timeoutMs: number;
  readonly compression: "none" | "gzip";
}

export interface OtlpSender {
  /**
   * Sends one request.
   *
   * @param startedAtMs since when sums are counted; null: not known.
   * @throws Error when the collector did not accept all of it.
   */
  send(metrics: readonly OtelMetric[], startedAtMs: number | null): Promise<void>;
  close(): Promise<void>;
}

/** @param attributes of the resource that all metrics are of. */
export function createOtlpSender(
  { url, headers, timeoutMs, compression }: OtlpEndpoint,
  attributes: Readonly<Record<string, string>>,
  version: string,
): OtlpSender {
  const exporter = new OTLPMetricExporter({
    ...{ url, headers: { ...headers }, timeoutMillis: timeoutMs },
    // The SDK's enum has these texts for values.
    compression: compression as never,
    userAgent: `queue-latency/${version}`,
  });
  const resource: Resource = resourceFromAttributes({ ...attributes });
  const scope = { name: "queue-latency", version };
  return {
    async send(metrics, startedAtMs) {
      const [startTime, endTime] = [timeOf(startedAtMs ?? 0), timeOf(wallClock.epochMs())];
      const data = metrics.map((metric) => dataOf(metric, startTime, endTime));
      partialSuccess = undefined;
      await new Promise<void>((resolve, reject) => {
        exporter.export({ resource, scopeMetrics: [{ scope, metrics: data }] }, ({ code, error }) => {
          if (code !== 0) reject(error ?? new Error("the collector refused the metrics"));
          else if (partialSuccess !== undefined) reject(new Error(partialSuccess));
          else resolve();
        });
      });
    },
    close: () => exporter.shutdown(),
  };
}

/** The SDK only logs what a collector says of points that it rejected. */
let partialSuccess: string | undefined;
const ignore = () => {};
diag.setLogger(
  {
    ...{ verbose: ignore, debug: ignore, info: ignore, error: ignore },
    warn(message, ...details) {
      if (/partial success/i.test(message)) partialSuccess = [message, ...details].join(" ");
    },
  },
  DiagLogLevel.WARN,
);

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
