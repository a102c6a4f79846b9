import { Redis } from "ioredis";
import { createKeys } from "../../src/redis/keys.ts";

const keys = createKeys("ql");

/** What a query asks of a queue in the benchmark. */
export interface PlainQueue {
  readonly queue: string;
  readonly state: "MISSING" | "EMPTY" | "WAITING";
  readonly latency: number | null;
  readonly depth: number | null;
  readonly oldestSince: string | null;
  readonly accuracy: "EXACT" | "UNKNOWN";
  readonly measuredAt: string;
  readonly stale: boolean;
}

/**
 * The least that answers this: three plain commands a queue (is it known, its head, how many wait),
 * all in one pipeline, against the same keys that our tracker keeps. The time is this process's own.
 */
export function createQueueReader(redisUrl: string): (queues: readonly string[]) => Promise<PlainQueue[]> {
  const redis = new Redis(redisUrl);
  return async (queues) => {
    const nowMs = Date.now();
    const pipeline = redis.pipeline();
    for (const queue of queues) {
      const waiting = keys.waiting(queue);
      pipeline.hget(keys.state(queue), "source");
      pipeline.zrange(waiting, "-inf", String(nowMs), "BYSCORE", "LIMIT", 0, 1, "WITHSCORES");
      pipeline.zcount(waiting, "-inf", nowMs);
    }
    const replies = (await pipeline.exec()) ?? [];
    const measuredAt = new Date(nowMs).toISOString();
    return queues.map((queue, i) => {
      const [source, head, depth] = [0, 1, 2].map((each) => replyOf(replies[3 * i + each]));
      const since = (head as unknown[]).flat()[1];
      const isKnown = source !== null;
      const sinceMs = since === undefined ? null : Number(since);
      return {
        queue,
        state: !isKnown ? "MISSING" : sinceMs === null ? "EMPTY" : "WAITING",
        latency: !isKnown ? null : sinceMs === null ? 0 : (nowMs - sinceMs) / 1000,
        depth: isKnown ? (depth as number) : null,
        oldestSince: sinceMs === null ? null : new Date(sinceMs).toISOString(),
        accuracy: isKnown ? "EXACT" : "UNKNOWN",
        measuredAt,
        stale: false,
      };
    });
  };
}

function replyOf(reply: readonly [Error | null, unknown] | undefined): unknown {
  if (reply === undefined) throw new Error("expected a reply to every command");
  if (reply[0] !== null) throw reply[0];
  return reply[1];
}
