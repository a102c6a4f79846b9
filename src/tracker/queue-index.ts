import type { RedisClient } from "../redis/connect.ts";
import { unavailableOr } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";

export interface ListOptions {
  /** Only names that begin with this. */
  readonly prefix?: string;
  /** Only names behind this one. */
  readonly after?: string | null;
  readonly limit: number;
}

/** The names of all queues, in the order of their bytes. */
export interface QueueIndex {
  /** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  list(options: ListOptions): Promise<string[]>;
  /** How many there are. @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  count(): Promise<number>;
  /** Puts names in, of queues that are known. */
  add(queues: readonly string[]): Promise<void>;
  /** Takes a name out, unless its queue was recorded or read again meanwhile: then it has this key. */
  removeUnless(queue: string, stateKey: string): Promise<void>;
}

export function createQueueIndex(redis: RedisClient, keys: Keys): QueueIndex {
  return {
    async list({ prefix = "", after = null, limit }) {
      if (limit <= 0) return [];
      const fromPrefix = prefix === "" ? "-" : `[${prefix}`;
      const isBehindPrefix = after !== null && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0;
      const from = isBehindPrefix ? `(${after}` : fromPrefix;
      // No name contains the byte 0xff, so this is behind every name that begins with the prefix.
      const to = prefix === "" ? "+" : Buffer.concat([Buffer.from(`(${prefix}`), Buffer.from([0xff])]);
      return answered(redis.zrangebylex(keys.index, from, to, "LIMIT", 0, limit));
    },
    count: () => answered(redis.zcard(keys.index)),
    async add(queues) {
      if (queues.length === 0) return;
      await answered(redis.zadd(keys.index, ...queues.flatMap((queue) => [0, queue])));
    },
    async removeUnless(queue, stateKey) {
      await answered(redis.zrem(keys.index, queue));
      // Who has recorded since put the name in before we took it out, or does so after we look.
      if ((await answered(redis.exists(stateKey))) === 1) await answered(redis.zadd(keys.index, 0, queue));
    },
  };
}

async function answered<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply;
  } catch (error) {
    throw unavailableOr(error);
  }
}
