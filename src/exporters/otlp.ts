import type { AlertStatus } from "../core/alerts.ts";
import { AppError } from "../core/errors.ts";
import type { Lease } from "../core/lease.ts";
import { monotonicClock, wallClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog, type OutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import { runWhileLeader } from "../runtime/run-while-leader.ts";
import type { Service } from "../runtime/service.ts";
import { together } from "../runtime/services.ts";
import { type QueueReader, readAllQueues } from "./all-queues.ts";
import { ofAlerts, ofCounts, ofQueues } from "./otel-metric.ts";
import { ofServer } from "./otel-process.ts";
import type { OtlpEndpoint, OtlpSender } from "./otlp-sender.ts";
import { createQueueMetrics, seriesParts } from "./queue-series.ts";
import type { ServerMetrics } from "./server-metrics.ts";

/** What is sent by OTLP, and how often. */
export interface OtlpMetricsConfig extends OtlpEndpoint {
  readonly intervalMs: number;
  /** Attributes of the resource. */
  readonly resource: Readonly<Record<string, string>>;
  /** Of the scope of instrumentation. */
  readonly version: string;
}

export interface OtlpOptions extends OtlpMetricsConfig {
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

/** The last numbers are sent at the end, for at most so long. */
const flushMs = 2_000;

/**
 * Sends by OTLP what `/metrics` has. Queues and alerts are those of Redis, and are sent by one process, with a resource that is the
 * same whichever that is; each process sends its own metrics, with an instance of its own.
 *
 * Queues are read and sent a page at a time, one request after the other: an export of many holds no more memory than one of few,
 * and nothing is kept for a collector that does not answer. That is logged once.
 */
export function createOtlp(options: OtlpOptions): Service {
  const { resource, version, lease, server, isRedisUp, logger } = options;
  const outage = createOutageLog({
    ...{ logger, fields: { url: withoutPassword(options.url) } },
    begins: "OTLP export failed",
    ends: "OTLP export recovered",
  });
  const sending = (attributes: Readonly<Record<string, string>>) => async () => {
    const { createOtlpSender } = await import("./otlp-sender.ts");
    return createOtlpSender(options, attributes, version);
  };
  const loop = { outage, intervalMs: options.intervalMs };
  const ofProcess = createExportLoop({
    ...loop,
    open: sending({ "service.instance.id": crypto.randomUUID(), ...resource }),
    send: async (sender) =>
      sender.send(ofServer(await server.read(await isRedisUp()), process.uptime()), processStartedAtMs),
  });
  const ofRedis = runWhileLeader({
    lease,
    create: () =>
      createExportLoop({ ...loop, open: sending(resource), send: (sender) => sendQueues(sender, options) }),
    logFields: { exporter: "otlp" },
    startedMessage: "started sending queues by OTLP",
    failedMessage: "OTLP export could not be started",
    logger,
  });
  return together([ofProcess, ofRedis]);
}

const processStartedAtMs = wallClock.epochMs() - process.uptime() * 1_000;

/** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
async function sendQueues(sender: OtlpSender, options: OtlpOptions): Promise<void> {
  const { reader, maxQueues, historyMaxQueues, objectiveMsOf, alertStatus, intervalMs } = options;
  const metrics = createQueueMetrics(objectiveMsOf);
  let stale = 0;
  const found = await readAllQueues({
    ...{ reader, parts: seriesParts, maxQueues, timeoutMs: intervalMs },
    async onPage(snapshots) {
      stale += snapshots.filter((snapshot) => snapshot.stale).length;
      if (snapshots.length > 0) await sender.send(ofQueues(metrics, snapshots), null);
    },
  });
  const status = await alertStatus().catch(() => null);
  const counts = ofCounts({ ...found, stale, historyMaxQueues });
  await sender.send([...counts, ...(status === null ? [] : ofAlerts(status))], null);
}

interface ExportLoopOptions {
  readonly open: () => Promise<OtlpSender>;
  readonly send: (sender: OtlpSender) => Promise<void>;
  readonly outage: OutageLog;
  readonly intervalMs: number;
}

function createExportLoop({ open, send, outage, intervalMs }: ExportLoopOptions): Service {
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  let isWorking = true;

  /** The connection logs outages of Redis. */
  async function round(sender: OtlpSender): Promise<void> {
    try {
      await send(sender);
      isWorking = true;
      outage.recovered();
    } catch (error) {
      if (error instanceof AppError) return;
      isWorking = false;
      outage.failed(error);
    }
  }

  async function run(sender: OtlpSender): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = monotonicClock.now();
      await round(sender);
      await pause(startedAtMs + intervalMs - monotonicClock.now(), stopping.signal);
    }
    // What happened since the last round. A collector that did not answer then is not waited for.
    if (isWorking) await round(sender);
    await sender.close();
  }

  return {
    async start() {
      running = run(await open());
    },
    async stop() {
      stopping.abort();
      await Promise.race([running, pause(flushMs, new AbortController().signal)]);
    },
  };
}

function withoutPassword(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
