import { randomBytes } from "node:crypto";
import { AppError, messageOf } from "../core/errors.ts";
import type { Hold, Lease } from "../core/lease.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import type { RedisClient } from "./connect.ts";
import type { Keys } from "./keys.ts";
import { allowOutOfMemory, loadScript, runScript } from "./scripts.ts";

export interface LeaseOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly name: string;
  readonly logger: Logger;
  /** For how long it outlives its last renewal: what a takeover from a dead process takes at most. @default 3_000 // 3 seconds */
  readonly ttlMs?: number;
  /** @default 1_000 // a second */
  readonly renewEveryMs?: number;
}

/**
 * A lease in Redis with a fencing token. Two processes may believe for a moment that they have it (one was frozen, or a clock
 * jumped); that is what the token is for.
 *
 * - A holder that dies is followed by another within `ttlMs`, one that gives the lease back within a quarter of `renewEveryMs`.
 * - It is lost at once when Redis says so, or when its work is refused for its fencing token, and at the latest `ttlMs` after the last renewal that succeeded was *sent*, by this
 *   process's own clock: Redis began to count later than that, so no other process has it before.
 */
export function createLease(options: LeaseOptions): Lease {
  const { redis, keys, name, logger, ttlMs = 3_000, renewEveryMs = 1_000 } = options;
  const acquireUrl = new URL("lua/lease-acquire.lua", import.meta.url);
  const acquireScript = allowOutOfMemory(loadScript("queueLatencyLeaseAcquire", acquireUrl));
  const renewScript = loadScript("queueLatencyLeaseRenew", new URL("lua/lease-renew.lua", import.meta.url));
  const [holderKey, fenceKey] = keys.lease(name);
  const retryMs = renewEveryMs / 4;
  /** The newest fencing token that refused the work of this process. The node that has the lease may have lost it in a failover. */
  let refusedByFence = 0;

  /** The fencing token; 0 when another process has the lease, for `freeInMs` at least (-1: not known). */
  async function tryToAcquire(owner: string): Promise<{ fence: number; freeInMs: number }> {
    const reply = await runScript(redis, acquireScript, {
      keys: [holderKey, fenceKey],
      args: [owner, ttlMs, refusedByFence],
    });
    const [fence, freeInMs] = (Array.isArray(reply) ? reply : []).map(Number);
    return { fence: fence ?? 0, freeInMs: freeInMs ?? -1 };
  }

  async function extend(owner: string, forMs: number): Promise<boolean> {
    return (await runScript(redis, renewScript, { keys: [holderKey], args: [owner, forMs] })) === 1;
  }

  function hold(owner: string, fence: number, acquiredAtMs: number): Hold {
    const ending = new AbortController();
    let heldUntilMs = acquiredAtMs + ttlMs;
    let expiry: NodeJS.Timeout | undefined;

    const isHeld = () => !ending.signal.aborted && monotonicClock.now() < heldUntilMs;

    function end(): void {
      clearTimeout(expiry);
      ending.abort();
    }
    function lose(reason: string): void {
      if (ending.signal.aborted) return;
      logger.warn({ lease: name, fence, reason }, "lost lease");
      end();
    }
    function watchClock(): void {
      clearTimeout(expiry);
      const leftMs = heldUntilMs - monotonicClock.now();
      // Timers count whole ms and may come early, so the clock is asked again.
      if (leftMs > 0) expiry = setTimeout(watchClock, Math.ceil(leftMs)).unref();
      else lose("not renewed in time");
    }
    async function renew(): Promise<void> {
      for (let pauseMs = renewEveryMs; ; ) {
        await pause(pauseMs, ending.signal);
        if (ending.signal.aborted) return;
        const sentAtMs = monotonicClock.now();
        try {
          const isStillOurs = await extend(owner, ttlMs);
          if (ending.signal.aborted) return;
          if (!isStillOurs) return lose("another process holds it");
          heldUntilMs = sentAtMs + ttlMs;
          watchClock();
          pauseMs = sentAtMs + renewEveryMs - monotonicClock.now();
        } catch (error) {
          logger.debug({ lease: name, err: messageOf(error) }, "lease renewal failed");
          pauseMs = retryMs;
        }
      }
    }

    watchClock();
    const renewing = renew();
    return {
      fence,
      ended: ending.signal,
      isHeld,
      supersede(newerFence) {
        refusedByFence = Math.max(refusedByFence, newerFence);
        lose("a newer fencing token is stored");
      },
      async release() {
        end();
        await renewing;
        try {
          await extend(owner, 0);
        } catch (error) {
          logger.debug({ lease: name, err: messageOf(error) }, "lease release failed");
        }
      },
    };
  }

  return {
    async acquire(signal) {
      // Of this attempt alone: a release that arrives late must not end the hold that comes after it.
      const owner = randomBytes(12).toString("base64url");
      const outage = createOutageLog({ logger, begins: "lease request failed", fields: { lease: name } });
      for (;;) {
        signal.throwIfAborted();
        let waitMs = retryMs;
        const sentAtMs = monotonicClock.now();
        try {
          const { fence, freeInMs } = await tryToAcquire(owner);
          if (fence > 0) return hold(owner, fence, sentAtMs);
          if (freeInMs >= 0) waitMs = Math.min(retryMs, freeInMs + 1);
        } catch (error) {
          // The connection itself logs that Redis is away.
          if (!(error instanceof AppError)) outage.failed(error);
        }
        await pause(waitMs, signal);
      }
    },
  };
}
