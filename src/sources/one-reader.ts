import type { FollowSink } from "../core/following.ts";
import { type Hold, type Lease, LeaseLostError } from "../core/lease.ts";
import type { Logger } from "../core/logger.ts";
import { pause } from "../core/pause.ts";
import type { Service } from "../core/service.ts";

export interface OneReaderOptions {
  readonly lease: Lease;
  readonly sink: FollowSink;
  /** Builds the source anew for every time that the lease is had. */
  readonly create: (sink: FollowSink) => Service;
  /** Name of the source, for the log. */
  readonly source: string;
  readonly logger: Logger;
  /** After a source could not be started, in ms. @default 1_000 // a second */
  readonly retryMs?: number;
}

/**
 * Runs a source in this process while this process has the source's lease: of all processes that share a Redis, one reads.
 *
 * - The source is handed a sink of its own, which adds the fencing token and refuses everything once the lease is gone.
 * - When the lease is lost the source is stopped, and it is started anew when the lease is had again. On `stop()` the source
 *   ends first and the lease is given back after it, so that another process goes on at once.
 * - A source that cannot be built or started is logged and tried again, here or elsewhere: the lease is given back meanwhile.
 *   `start()` waits for nothing and never throws.
 */
export function createOneReader(options: OneReaderOptions): Service {
  const { lease, sink, create, source, logger, retryMs = 1_000 } = options;
  const stopping = new AbortController();
  let failing = false;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const hold = await lease.acquire(stopping.signal).catch(() => null);
      if (hold === null) return;
      const worked = await readUnder(hold);
      await hold.release();
      // Whoever has the lease next may fare better.
      if (!worked) await pause(retryMs, stopping.signal);
    }
  }

  /** Resolves when the lease has ended or the reader stops, and the source with it. @returns false when it did not start. */
  async function readUnder(hold: Hold): Promise<boolean> {
    const over = AbortSignal.any([hold.ended, stopping.signal]);
    let reader: Service | undefined;
    try {
      reader = create(fenced(sink, source, hold));
      await Promise.race([reader.start(), aborted(over)]);
      if (!over.aborted) logger.info({ source, fence: hold.fence }, "this process reads a source");
      failing = false;
      await aborted(over);
      return true;
    } catch (err) {
      if (failing) logger.debug({ source, err }, "a source could not be started");
      else logger.error({ source, err }, "a source could not be started");
      failing = true;
      return false;
    } finally {
      await reader?.stop().catch((err: unknown) => {
        logger.warn({ source, err }, "a source did not stop cleanly");
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

/** The sink as a source sees it: its every word carries the token, and is refused here when the lease has ended. */
function fenced(sink: FollowSink, source: string, hold: Hold): FollowSink {
  const held = () => {
    if (!hold.isHeld()) throw new LeaseLostError(source);
    return hold.fence;
  };
  return {
    observe: async (observed) => sink.observe(observed, held()),
    follow: async (followed) => sink.follow(followed, held()),
    gone: async (of, queue) => sink.gone(of, queue, held()),
    cursors: sink.cursors,
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
