import { AppError, messageOf } from "../core/errors.ts";
import type { RedisClient } from "../redis/connect.ts";
import { answered, unavailableOr } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { mastersOf } from "../redis/masters.ts";
import { allowOutOfMemory, loadScript, runScript } from "../redis/scripts.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { namedReply } from "../runtime/named-reply.ts";
import { pause } from "../runtime/pause.ts";
import { createRecentMap } from "../runtime/recent-map.ts";

export interface QueueIndexOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly logger: Logger;
  /** How many recorded queues there may be. @default 100_000 */
  readonly maxKnownQueues?: number | undefined;
  /** Names of the job systems that are read: their queues are not recorded ones. @default [] */
  readonly sources?: (() => readonly string[]) | undefined;
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

/** The names of all queues, in the order of their bytes. A key of another type in its place is set aside, and the index made again. */
export interface QueueIndex {
  /**
   * From the first name on it completes an index that was evicted before it answers, as long as Redis lets it.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer, or has too many keys to complete the index within a second.
   */
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
   */
  complete(): Promise<void>;
}

/** A member that is no queue's name, before all names: an index without it is not the one that was completed. */
const marker = "";
const behindMarker = `(${marker}`;
const scanCount = 1_000;
const maxCompletingMs = 1_000;
const retryCompletingMs = 10_000;

const admittedForMs = 10_000;
/** Of more names, those are looked up again that were listed longest ago. Some 2 MB. */
const maxAdmitted = 10_000;

export function createQueueIndex(options: QueueIndexOptions): QueueIndex {
  const {
    redis,
    keys,
    logger,
    maxKnownQueues = 100_000,
    sources = () => [],
    clock = monotonicClock,
  } = options;
  const script = loadScript("queueLatencyListRecorded", new URL("lua/list-recorded.lua", import.meta.url));
  const setAsideUrl = new URL("lua/set-aside.lua", import.meta.url);
  const setAsideScript = allowOutOfMemory(loadScript("queueLatencySetAside", setAsideUrl));
  /** For queues that have a state: what they take in the index is little beside that. */
  const scriptWhenFull = allowOutOfMemory(script);
  /** Names that this process has listed. */
  const admitted = createRecentMap<string, true>({ maxSize: maxAdmitted, maxAgeMs: admittedForMs, clock });
  let completing: Promise<void> | undefined;
  let completeFailedAtMs = Number.NEGATIVE_INFINITY;

  /** Asks for something of the index, and once more when a key of another type was in its place. */
  async function ask<T>(question: () => Promise<T>): Promise<T> {
    try {
      return await answered(question());
    } catch (error) {
      if (!messageOf(error).startsWith("WRONGTYPE")) throw error;
      // In the same slot of a Redis Cluster.
      const renamedTo = `{${keys.index}}:set-aside`;
      const isRenamed = await runScript(redis, setAsideScript, { keys: [keys.index, renamedTo], args: [] });
      if (isRenamed === 1)
        logger.error({ key: keys.index, renamedTo }, "a key of another type was set aside");
      return await answered(question());
    }
  }

  async function completeNow(): Promise<void> {
    if ((await ask(() => redis.zscore(keys.index, marker))) !== null) return;
    let missing = 0;
    const pattern = `${keys.index.slice(0, -":queues".length).replace(/[\\*?[\]]/g, "\\$&")}:{*}:state`;
    for (const master of mastersOf(redis)) {
      let cursor = "0";
      do {
        const [next, found] = await answered(master.scan(cursor, "MATCH", pattern, "COUNT", scanCount));
        missing += await addAll(found.flatMap((key) => keys.queueOf(key) ?? []));
        cursor = next;
      } while (cursor !== "0");
    }
    await addAll([marker]);
    // Nothing is left to do. It also comes at the first start on a Redis, of a queue that a source reports meanwhile.
    if (missing > 0) logger.info({ queues: missing }, "listed queues that were not in the index");
  }

  function complete(): Promise<void> {
    completing ??= completeNow().finally(() => {
      completing = undefined;
    });
    return completing;
  }

  /** Completes the index if it has no marker. When that fails, what is there is listed: Redis may only not be written to. */
  async function completeBeforeList(): Promise<void> {
    if ((await ask(() => redis.zscore(keys.index, marker))) !== null) return;
    if (clock.now() < completeFailedAtMs + retryCompletingMs) return;
    const completed = complete().then(
      () => true,
      () => {
        completeFailedAtMs = clock.now();
        return true;
      },
    );
    const late = new AbortController();
    const isDone = await Promise.race([completed, pause(maxCompletingMs, late.signal).then(() => false)]);
    late.abort();
    if (!isDone) throw new AppError("SERVICE_UNAVAILABLE", beingCompleted, { retryAfterSeconds: 1 });
  }

  /** @returns how many of them were not listed. */
  async function addAll(names: readonly string[]): Promise<number> {
    if (names.length === 0) return 0;
    const args = [Number.MAX_SAFE_INTEGER, 0, ...names];
    const reply = await ask(() => runScript(redis, scriptWhenFull, { keys: [keys.index], args }));
    return namedReply<ListReply>(reply).created;
  }

  async function add(queues: readonly string[]): Promise<void> {
    await addAll(queues);
  }

  return {
    async list({ prefix = "", after = null, limit }) {
      if (limit <= 0) return [];
      if (after === null) await completeBeforeList();
      const fromPrefix = prefix === "" ? behindMarker : `[${prefix}`;
      const isBehindPrefix = after !== null && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0;
      const from = isBehindPrefix ? `(${after}` : fromPrefix;
      // No name contains the byte 0xff, so this is behind every name that begins with the prefix.
      const to = prefix === "" ? "+" : Buffer.concat([Buffer.from(`(${prefix}`), Buffer.from([0xff])]);
      return ask(() => redis.zrangebylex(keys.index, from, to, "LIMIT", 0, limit));
    },
    count: () => ask(() => redis.zlexcount(keys.index, behindMarker, "+")),
    async admit(queues) {
      const unsure = queues.filter((queue) => admitted.get(queue) === undefined);
      if (unsure.length === 0) return;
      const names = sources();
      const args = [maxKnownQueues, names.length, ...names, ...unsure];
      const reply = await ask(() => runScript(redis, script, { keys: [keys.index], args }));
      const { isListed, created, recorded = 0, refused = [] } = namedReply<ListReply>(reply);
      if (isListed !== 1) throw tooManyQueues({ recorded, created, newQueues: refused, max: maxKnownQueues });
      for (const queue of unsure) admitted.set(queue, true);
    },
    add,
    complete,
    async unlist(queues) {
      if (queues.length === 0) return;
      for (const queue of queues) admitted.delete(queue);
      await ask(() => redis.zrem(keys.index, ...queues));
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

const beingCompleted = "the list of queues is made again, since Redis has lost it; retry after 1 s";

/** What list-recorded.lua returns, whose header says what it means. */
interface ListReply {
  readonly isListed: 0 | 1;
  readonly created: number;
  readonly recorded?: number;
  readonly refused?: readonly string[];
}

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
