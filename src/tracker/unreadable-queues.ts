import { messageOf } from "../core/errors.ts";
import { missingSnapshot, type QueueSnapshot } from "../core/snapshot.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts } from "../redis/scripts.ts";
import type { Logger } from "../runtime/logger.ts";
import { namedReply } from "../runtime/named-reply.ts";

export interface UnreadableQueuesOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly logger: Logger;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

export interface UnreadableQueues {
  /**
   * What is still readable of queues whose keys are not what was written: a snapshot of accuracy UNKNOWN, which is to be read
   * again after five seconds. An error where Redis does not answer. The first time for each is logged.
   */
  read(failures: ReadonlyMap<string, Error>): Promise<ReadonlyMap<string, QueueSnapshot | Error>>;
  /** This queue could be read. */
  readable(queue: string): void;
}

const rereadMs = 5_000;
/** Of more queues, those that failed last are logged each time. */
const maxLogged = 1_000;

export function createUnreadableQueues({
  redis,
  keys,
  logger,
  now,
}: UnreadableQueuesOptions): UnreadableQueues {
  const script = loadScript("queueLatencyUnreadable", new URL("lua/unreadable.lua", import.meta.url));
  const logged = new Set<string>();

  return {
    async read(failures) {
      const queues = [...failures.keys()];
      const calls = queues.map((queue) => ({
        keys: [keys.waiting(queue), keys.state(queue)],
        args: [now?.() ?? ""],
      }));
      const replies = await runScripts(redis, script, calls);
      for (const [queue, error] of failures) {
        if (logged.has(queue)) continue;
        if (logged.size < maxLogged) logged.add(queue);
        logger.error(
          { queue, err: messageOf(error) },
          "queue is unreadable: its keys are not what was written",
        );
      }
      return new Map(queues.map((queue, i) => [queue, toSnapshot(queue, replies[i])]));
    },
    readable(queue) {
      if (logged.delete(queue)) logger.info({ queue }, "queue is readable again");
    },
  };
}

/** What unreadable.lua returns. */
interface UnreadableReply {
  readonly now: number;
  readonly source?: string;
  readonly isPaused: 0 | 1;
  readonly hasJobs: 0 | 1;
}

function toSnapshot(queue: string, reply: unknown): QueueSnapshot | Error {
  if (reply instanceof Error) return reply;
  const { now: atMs, source = null, isPaused, hasJobs } = namedReply<UnreadableReply>(reply);
  return {
    ...missingSnapshot(queue, atMs),
    source,
    state: isPaused === 1 ? "PAUSED" : hasJobs === 1 ? "WAITING" : "EMPTY",
    unreadable: true,
    changesAtMs: atMs + rereadMs,
  };
}
