import type { RedisClient } from "../redis/connect.ts";
import { unavailableOr } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import type { Logger } from "../runtime/logger.ts";

/**
 * Which recorded queues have a state, as a key of its own: a queue that is here and has none was not removed on purpose. Redis has
 * evicted all of its keys, and nothing else shows that jobs may wait in it.
 */
export interface RecordedQueues {
  /**
   * Once they have a state. Best effort: the sweep does it again.
   *
   * @returns those that were here before.
   */
  mark(queues: readonly string[]): Promise<readonly string[]>;
  /** Before their state is removed, and once it is. @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  unmark(queues: readonly string[]): Promise<void>;
  /** Those of the queues that are here. @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  marked(queues: readonly string[]): Promise<readonly string[]>;
}

export interface RecordedQueuesOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly logger: Logger;
}

export function createRecordedQueues({ redis, keys, logger }: RecordedQueuesOptions): RecordedQueues {
  const key = keys.recorded;

  /** A refusal (another type, no right, Redis is full) only means that an eviction of all keys of a queue goes unnoticed. */
  async function answeredOr<T>(question: Promise<T>, orElse: T): Promise<T> {
    try {
      return await question;
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "ReplyError") throw unavailableOr(error);
      logger.debug({ key, err: error.message }, "recorded queues cannot be marked");
      return orElse;
    }
  }

  async function marked(queues: readonly string[]): Promise<readonly string[]> {
    if (queues.length === 0) return [];
    const isMarked = await answeredOr(redis.smismember(key, ...queues), []);
    return queues.filter((_, i) => isMarked[i] === 1);
  }

  return {
    async mark(queues) {
      if (queues.length === 0) return [];
      // On one connection, so in this order.
      const [before] = await Promise.all([marked(queues), answeredOr(redis.sadd(key, ...queues), 0)]).catch(
        () => [[]],
      );
      return before;
    },
    async unmark(queues) {
      if (queues.length > 0) await answeredOr(redis.srem(key, ...queues), 0);
    },
    marked,
  };
}
