import type { ClockWatch } from "../redis/clock-watch.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { allowOutOfMemory, loadScript, runScripts, type ScriptCall } from "../redis/scripts.ts";
import type { MonotonicClock } from "../runtime/clock.ts";
import { namedReply } from "../runtime/named-reply.ts";
import type { Writer } from "./acknowledged-writes.ts";
import { type EventColumns, fingerprint } from "./event-columns.ts";

export interface FoldOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** For how long tombstones and batches are remembered, in ms. */
  readonly eventWindowMs: number;
  /** Jobs that wait longer are ghosts, in ms. */
  readonly maxWaitMs: number;
  readonly writer: Writer;
  readonly clocks: Pick<ClockWatch, "stepsOf">;
  /** Called when Redis turns out to have lost what it had acknowledged, with the number of queues. Each is INCOMPLETE by then. */
  readonly onDataLoss: (queues: number) => void;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
  /** Tests only: beside `now`, the clock by which it is noticed that Redis's was set. */
  readonly clock?: MonotonicClock | undefined;
}

/** What is folded into one queue: without events, only ghosts and old memory are dropped, as a sweep does. */
export interface QueueFold {
  readonly queue: string;
  readonly events: EventColumns;
  readonly batchId?: string | null;
  /** What is left alone: queues that are not known, or also jobs that are not. @default nothing */
  readonly only?: "known queues" | "known jobs";
}

/** What fold.lua returns, whose header says what it means. A number that is missing is 0. */
export interface FoldReply {
  readonly accepted?: number;
  readonly duplicates?: number;
  readonly early?: number;
  readonly expired?: number;
  readonly lost?: number;
  readonly taken?: number;
  readonly isKnown?: 1;
  readonly isIncomplete?: 1;
  readonly idleSince?: number;
  /** Missing when nothing was folded. */
  readonly now?: number;
  /** Both are missing for a sweep, too. */
  readonly forgets?: number;
  readonly count?: number;
}

/**
 * Folds into each queue in one atomic script call, all in one round trip, and learns what Redis has acknowledged.
 *
 * @param isFull to run it also while Redis is at its `maxmemory`. @returns an entry a queue, in order: a reply or an error.
 */
export type Fold = (folds: readonly QueueFold[], isFull?: boolean) => Promise<readonly (FoldReply | Error)[]>;

const onlyArgument = { "known queues": 1, "known jobs": 2 } as const;

export function createFold(options: FoldOptions): Fold {
  const { redis, keys, eventWindowMs, maxWaitMs, writer, clocks, onDataLoss } = options;
  const script = loadScript("queueLatencyFold", new URL("lua/fold.lua", import.meta.url));
  /** Redis does not run the other one any further than to its first write when it is full. */
  const scriptWhenFull = allowOutOfMemory(script);
  const noWriter = ["", ""];

  function callOf({ queue, events, batchId = null, only }: QueueFold): ScriptCall {
    const columns = events.toArguments();
    const batch = batchId === null ? ["", ""] : [batchId, fingerprint(columns)];
    // A sweep acknowledges nothing, so nothing of it is compared with Redis.
    const asWriter = events.size === 0 ? noWriter : [writer.id, writer.answered(queue)];
    const steps = clocks.stepsOf(queue);
    // With a time of their own tests have no clock that could be set.
    const isWatched = options.now === undefined || options.clock !== undefined;
    const latestMs = isWatched ? steps.latestMs() : Number.POSITIVE_INFINITY;
    const settings = [options.now?.() ?? "", eventWindowMs, maxWaitMs + steps.aheadMs(maxWaitMs)];
    const args = [
      ...settings,
      ...batch,
      keys.changes,
      queue,
      only === undefined ? 0 : onlyArgument[only],
      ...asWriter,
      ...columns,
      Number.isFinite(latestMs) ? latestMs : "",
    ];
    return { keys: keys.all(queue), args };
  }

  /** Also when another queue of the batch failed, this one has been written to. */
  function learn(folds: readonly QueueFold[], replies: readonly (FoldReply | Error)[]): void {
    let incomplete = 0;
    folds.forEach(({ queue }, i) => {
      const reply = replies[i];
      if (reply === undefined || reply instanceof Error) return;
      const { now: atMs, forgets, count, isIncomplete = 0 } = reply;
      if (atMs === undefined || forgets === undefined || count === undefined) return;
      writer.learn(queue, { forgets, count, atMs });
      incomplete += isIncomplete;
    });
    if (incomplete > 0) onDataLoss(incomplete);
  }

  return async (folds, isFull = false) => {
    const raw = await runScripts(redis, isFull ? scriptWhenFull : script, folds.map(callOf));
    const replies = raw.map((reply) => (reply instanceof Error ? reply : namedReply<FoldReply>(reply)));
    learn(folds, replies);
    return replies;
  };
}
