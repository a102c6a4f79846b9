import { type Hold, type Lease, LeaseLostError } from "../core/lease.ts";
import type { FollowSink } from "../core/log-following.ts";
import type { Logger } from "../runtime/logger.ts";
import { runWhileLeader } from "../runtime/run-while-leader.ts";
import type { Service } from "../runtime/service.ts";

export interface LeaderOnlySourceOptions {
  readonly lease: Lease;
  readonly sink: FollowSink;
  /** Builds the source anew for every time that the lease is had. */
  readonly create: (sink: FollowSink) => Service;
  /** Name of the source, for the log. */
  readonly source: string;
  /** Called when this process tried to read the source, and with null when it does so no more. */
  readonly onAnswered?: (isUp: boolean | null) => void;
  readonly logger: Logger;
  /** After source failed to start, in ms. @default 1_000 // a second */
  readonly retryMs?: number;
}

/**
 * Runs a source in this process while this process has the source's lease: of all processes that share a Redis, one reads. The
 * source is handed a sink of its own, which adds the fencing token and refuses everything once the lease is gone.
 */
export function createLeaderOnlySource(options: LeaderOnlySourceOptions): Service {
  const { lease, sink, create, source, onAnswered, logger, retryMs } = options;
  return runWhileLeader({
    lease,
    create(hold) {
      const service = create({ ...fenced(sink, source, hold), answered: (isUp) => onAnswered?.(isUp) });
      return {
        start: () => service.start(),
        async stop() {
          await service.stop();
          onAnswered?.(null);
        },
      };
    },
    logFields: { source },
    startedMessage: "started reading a source",
    failedMessage: "source failed to start",
    logger,
    retryMs,
  });
}

/**
 * The sink as a source sees it: it adds the fencing token to everything, and refuses everything once the lease has ended. Where
 * the tracker refuses the token of a lease that is held, the lease is given up for one with a larger token.
 */
function fenced(sink: FollowSink, source: string, hold: Hold): FollowSink {
  async function write<T>(send: (fence: number) => Promise<T>): Promise<T> {
    if (!hold.isHeld()) throw new LeaseLostError(source);
    try {
      return await send(hold.fence);
    } catch (error) {
      // After a failover the node that has the lease may have lost its newest tokens, with a clock that is behind them.
      if (error instanceof LeaseLostError && error.newerFence !== null) hold.supersede(error.newerFence);
      throw error;
    }
  }
  return {
    observe: (observed) => write((fence) => sink.observe(observed, fence)),
    follow: (followed) => write((fence) => sink.follow(followed, fence)),
    gone: (of, queue) => write((fence) => sink.gone(of, queue, fence)),
    cursors: sink.cursors,
    notes: sink.notes,
  };
}
