import type { Redis } from "ioredis";
import type { RedisClient } from "./connect.ts";
import { mastersOf, nodeName } from "./masters.ts";

/** A Redis that may evict keys at its memory limit. */
export interface EvictingNode {
  /** Host and port, or the path of a Unix socket. */
  readonly node: string;
  /** Its `maxmemory-policy`. */
  readonly policy: string;
}

/**
 * The masters whose `maxmemory-policy` is not `noeviction`. One that does not say (not every user may ask) is left out. Never
 * rejects.
 */
export async function findEvictingNodes(redis: RedisClient): Promise<readonly EvictingNode[]> {
  const masters = mastersOf(redis);
  const policies = await Promise.all(masters.map(policyOf));
  return masters.flatMap((master, i) => {
    const policy = policies[i];
    return policy == null || policy === "noeviction" ? [] : [{ node: nodeName(master), policy }];
  });
}

/** Managed Redis often refuses CONFIG, but reports the policy in INFO. */
async function policyOf(redis: Redis): Promise<string | null> {
  try {
    const [, policy] = (await redis.config("GET", "maxmemory-policy")) as readonly string[];
    if (policy !== undefined) return policy;
  } catch {
    // Asked in the other way.
  }
  try {
    return /^maxmemory_policy:(\S+)/m.exec(await redis.info("memory"))?.[1] ?? null;
  } catch {
    return null;
  }
}
