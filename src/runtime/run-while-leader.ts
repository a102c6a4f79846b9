import type { Hold, Lease } from "../core/lease.ts";
import type { Logger } from "./logger.ts";
import { createOutageLog } from "./outage-log.ts";
import { pause } from "./pause.ts";
import type { Service } from "./service.ts";

export interface RunWhileLeaderOptions {
  readonly lease: Lease;
  /** Builds a new service each time that this process acquires the lease. */
  readonly create: (hold: Hold) => Service;
  /** What is logged of it, such as which source it reads. */
  readonly logFields: Readonly<Record<string, string>>;
  /** Logged when this process begins, such as "this process reads a source". */
  readonly startedMessage: string;
  /** Logged when it cannot begin, such as "a source could not be started". */
  readonly failedMessage: string;
  readonly logger: Logger;
  /** After it could not be started, in ms. @default 1_000 // a second */
  readonly retryMs?: number | undefined;
}

/**
 * Runs a service while this process holds the lease, so in one of all processes that share a Redis.
 *
 * - When the lease is lost, the service stops. It is built again when the lease is acquired again. `stop()` first stops
 *   the service and then releases the lease, so that another process continues at once.
 * - A service that cannot be built or started is logged and retried, here or in another process: the lease is released
 *   meanwhile. `start()` does not wait and never throws.
 */
export function runWhileLeader(options: RunWhileLeaderOptions): Service {
  const { lease, create, logFields, startedMessage, failedMessage, logger, retryMs = 1_000 } = options;
  const stopping = new AbortController();
  const outage = createOutageLog({ logger, begins: failedMessage, fields: logFields, level: "error" });
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const hold = await lease.acquire(stopping.signal).catch(() => null);
      if (hold === null) return;
      const worked = await serveUnder(hold);
      await hold.release();
      // Another process may succeed.
      if (!worked) await pause(retryMs, stopping.signal);
    }
  }

  /** Resolves when the lease has ended or all of this stops, and the service with it. @returns false when it did not start. */
  async function serveUnder(hold: Hold): Promise<boolean> {
    const over = AbortSignal.any([hold.ended, stopping.signal]);
    let service: Service | undefined;
    try {
      service = create(hold);
      await Promise.race([service.start(), aborted(over)]);
      if (!over.aborted) logger.info({ ...logFields, fence: hold.fence }, startedMessage);
      outage.recovered();
      await aborted(over);
      return true;
    } catch (err) {
      outage.failed(err);
      return false;
    } finally {
      await service?.stop().catch((err: unknown) => {
        logger.warn({ ...logFields, err }, "leader-only service did not stop cleanly");
      });
    }
  }

  return {
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
