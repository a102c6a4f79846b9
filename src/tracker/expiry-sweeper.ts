import { randomBytes } from "node:crypto";
import { AppError, messageOf } from "../core/errors.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { allowOutOfMemory, loadScript, runScript } from "../redis/scripts.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import type { DataLoss } from "./data-loss.ts";
import type { Forget } from "./forget.ts";
import type { QueueIndex } from "./queue-index.ts";
import type { RecordedQueues } from "./recorded-queues.ts";
import type { EmptyQueue, Recorder } from "./recorder.ts";

export interface ExpirySweeperOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly index: Pick<QueueIndex, "list" | "unlist" | "complete">;
  readonly recorded: Pick<RecordedQueues, "mark" | "marked">;
  readonly recorder: Pick<Recorder, "sweep">;
  readonly dataLoss: Pick<DataLoss, "reportGone">;
  readonly forget: Forget;
  /** A recorded queue with no jobs and no event for so long is forgotten, in ms. */
  readonly queueTtlMs: number;
  readonly logger: Logger;
  /** @default 60_000 // a minute */
  readonly everyMs?: number;
}

const page = 200;

/**
 * Once a minute lets every queue drop its ghosts and free what it remembers no longer, forgets the recorded queues that are no
 * longer used, takes the names of queues that have no state out of the index, and completes an index that was evicted. What is read
 * leaves ghosts out whether they have been dropped or not.
 *
 * One process at a time does it: of two, one takes out the name of a queue that the other has found to be lost, which is not listed for a
 * moment then. A turn is renewed with each page, and a sweep ends when another process has it.
 */
export function createExpirySweeper({
  redis,
  keys,
  index,
  recorded,
  recorder,
  dataLoss,
  forget,
  queueTtlMs,
  logger,
  everyMs = 60_000,
}: ExpirySweeperOptions): Service {
  const turnUrl = new URL("lua/sweep-turn.lua", import.meta.url);
  // A sweep makes room.
  const turnScript = allowOutOfMemory(loadScript("queueLatencySweepTurn", turnUrl));
  const turn = {
    keys: [keys.sweepLease],
    args: [randomBytes(12).toString("base64url"), Math.ceil(everyMs * 0.9)],
  };
  let timer: NodeJS.Timeout | undefined;
  let sweeping: Promise<void> | undefined;
  let stopped = false;

  /** A queue that has got an event meanwhile stays. @returns how many were forgotten. */
  async function forgetIdle(empty: readonly EmptyQueue[]): Promise<number> {
    const forgotten = await Promise.all(
      empty
        .filter(({ idleMs }) => idleMs >= queueTtlMs)
        .map(({ queue, atMs }) => forget(queue, { idleSinceMs: atMs - queueTtlMs })),
    );
    return forgotten.filter(Boolean).length;
  }

  async function sweep(): Promise<void> {
    let after: string | null = null;
    let dropped = 0;
    let forgotten = 0;
    const failures: Error[] = [];
    while (!stopped && (await runScript(redis, turnScript, turn)) !== null) {
      const names: string[] = await index.list({ after, limit: page });
      const swept = await recorder.sweep(names);
      dropped += swept.lost;
      const lost = new Set(await dataLoss.reportGone(swept.unknown));
      await index.unlist(swept.unknown.filter((queue) => !lost.has(queue)));
      const marked = new Set(await recorded.marked(swept.known));
      await recorded.mark(swept.known.filter((queue) => !marked.has(queue)));
      forgotten += await forgetIdle(swept.empty);
      failures.push(...swept.failures);
      after = names.at(-1) ?? null;
      if (names.length === page) continue;
      // Last, for it writes, and Redis may be full.
      await index.complete();
      break;
    }
    const isAway = (failure: Error) => failure instanceof AppError;
    const broken = failures.filter((failure) => !isAway(failure));
    if (dropped > 0) logger.warn({ lost: dropped }, "dropped jobs that waited longer than MAX_WAIT");
    if (forgotten > 0) logger.info({ queues: forgotten }, "forgot queues that were idle for QUEUE_TTL");
    if (broken.length > 0) {
      logger.error({ err: broken[0], queues: broken.length }, "some queues cannot be swept");
    }
    const away = failures.find(isAway);
    if (away !== undefined) throw away;
  }

  return {
    async start() {
      timer = setInterval(() => {
        sweeping ??= sweep()
          .catch((error: unknown) => {
            logger.warn({ err: messageOf(error) }, "could not sweep; the next round makes up for it");
          })
          .finally(() => {
            sweeping = undefined;
          });
      }, everyMs);
      timer.unref();
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await sweeping;
    },
  };
}
