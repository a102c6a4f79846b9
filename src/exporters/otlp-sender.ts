// The only file that imports the OpenTelemetry SDK: it is loaded when OTLP is configured, and not before.
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
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
import { RejectedError } from "./rejected-error.ts";

/** Where the server sends metrics to, and how. */
export interface OtlpEndpoint {
  /** The URL for metrics, such as `http://127.0.0.1:4318/v1/metrics`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How long one request may take, with all its retries. */
  readonly timeoutMs: number;
  readonly compression: "none" | "gzip";
  /** PEM texts for `https://`. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}

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

export interface OtlpSenderOptions {
  /** Attributes of the resource that all metrics belong to. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly version: string;
  /** Called when the collector accepted everything, and says something about it. */
  readonly onWarning: (warning: string) => void;
}

export function createOtlpSender(endpoint: OtlpEndpoint, options: OtlpSenderOptions): OtlpSender {
  const { url, headers, timeoutMs, compression, tls } = endpoint;
  const { attributes, version, onWarning } = options;
  const agent = /^https:/i.test(url)
    ? new HttpsAgent({ keepAlive: true, ...tls })
    : new HttpAgent({ keepAlive: true });
  forgetEnvironment();
  const exporter = new OTLPMetricExporter({
    ...{ url, headers: { ...headers }, timeoutMillis: timeoutMs, httpAgentOptions: () => agent },
    // The SDK's enum has these texts for values.
    compression: compression as never,
    userAgent: `queue-latency/${version}`,
  });
  const resource: Resource = resourceFromAttributes({ ...attributes });
  const scope = { name: "queue-latency", version };

  function exportMetrics(metrics: MetricData[]): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      exporter.export({ resource, scopeMetrics: [{ scope, metrics }] }, ({ code, error }) => {
        const { rejectedDataPoints = 0, errorMessage = "" } = takePartialSuccess();
        if (code !== 0) return reject(rejectionOf(error));
        if (rejectedDataPoints > 0)
          return reject(new RejectedError(`${rejectedDataPoints} points rejected: ${errorMessage}`));
        if (errorMessage !== "") onWarning(errorMessage);
        resolve();
      });
    });
  }

  /** The SDK's own timeout begins again with each byte of the answer. */
  async function beforeDeadline(exported: Promise<void>): Promise<void> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      reject(new Error(`no full answer within ${timeoutMs} ms`));
      agent.destroy();
    }, timeoutMs).unref();
    await Promise.race([exported, late]).finally(() => clearTimeout(timer));
  }

  return {
    async send(metrics, startedAtMs) {
      const [startTime, endTime] = [timeOf(startedAtMs ?? 0), timeOf(wallClock.epochMs())];
      await beforeDeadline(exportMetrics(metrics.map((metric) => dataOf(metric, startTime, endTime))));
    },
    async close() {
      await exporter.shutdown();
      agent.destroy();
    },
  };
}

/** The SDK adds these variables to its options. The settings have them already, after the flags that override them. */
function forgetEnvironment(): void {
  // biome-ignore lint/style/noProcessEnv: the SDK reads it, and has no option against that
  const env = process.env;
  for (const name of Object.keys(env)) if (merged.test(name)) delete env[name];
}

/** An error with a status is the collector's answer to this request. */
function rejectionOf(error: Error | undefined): Error {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: string };
  if (typeof code === "number") return new RejectedError(`the collector answered ${code} ${message ?? ""}`);
  return error ?? new Error("the SDK sent no metrics");
}

const merged = /^OTEL_EXPORTER_OTLP_(METRICS_)?(HEADERS|CERTIFICATE|CLIENT_CERTIFICATE|CLIENT_KEY)$/;

interface PartialSuccess {
  readonly rejectedDataPoints?: number;
  readonly errorMessage?: string;
}

/** The SDK only logs what a collector says of points that it rejected, just before it reports a success. */
let partialSuccess: PartialSuccess = {};
const ignore = () => {};
diag.setLogger(
  {
    ...{ verbose: ignore, debug: ignore, info: ignore, error: ignore },
    warn(message, json) {
      if (/partial success/i.test(message)) partialSuccess = JSON.parse(String(json));
    },
  },
  DiagLogLevel.WARN,
);

function takePartialSuccess(): PartialSuccess {
  const taken = partialSuccess;
  partialSuccess = {};
  return taken;
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
