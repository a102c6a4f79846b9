import { Cluster, type Redis } from "ioredis";
import { type MonotonicClock, monotonicClock } from "../core/clock.ts";
import { AppError } from "../core/errors.ts";
import type { RedisClient } from "../redis/connect.ts";
import { unavailableOr } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { allowOutOfMemory, loadScript, runScript } from "../redis/scripts.ts";

export interface QueueIndexOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** How many recorded queues there may be. @default 100_000 */
  readonly maxKnownQueues?: number | undefined;
  /** Names of the job systems that are read: their queues are not recorded ones. @default [] */
  readonly sources?: readonly string[] | undefined;
  /** Measures how long ago a name was listed. */
  readonly clock?: MonotonicClock;
}

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
  /**
   * Lists recorded queues before their events are recorded: all of them or none. A name that this process has listed within
   * the last ten seconds is not looked up again, so that Redis is asked for it six times a minute at most.
   *
   * @throws AppError TOO_MANY_KNOWN_QUEUES when there would be more than MAX_KNOWN_QUEUES: then nothing was written.
   */
  admit(queues: readonly string[]): Promise<void>;
  /** Lists queues that have a state. */
  add(queues: readonly string[]): Promise<void>;
  /** Takes out the names of those of the queues that have no state. */
  unlist(queues: readonly string[]): Promise<void>;
  /**
   * Lists every queue that has a state, should Redis have evicted the index: then it lacks a marker. Only in this case all keys are
   * scanned, and once for an index that an earlier version made.
   *
   * @returns how many queues were missing.
   */
  complete(): Promise<number>;
}

/** A member that is no queue's name, before all names: an index without it is not the one that was completed. */
const marker = "";
const behindMarker = `(${marker}`;
const scanCount = 1_000;

const admittedForMs = 10_000;
/** Of more names, those are looked up again that were listed longest ago. Some 2 MB. */
const maxAdmitted = 10_000;

export function createQueueIndex(options: QueueIndexOptions): QueueIndex {
  const { redis, keys, maxKnownQueues = 100_000, sources = [], clock = monotonicClock } = options;
  const script = loadScript("queueLatencyListRecorded", new URL("lua/list-recorded.lua", import.meta.url));
  /** For queues that have a state: what they take in the index is little beside that. */
  const scriptWhenFull = allowOutOfMemory(script);
  /** When names were listed by this process, the one listed longest ago first. */
  const admittedAtMs = new Map<string, number>();

  function isAdmitted(queue: string): boolean {
    const atMs = admittedAtMs.get(queue);
    return atMs !== undefined && clock.now() < atMs + admittedForMs;
  }

  function remember(queues: readonly string[]): void {
    const atMs = clock.now();
    for (const queue of queues) {
      admittedAtMs.delete(queue);
      admittedAtMs.set(queue, atMs);
    }
    for (const oldest of admittedAtMs.keys()) {
      if (admittedAtMs.size <= maxAdmitted) break;
      admittedAtMs.delete(oldest);
    }
  }

  async function add(queues: readonly string[]): Promise<void> {
    if (queues.length === 0) return;
    const args = [Number.MAX_SAFE_INTEGER, 0, ...queues];
    await runScript(redis, scriptWhenFull, { keys: [keys.index], args });
  }

  return {
    async list({ prefix = "", after = null, limit }) {
      if (limit <= 0) return [];
      const fromPrefix = prefix === "" ? behindMarker : `[${prefix}`;
      const isBehindPrefix = after !== null && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0;
      const from = isBehindPrefix ? `(${after}` : fromPrefix;
      // No name contains the byte 0xff, so this is behind every name that begins with the prefix.
      const to = prefix === "" ? "+" : Buffer.concat([Buffer.from(`(${prefix}`), Buffer.from([0xff])]);
      return answered(redis.zrangebylex(keys.index, from, to, "LIMIT", 0, limit));
    },
    count: () => answered(redis.zlexcount(keys.index, behindMarker, "+")),
    async admit(queues) {
      const unsure = queues.filter((queue) => !isAdmitted(queue));
      if (unsure.length === 0) return;
      const args = [maxKnownQueues, sources.length, ...sources, ...unsure];
      const reply = await runScript(redis, script, { keys: [keys.index], args });
      const [isListed, recorded, created, ...newQueues] = reply as ListReply;
      if (isListed !== 1) throw tooManyQueues({ recorded, created, newQueues, max: maxKnownQueues });
      remember(unsure);
    },
    add,
    async complete() {
      if ((await answered(redis.zscore(keys.index, marker))) !== null) return 0;
      let missing = 0;
      const pattern = `${keys.index.slice(0, -":queues".length).replace(/[\\*?[\]]/g, "\\$&")}:{*}:state`;
      for (const master of mastersOf(redis)) {
        let cursor = "0";
        do {
          const [next, found] = await answered(master.scan(cursor, "MATCH", pattern, "COUNT", scanCount));
          const queues = found.flatMap((key) => keys.queueOf(key) ?? []);
          if (queues.length > 0) {
            missing += Number(
              await answered(redis.zadd(keys.index, ...queues.flatMap((queue) => [0, queue]))),
            );
          }
          cursor = next;
        } while (cursor !== "0");
      }
      await answered(redis.zadd(keys.index, 0, marker));
      return missing;
    },
    async unlist(queues) {
      if (queues.length === 0) return;
      for (const queue of queues) admittedAtMs.delete(queue);
      await answered(redis.zrem(keys.index, ...queues));
      // A process that recorded one of them meanwhile listed it before its name was taken out, or does so after we look.
      const states = await Promise.allSettled(queues.map((queue) => redis.exists(keys.state(queue))));
      // A state that cannot be looked up may be there.
      const listed = add(queues.filter((_, i) => states[i]?.status === "rejected" || states[i]?.value === 1));
      const failed = states.find((state) => state.status === "rejected");
      if (failed === undefined) return await listed;
      // The caller has waited for as long as it may: this goes on without it. When it fails, too, the name is missing until the
      // next event of the queue.
      listed.catch(() => {});
      throw unavailableOr(failed.reason);
    },
  };
}

type ListReply = [listed: number, recorded: number, created: number, ...newQueues: string[]];

function tooManyQueues(counts: {
  readonly recorded: number;
  readonly created: number;
  readonly newQueues: readonly string[];
  readonly max: number;
}): AppError {
  const { recorded, created, newQueues, max } = counts;
  return new AppError(
    "TOO_MANY_KNOWN_QUEUES",
    `too many queues: ${created} of the batch are new, ${recorded} are recorded, and the limit is ${max} (MAX_KNOWN_QUEUES); nothing was recorded. Use fewer names, or remove queues with forgetQueue`,
    { details: { newQueues } },
  );
}

function mastersOf(redis: RedisClient): readonly Redis[] {
  return redis instanceof Cluster ? redis.nodes("master") : [redis];
}

async function answered<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply;
  } catch (error) {
    throw unavailableOr(error);
  }
}
