import { onTestFinished } from "vitest";
import type { Hold, Lease } from "../../src/core/lease.ts";
import { createClient, type RedisClient } from "../../src/redis/connect.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { createLease } from "../../src/redis/lease.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import { silentLogger } from "./logger.ts";

/** One that could have a lease, on a connection of its own. */
export interface Contender {
  readonly lease: Lease;
  readonly redis: RedisClient;
  /** Resolves when it has the lease; what the test has not given back is given back at its end. */
  hold(): Promise<Hold>;
  /** As a process that dies: it renews nothing any more, and gives nothing back. */
  die(): void;
}

/** @param timing shorter than the real one where a test waits for the end of a lease. */
export async function openContender(
  redisUrl: string,
  prefix: string,
  timing: { readonly ttlMs?: number; readonly renewEveryMs?: number; readonly logger?: Logger } = {},
): Promise<Contender> {
  const redis = createClient({ urls: redisUrl.split(","), name: "contender", logger: silentLogger });
  await redis.connect();
  const keys = createKeys(prefix);
  const lease = createLease({ redis, keys, name: "faktory", logger: silentLogger, ...timing });
  const giveUp = new AbortController();
  onTestFinished(() => {
    giveUp.abort();
    redis.disconnect();
  });
  return {
    lease,
    redis,
    hold: () => lease.acquire(giveUp.signal),
    die: () => redis.disconnect(),
  };
}

/** Resolves when the signal is aborted, with the milliseconds that it took. */
export async function abortOf(signal: AbortSignal): Promise<number> {
  const startedAtMs = performance.now();
  if (!signal.aborted) {
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  }
  return performance.now() - startedAtMs;
}
