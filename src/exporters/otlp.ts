import type { AlertStatus } from "../core/alerts.ts";
import type { Lease } from "../core/lease.ts";
import { wallClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { runWhileLeader } from "../runtime/run-while-leader.ts";
import type { Service } from "../runtime/service.ts";
import { together } from "../runtime/services.ts";
import { type QueueReader, readAllQueues } from "./all-queues.ts";
import { convertAlerts, convertCounts, convertQueues, type OtelMetric } from "./otel-metric.ts";
import { convertServerMetrics } from "./otel-process.ts";
import { createExportLoop } from "./otlp-export-loop.ts";
import { createWarningLog, withoutPassword } from "./otlp-log.ts";
import type { OtlpEndpoint } from "./otlp-requests.ts";
import type { OtlpSender } from "./otlp-sender.ts";
import { createQueueMetrics, seriesParts } from "./queue-series.ts";
import { RejectedError } from "./rejected-error.ts";
import type { ServerMetrics } from "./server-metrics.ts";
import { createSharedOutage } from "./shared-outage.ts";

/** What the server sends by OTLP, and how often. */
export interface OtlpMetricsConfig extends OtlpEndpoint {
  readonly intervalMs: number;
  /** Attributes of the resource. */
  readonly resource: Readonly<Record<string, string>>;
  /** The version of the instrumentation scope. */
  readonly version: string;
  /** How long the last export may take when the server stops. @default 2_000 // 2 seconds */
  readonly flushMs?: number;
}

export interface OtlpOptions extends OtlpMetricsConfig {
  /** Of the server's own metrics. */
  readonly instanceId: string;
  readonly reader: QueueReader;
  readonly maxQueues: number;
  readonly historyMaxQueues: number;
  readonly objectiveMsOf: (queue: string) => number | null;
  /** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  readonly alertStatus: () => Promise<AlertStatus>;
  readonly isRedisUp: () => Promise<boolean>;
  readonly server: Pick<ServerMetrics, "read">;
  /** The process that holds this lease sends the metrics of queues and alerts. */
  readonly lease: Lease;
  readonly logger: Logger;
}

/**
 * Sends by OTLP what `/metrics` has. Queues and alerts are those of Redis: one process sends them, with a resource that is the
 * same whichever process that is. Each process sends its own metrics, with an instance of its own.
 *
 * A loop reads and sends a page of queues at a time, one request after the other: an export of many holds no more memory than one
 * of few. It keeps nothing for a collector that does not answer, and logs such an outage once.
 */
export function createOtlp(options: OtlpOptions): Service {
  const {
    resource,
    version,
    instanceId,
    lease,
    server,
    isRedisUp,
    intervalMs,
    flushMs = 2_000,
    logger,
  } = options;
  const fields = { url: withoutPassword(options.url) };
  const outage = createSharedOutage(
    createOutageLog({ logger, fields, begins: "OTLP export failed", ends: "OTLP export recovered" }),
  );
  const onWarning = createWarningLog(fields, logger);
  async function openSender(attributes: Readonly<Record<string, string>>): Promise<OtlpSender> {
    const { createOtlpSender } = await import("./otlp-sender.ts");
    return createOtlpSender(options, { attributes, version, onWarning });
  }
  const loop = { outage, intervalMs, flushMs };
  const processLoop = createExportLoop({
    ...loop,
    open: () => openSender({ "service.instance.id": instanceId, ...resource }),
    send: async (sender) => {
      const read = await server.read(await isRedisUp());
      await sender.send(convertServerMetrics(read, process.uptime()), processStartedAtMs);
    },
  });
  // The series of queues stay the same when another process sends them.
  const { "service.instance.id": _, ...sharedResource } = resource;
  const queueLoop = runWhileLeader({
    lease,
    create: () =>
      createExportLoop({
        ...loop,
        open: () => openSender(sharedResource),
        send: (sender) => sendQueues(sender, options),
      }),
    logFields: { exporter: "otlp" },
    startedMessage: "started sending queues by OTLP",
    failedMessage: "OTLP export could not be started",
    logger,
  });
  return together([processLoop, queueLoop]);
}

const processStartedAtMs = wallClock.epochMs() - process.uptime() * 1_000;

/**
 * Sends every page, also after one that the collector rejects.
 *
 * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
 * @throws RejectedError the first one, when all is sent.
 * @throws Error at once when the collector does not answer.
 */
async function sendQueues(sender: OtlpSender, options: OtlpOptions): Promise<void> {
  const { reader, maxQueues, historyMaxQueues, objectiveMsOf, alertStatus, intervalMs } = options;
  const metrics = createQueueMetrics(objectiveMsOf);
  const rejections: RejectedError[] = [];
  async function send(page: readonly OtelMetric[]): Promise<void> {
    try {
      await sender.send(page, null);
    } catch (error) {
      if (!(error instanceof RejectedError)) throw error;
      rejections.push(error);
    }
  }
  let stale = 0;
  const found = await readAllQueues({
    ...{ reader, parts: seriesParts, maxQueues, timeoutMs: intervalMs },
    async onPage(snapshots) {
      stale += snapshots.filter((snapshot) => snapshot.stale).length;
      if (snapshots.length > 0) await send(convertQueues(metrics, snapshots));
    },
  });
  const status = await alertStatus().catch(() => null);
  const counts = convertCounts({ ...found, stale, historyMaxQueues });
  await send([...counts, ...(status === null ? [] : convertAlerts(status))]);
  const [first] = rejections;
  if (first !== undefined) throw first;
}
