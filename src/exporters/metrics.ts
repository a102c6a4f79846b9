import type { AlertStatus } from "../core/alerts.ts";
import { AppError } from "../core/errors.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { createSharedReading } from "../runtime/shared-reading.ts";
import { alertSeries } from "./alert-series.ts";
import { type QueueReader, readAllQueues } from "./all-queues.ts";
import { headOf, linesOf } from "./metric.ts";
import { countMetrics } from "./queue-counts.ts";
import { createQueueMetrics, labelsOf, seriesParts } from "./queue-series.ts";
import type { ServerMetrics } from "./server-metrics.ts";

export interface MetricsOptions {
  readonly reader: QueueReader;
  /** How many queues have series: when there are more, those in which something happens. A gauge counts the others. */
  readonly maxQueues: number;
  /** How many queues have a history. */
  readonly historyMaxQueues: number;
  readonly server: ServerMetrics;
  /** How soon jobs of a queue should be dequeued, in ms; null: no objective is set. */
  readonly objectiveMsOf: (queue: string) => number | null;
  /** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  readonly alertStatus: () => Promise<AlertStatus>;
  readonly logger: Logger;
}

/** Everything for Prometheus, in its text format. */
export interface Metrics {
  readonly contentType: string;
  /**
   * What there is now; pieces of one text. All who ask while it is being read share it, and so do those who ask within a second
   * after: however many ask, the queues are read once a second at most.
   */
  read(): Promise<readonly Buffer[]>;
}

/** For so long after it was read, what was read is good enough for others: two Prometheus that scrape the same server. */
const shareMs = 1_000;

/**
 * The series of queues are formatted here, page by page, from what each scrape reads: a deleted queue leaves no series
 * behind. prom-client keeps each series as an object, takes several times as long in one piece, and needs to know which
 * series to remove; it keeps the server's own few (server-metrics.ts).
 */
export function createMetrics(options: MetricsOptions): Metrics {
  const { reader, maxQueues, historyMaxQueues, server, objectiveMsOf, alertStatus, logger } = options;
  const queueMetrics = createQueueMetrics(objectiveMsOf);
  const outage = createOutageLog({ logger, begins: "alerts have no metrics", fields: {}, level: "error" });

  async function queueSeries(): Promise<readonly Buffer[]> {
    const pages = queueMetrics.map((metric) => [Buffer.from(headOf(metric))]);
    let stale = 0;
    const found = await readAllQueues({
      reader,
      parts: seriesParts,
      maxQueues,
      onPage(snapshots) {
        const labels = snapshots.map(labelsOf);
        stale += snapshots.filter((snapshot) => snapshot.stale).length;
        queueMetrics.forEach(({ lines }, i) => {
          const texts = snapshots.map((snapshot, j) => lines(snapshot, labels[j] ?? ""));
          pages[i]?.push(Buffer.from(texts.join("")));
        });
      },
    });
    const counts = countMetrics.map(
      (metric) =>
        headOf(metric) +
        linesOf(metric.name, [{ labels: {}, value: metric.count({ ...found, stale, historyMaxQueues }) }]),
    );
    return [...pages.flat(), Buffer.from(counts.join(""))];
  }

  /**
   * Absent while they cannot be read, which must not take the queues with it: in a Redis Cluster the node that has them may be away
   * while others answer, and their keys may not be what was written.
   */
  async function ofAlerts(): Promise<string> {
    try {
      const series = alertSeries(await alertStatus());
      outage.recovered();
      return series;
    } catch (error) {
      if (!(error instanceof AppError)) outage.failed(error);
      return "";
    }
  }

  async function collect(): Promise<readonly Buffer[]> {
    let queues: readonly Buffer[] = [];
    let isRedisUp = true;
    try {
      queues = await queueSeries();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // Of half of the queues it would look as if the others had died: so there are none.
      isRedisUp = false;
    }
    const alerts = isRedisUp ? await ofAlerts() : "";
    return [...queues, Buffer.from(alerts), Buffer.from(await server.text(isRedisUp))];
  }

  return {
    contentType: "text/plain; version=0.0.4; charset=utf-8",
    read: createSharedReading(collect, shareMs).read,
  };
}
