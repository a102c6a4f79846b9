import { StatsD } from "hot-shots";
import { AppError } from "../core/errors.ts";
import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import { type QueueReader, readAllQueues } from "./all-queues.ts";

export interface StatsdOptions {
  readonly host: string;
  readonly port: number;
  readonly reader: QueueReader;
  /** How many queues have gauges: when there are more, those in which something happens. */
  readonly maxQueues: number;
  readonly logger: Logger;
  /** @default 10_000 // 10 seconds */
  readonly intervalMs?: number;
}

const parts: SnapshotParts = {
  ...{ depth: true, scheduled: false, lost: false },
  ...{ throughput: new Set(), waitTime: new Set() },
};
/** Fits into an Ethernet frame, also with IPv6's headers. */
const maxDatagramBytes = 1_432;
/** A pause follows this many queues, about ten datagrams, so that the receive buffer does not overflow. */
const queuesAtOnce = 50;
const pauseMs = 2;
const addressTtlMs = 60_000;

/**
 * Sends the gauges `queue.latency`, in seconds, and `queue.size`, both with the tag `queue`, as Faktory Enterprise does
 * (DogStatsD's format), in every interval. It sends nothing for a stale queue, and no number that is not known: a gauge
 * that is not sent disappears or keeps its last value, as the receiver is configured. `queue.size_is_lower_bound` is 1 while more
 * jobs than `queue.size` may wait, and 0 once after that. `queue.omitted` is the number of queues that are left out.
 *
 * One process at a time should run it. Lost datagrams are not noticed. When none can be sent (an unknown host name, for
 * example), one line is logged when that begins and one when it ends.
 */
export function createStatsd(options: StatsdOptions): Service {
  const { host, port, reader, maxQueues, logger, intervalMs = 10_000 } = options;
  const stopping = new AbortController();
  let client: StatsD | undefined;
  let running: Promise<void> | undefined;
  let wasOverflowing = false;
  const atLeast = new Set<string>();
  let sendError: Error | undefined;
  const outage = createOutageLog({
    ...{ logger, fields: { host, port } },
    begins: "StatsD delivery failed",
    ends: "StatsD delivery recovered",
  });

  function open(): StatsD {
    return new StatsD({
      ...{ host, port, protocol: "udp", cacheDns: true, cacheDnsTtl: addressTtlMs },
      ...{ maxBufferSize: maxDatagramBytes, bufferFlushInterval: intervalMs },
      // What Datadog has in the environment is not for us.
      ...{ includeDatadogTags: false, datadog: false },
      errorHandler(error) {
        sendError ??= error;
      },
    });
  }

  /** Hands over what was gathered; resolves also when it could not be sent. */
  function flush(from: StatsD): Promise<void> {
    return new Promise((resolve) => {
      from.flush((error) => {
        sendError ??= error ?? undefined;
        resolve();
      });
    });
  }

  async function sendPage(to: StatsD, snapshots: readonly QueueSnapshot[]): Promise<void> {
    for (let from = 0; from < snapshots.length; from += queuesAtOnce) {
      for (const snapshot of snapshots.slice(from, from + queuesAtOnce)) sendGauges(to, snapshot, atLeast);
      await flush(to);
      await pause(pauseMs, stopping.signal);
      stopping.signal.throwIfAborted();
    }
  }

  async function sendAll(to: StatsD): Promise<void> {
    const { omitted, unreadable } = await readAllQueues({
      ...{ reader, parts, maxQueues, timeoutMs: intervalMs / 2 },
      onPage: (snapshots) => sendPage(to, snapshots),
    });
    to.gauge("queue.omitted", omitted + unreadable);
    await flush(to);
    if (omitted > 0 && !wasOverflowing) {
      logger.warn(
        { omitted, maxQueues },
        "some queues are not sent to StatsD: more than METRICS_MAX_QUEUES are known",
      );
    }
    wasOverflowing = omitted > 0;
  }

  /** One round. The connection logs outages of Redis. */
  async function round(to: StatsD): Promise<void> {
    sendError = undefined;
    try {
      await sendAll(to);
    } catch (error) {
      if (stopping.signal.aborted || error instanceof AppError) return;
      sendError ??= error as Error;
    }
    if (sendError === undefined) outage.recovered();
    else outage.failed(sendError);
  }

  async function run(to: StatsD): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = monotonicClock.now();
      await round(to);
      await pause(startedAtMs + intervalMs - monotonicClock.now(), stopping.signal);
    }
  }

  return {
    async start() {
      client = open();
      running = run(client);
    },
    async stop() {
      stopping.abort();
      await running;
      const ended = client;
      client = undefined;
      if (ended !== undefined) await new Promise((resolve) => ended.close(resolve));
    },
  };
}

/** @param atLeast queues of which `queue.size` was a lower bound when it was last sent. */
function sendGauges(to: StatsD, snapshot: QueueSnapshot, atLeast: Set<string>): void {
  const { queue, latencyMs, depth, depthIsLowerBound = false, stale } = snapshot;
  if (stale) return;
  const tags = { queue: tagValue(queue) };
  if (latencyMs !== null) to.gauge("queue.latency", latencyMs / 1_000, tags);
  if (depth === null) return;
  to.gauge("queue.size", depth, tags);
  // A gauge of its own, since a tag would make it another series; and 0 once, since a receiver keeps the last value.
  if (depthIsLowerBound || atLeast.has(queue))
    to.gauge("queue.size_is_lower_bound", Number(depthIsLowerBound), tags);
  if (depthIsLowerBound) atLeast.add(queue);
  else atLeast.delete(queue);
}

/**
 * Characters that would end a tag become percent codes: hot-shots writes `_` for them, so two queues could become one.
 */
function tagValue(queue: string): string {
  return queue.replace(/[%|@,#]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
}
