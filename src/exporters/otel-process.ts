import type { OtelHistogram, OtelMetric, OtelPoint } from "./otel-metric.ts";
import type { ReadMetric } from "./server-metrics.ts";

interface Named extends Pick<OtelMetric, "name" | "unit" | "type"> {
  /** The attribute that a label of prom-client becomes. */
  readonly labels?: Readonly<Record<string, string>>;
  /** What distinguishes metrics of Prometheus that are one of OpenTelemetry. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/**
 * Names of the semantic conventions for processes, V8 and Node.js where these have the same number; else those that become the
 * names in `/metrics`. `process_cpu_seconds_total` is the sum of two others, and the uptime is in place of the time of the start.
 */
const names: Readonly<Record<string, Named>> = {
  queue_latency_redis_up: { name: "queue_latency.redis.up", unit: "{redis}", type: "gauge" },
  queue_latency_source_up: {
    ...{ name: "queue_latency.source.up", unit: "{source}", type: "gauge" },
    labels: { source: "queue.source" },
  },
  queue_latency_open_subscriptions: {
    ...{ name: "queue_latency.open_subscriptions", unit: "{subscription}", type: "sum" },
  },
  queue_latency_http_responses_total: {
    ...{ name: "queue_latency.http.responses", unit: "{response}", type: "counter" },
    labels: { status: "http.response.status_code" },
  },
  queue_latency_refused_requests_total: {
    ...{ name: "queue_latency.refused_requests", unit: "{request}", type: "counter" },
    labels: { code: "error.type" },
  },
  process_cpu_user_seconds_total: {
    ...{ name: "process.cpu.time", unit: "s", type: "counter" },
    attributes: { "cpu.mode": "user" },
  },
  process_cpu_system_seconds_total: {
    ...{ name: "process.cpu.time", unit: "s", type: "counter" },
    attributes: { "cpu.mode": "system" },
  },
  process_resident_memory_bytes: { name: "process.memory.usage", unit: "By", type: "sum" },
  process_open_fds: {
    ...{ name: "process.unix.file_descriptor.count", unit: "{file_descriptor}", type: "sum" },
  },
  process_max_fds: { name: "process.max_fds", unit: "{file_descriptor}", type: "gauge" },
  nodejs_eventloop_lag_seconds: { name: "nodejs.eventloop.lag", unit: "s", type: "gauge" },
  nodejs_eventloop_lag_p99_seconds: { name: "nodejs.eventloop.delay.p99", unit: "s", type: "gauge" },
  nodejs_eventloop_lag_max_seconds: { name: "nodejs.eventloop.delay.max", unit: "s", type: "gauge" },
  nodejs_heap_size_total_bytes: { name: "nodejs.heap_size.total", unit: "By", type: "sum" },
  nodejs_heap_size_used_bytes: { name: "nodejs.heap_size.used", unit: "By", type: "sum" },
  nodejs_gc_duration_seconds: {
    ...{ name: "v8js.gc.duration", unit: "s", type: "histogram" },
    labels: { kind: "v8js.gc.type" },
  },
};

/** Converts the server's own metrics. The result leaves out those that have no name here. */
export function convertServerMetrics(
  read: readonly ReadMetric[],
  uptimeSeconds: number,
): readonly OtelMetric[] {
  const metrics = read.flatMap((metric) => {
    const named = names[metric.name];
    return named === undefined ? [] : [renameMetric(metric, named)];
  });
  const byName = Map.groupBy(metrics, ({ name }) => name);
  const uptime: OtelMetric = {
    ...{ name: "process.uptime", unit: "s", type: "gauge", description: "How long the process has run." },
    points: [{ attributes: {}, value: uptimeSeconds }],
  };
  const joined = [...byName.values()].flatMap(([first, ...rest]) =>
    first === undefined ? [] : [{ ...first, points: [first, ...rest].flatMap(({ points }) => points) }],
  );
  return [...joined.filter(({ points }) => points.length > 0), uptime];
}

function renameMetric(
  { help, values }: ReadMetric,
  { labels = {}, attributes = {}, ...named }: Named,
): OtelMetric {
  const attributesOf = (given: ReadMetric["values"][number]["labels"]) => {
    const pairs = Object.entries(given).flatMap(([label, value]) =>
      value === undefined || label === "le" ? [] : [[labels[label] ?? label, value] as const],
    );
    return { ...attributes, ...Object.fromEntries(pairs) };
  };
  const isBucket = named.type === "histogram";
  const points = isBucket
    ? readHistograms(values, attributesOf)
    : values.map(({ value, labels: given }) => ({ attributes: attributesOf(given), value }));
  return { ...named, description: help, points };
}

/** prom-client reads the buckets of each histogram in order, each with those before it, and then its sum. */
function readHistograms(
  values: ReadMetric["values"],
  attributesOf: (labels: ReadMetric["values"][number]["labels"]) => OtelPoint["attributes"],
): readonly OtelPoint[] {
  const byLabels = Map.groupBy(values, ({ labels }) => JSON.stringify(attributesOf(labels)));
  return [...byLabels.values()].map((ofOne) => {
    const buckets = ofOne.filter(({ metricName = "" }) => metricName.endsWith("_bucket"));
    const bounds = buckets.map(({ labels }) => Number(labels.le)).filter(Number.isFinite);
    const counts = buckets.map(({ value }, i) => value - (buckets[i - 1]?.value ?? 0));
    const sum = ofOne.find(({ metricName = "" }) => metricName.endsWith("_sum"))?.value ?? 0;
    const value: OtelHistogram = { bounds, counts, sum };
    return { attributes: attributesOf(ofOne[0]?.labels ?? {}), value };
  });
}
