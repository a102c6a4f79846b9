import { LeaseLostError } from "../core/lease.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScript } from "../redis/scripts.ts";
import { namedReply } from "../runtime/named-reply.ts";
import type { Writer } from "./acknowledged-writes.ts";
import type { QueueIndex } from "./queue-index.ts";
import type { RecordedQueues } from "./recorded-queues.ts";

export interface ForgetOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly index: QueueIndex;
  readonly recorded: Pick<RecordedQueues, "mark" | "unmark">;
  readonly writer: Writer;
  readonly eventWindowMs: number;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

/** Which queue may be removed; without one, any. */
export interface ForgetCondition {
  /** Only a queue of this source. */
  readonly source?: string;
  /** @throws LeaseLostError when a newer fence is stored. */
  readonly fence?: number | undefined;
  /** Only a recorded queue that has no jobs, and no event after this time, in ms by Redis's clock. */
  readonly idleSinceMs?: number;
}

/**
 * Removes all that is known of a queue.
 *
 * @returns false when nothing was known, or when the condition is not met.
 */
export type Forget = (queue: string, condition?: ForgetCondition) => Promise<boolean>;

export function createForget({
  redis,
  keys,
  index,
  recorded,
  writer,
  eventWindowMs,
  now,
}: ForgetOptions): Forget {
  const script = loadScript("queueLatencyForget", new URL("lua/forget.lua", import.meta.url));
  return async (queue, { source = "", fence = "", idleSinceMs = "" } = {}) => {
    // A job system's queue never was.
    if (source === "") await recorded.unmark([queue]);
    const reply = await runScript(redis, script, {
      keys: keys.all(queue),
      args: [
        ...[keys.changes, queue, source, fence, now?.() ?? "", eventWindowMs, writer.answered(queue)],
        idleSinceMs,
      ],
    });
    const { newerFence, isLeft, wasKnown, now: atMs, forgets } = namedReply<ForgetReply>(reply);
    if (newerFence !== undefined) throw new LeaseLostError(source, newerFence);
    if (atMs !== undefined && forgets !== undefined) writer.learn(queue, { forgets, count: 0, atMs });
    if (source === "") {
      // Another process may have marked it meanwhile; it stays, or the queue does.
      if (isLeft === 1) await recorded.mark([queue]);
      else await recorded.unmark([queue]);
    }
    // Out of the index last: one that is listed without a state is passed over, the other way round it would be hidden.
    if (isLeft === 0) await index.unlist([queue]);
    return wasKnown === 1;
  };
}

/** What forget.lua returns, whose header says what it means. */
interface ForgetReply {
  readonly newerFence?: number;
  readonly isLeft?: 0 | 1;
  readonly wasKnown?: 0 | 1;
  readonly now?: number;
  readonly forgets?: number;
}
