import type { FollowSink } from "../core/following.ts";
import { type Hold, type Lease, LeaseLostError } from "../core/lease.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";
import { createUnderLease } from "../core/under-lease.ts";

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
 * Runs a source in this process while this process has the source's lease: of all processes that share a Redis, one reads. The
 * source is handed a sink of its own, which adds the fencing token and refuses everything once the lease is gone.
 */
export function createOneReader(options: OneReaderOptions): Service {
  const { lease, sink, create, source, logger, retryMs } = options;
  return createUnderLease({
    lease,
    create: (hold) => create(fenced(sink, source, hold)),
    about: { source },
    says: "this process reads a source",
    failure: "a source could not be started",
    logger,
    retryMs,
  });
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
