import { ageSnapshot, type QueueSnapshot } from "../../src/core/snapshot.ts";
import type { ChangeFeedListener } from "../../src/live/change-feed.ts";
import { createLive, type LiveOptions } from "../../src/live/live.ts";
import type { Watch } from "../../src/live/watch.ts";
import { silentLogger } from "./logger.ts";

export const startMs = 1_790_000_000_000;
/** For tests with a clock of their own: the time of the Redis that they script. */
export const now = () => startMs + performance.now();

export function snapshot(queue: string, rest: Partial<QueueSnapshot> = {}): QueueSnapshot {
  return {
    queue,
    source: "events",
    state: "EMPTY",
    oldestSinceMs: null,
    latencyMs: 0,
    depth: 0,
    scheduled: 0,
    lost: 0,
    accuracy: "EXACT",
    measuredAtMs: now(),
    stale: false,
    changesAtMs: null,
    clockSkewMs: null,
    throughput: {},
    waitTime: {},
    ...rest,
  };
}

/** Reads all pushes at once as they come: what each had, by when it came. */
export function collect(
  watch: Watch,
  show = ({ queue }: QueueSnapshot) => queue,
): () => Readonly<Record<number, string>> {
  const pushes: Record<number, string> = {};
  const startedAt = performance.now();
  void (async () => {
    for await (const push of watch) {
      pushes[Math.round(performance.now() - startedAt)] = push.map(show).join("");
    }
  })();
  return () => pushes;
}

/** Stands for Redis: answers reads when the test says so. */
export interface ScriptedRedis {
  /** Answers at once from now on. */
  isQuick: boolean;
  /** How many reads wait for an answer. */
  readonly asked: number;
  /** How many reads there have been. */
  readonly reads: number;
  set(queue: string, rest: Partial<QueueSnapshot>): void;
  read(queues: readonly string[]): Promise<QueueSnapshot[]>;
  /** Answers all reads that wait. */
  answer(): void;
  refuse(error: Error): void;
  /** Reads for one that waits, the oldest unless the test chooses another, to be answered when the result is called. */
  take(index?: number): () => void;
  /** The same promise, with reads answered until it is settled. */
  answered<T>(promise: Promise<T>): Promise<T>;
}

function scriptedRedis(): ScriptedRedis {
  const states = new Map<string, Partial<QueueSnapshot>>();
  const waiting: { readonly queues: readonly string[]; settle: PromiseWithResolvers<QueueSnapshot[]> }[] = [];
  const stateOf = (queues: readonly string[]) =>
    queues.map((queue) => ageSnapshot(snapshot(queue, states.get(queue)), now()));
  let reads = 0;
  const redis: ScriptedRedis = {
    isQuick: false,
    get reads() {
      return reads;
    },
    get asked() {
      return waiting.length;
    },
    set: (queue, rest) => states.set(queue, rest),
    read(queues) {
      reads += 1;
      if (redis.isQuick) return Promise.resolve(stateOf(queues));
      const settle = Promise.withResolvers<QueueSnapshot[]>();
      waiting.push({ queues, settle });
      return settle.promise;
    },
    answer() {
      for (const { queues, settle } of waiting.splice(0)) settle.resolve(stateOf(queues));
    },
    refuse(error) {
      for (const { settle } of waiting.splice(0)) settle.reject(error);
    },
    take(index = 0) {
      const [taken] = waiting.splice(index, 1);
      if (taken === undefined) throw new Error("no read waits");
      const state = stateOf(taken.queues);
      return () => taken.settle.resolve(state);
    },
    async answered(promise) {
      redis.answer();
      return promise;
    },
  };
  return redis;
}

/** Live with no I/O: what it reads and receives is what the test says. */
export async function openLive(options: Partial<LiveOptions> = {}) {
  const redis = scriptedRedis();
  let added: ChangeFeedListener | undefined;
  const feed = { isConnected: true };
  const listener = () => {
    if (added === undefined) throw new Error("the feed has no listener");
    return added;
  };
  const live = createLive({
    feed: {
      get isConnected() {
        return feed.isConnected;
      },
      listen: (its) => {
        added = its;
      },
      async start() {},
      async stop() {},
    },
    read: (queues) => redis.read(queues),
    logger: silentLogger,
    wallClock: { epochMs: now },
    ...options,
  });
  await live.start();
  return { live, redis, feed, listener, change: (queue: string) => listener().onChange(queue) };
}
