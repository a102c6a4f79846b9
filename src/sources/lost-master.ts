import { Cluster, type Redis } from "ioredis";
import { monotonicClock } from "../runtime/clock.ts";
import { isRefusal } from "./resumed-scan.ts";

const everyMs = 1_000;

/**
 * Makes a check that throws where a Redis is a replica that has lost its master, at most once a second: unless
 * `replica-serve-stale-data` is off, such a Redis answers with what it had then, and nothing changes any more.
 *
 * Where this user may not ask `INFO`, nothing is checked. In a Redis Cluster masters are read.
 */
export function createMasterCheck(): (redis: Redis | Cluster) => Promise<void> {
  let checkAtMs = Number.NEGATIVE_INFINITY;

  return async function checkMaster(redis) {
    if (redis instanceof Cluster || monotonicClock.now() < checkAtMs) return;
    const info = await redis.info("replication").catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      return "";
    });
    const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
    if (field("master_link_status") === "down") {
      const master = `${field("master_host")}:${field("master_port")}`;
      throw new Error(`this Redis is a replica that has lost its master ${master}: what it has may be old`);
    }
    checkAtMs = monotonicClock.now() + everyMs;
  };
}
