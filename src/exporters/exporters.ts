import type { AlertStatus } from "../core/alerts.ts";
import type { Lease } from "../core/lease.ts";
import type { Tracer } from "../core/tracing.ts";
import type { Logger } from "../runtime/logger.ts";
import { runWhileLeader } from "../runtime/run-while-leader.ts";
import type { Service } from "../runtime/service.ts";
import type { QueueReader } from "./all-queues.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { createOtlp, type OtlpMetricsConfig } from "./otlp.ts";
import { createServerMetrics, type ServerMetrics, type ServerMetricsOptions } from "./server-metrics.ts";
import { createStatsd } from "./statsd.ts";
import { createTraces, type OtlpTracesConfig } from "./traces.ts";

export interface ExportersOptions extends ServerMetricsOptions {
  readonly reader: QueueReader;
  /** How soon jobs of a queue should be dequeued, in ms; null: no objective is set. */
  readonly objectiveMsOf: (queue: string) => number | null;
  /** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  readonly alertStatus: () => Promise<AlertStatus>;
  /** How many queues have series and gauges. */
  readonly maxQueues: number;
  /** How many queues have a history. */
  readonly historyMaxQueues: number;
  /** Null: StatsD is not configured. */
  readonly statsd: { readonly host: string; readonly port: number } | null;
  /** The process that holds this lease sends to StatsD. */
  readonly statsdLease: Lease;
  /** Null: OTLP is not configured. */
  readonly otlp: OtlpMetricsConfig | null;
  /** Null: traces are off. */
  readonly otlpTraces: OtlpTracesConfig | null;
  /** The process that holds this lease sends metrics of queues and alerts by OTLP. */
  readonly otlpLease: Lease;
  readonly isRedisUp: () => Promise<boolean>;
  readonly logger: Logger;
}

/** Exports the same numbers: Prometheus scrapes them; StatsD, and a collector of OpenTelemetry, receive them. */
export interface Exporters extends Service {
  readonly metrics: Metrics;
  readonly server: ServerMetrics;
  /** Null: traces are off. */
  readonly tracer: Tracer | null;
}

export function createExporters(options: ExportersOptions): Exporters {
  const {
    reader,
    objectiveMsOf,
    alertStatus,
    maxQueues,
    historyMaxQueues,
    statsd,
    statsdLease,
    otlp,
    otlpTraces,
    logger,
  } = options;
  const instanceId = crypto.randomUUID();
  const server = createServerMetrics(options);
  const metrics = createMetrics({
    ...{ reader, maxQueues, historyMaxQueues, server, objectiveMsOf, alertStatus, logger },
  });
  const toCollector =
    otlp === null ? null : createOtlp({ ...options, ...otlp, instanceId, server, lease: options.otlpLease });
  const traces = otlpTraces === null ? null : createTraces(otlpTraces, instanceId, logger);
  const toStatsd =
    statsd === null
      ? null
      : runWhileLeader({
          lease: statsdLease,
          create: () => createStatsd({ ...statsd, reader, maxQueues, logger }),
          logFields: { exporter: "statsd" },
          startedMessage: "started sending to StatsD",
          failedMessage: "StatsD delivery failed",
          logger,
        });
  return {
    metrics,
    server,
    tracer: traces,
    async start() {
      server.start();
      await Promise.all([toStatsd?.start(), toCollector?.start(), traces?.start()]);
    },
    stop: async () => void (await Promise.all([toStatsd?.stop(), toCollector?.stop(), traces?.stop()])),
  };
}
