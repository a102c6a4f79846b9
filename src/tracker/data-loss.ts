import { AppError, messageOf } from "../core/errors.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { allowOutOfMemory, loadScript, runScript, runScripts } from "../redis/scripts.ts";
import type { Logger } from "../runtime/logger.ts";
import { namedReply } from "../runtime/named-reply.ts";
import type { Service } from "../runtime/service.ts";
import type { Writer } from "./acknowledged-writes.ts";
import { namePages } from "./name-pages.ts";
import type { QueueIndex } from "./queue-index.ts";
import type { RecordedQueues } from "./recorded-queues.ts";

/**
 * Notices that Redis has lost what it had acknowledged to this process, and marks the queues. A read or a write of a
 * queue checks that queue; all are checked when the connection has come back, and from time to time.
 */
export interface DataLoss extends Service {
  /**
   * Marks those of the queues of which Redis has lost something.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer: then the next check marks it.
   */
  report(queues: readonly string[]): Promise<void>;
  /**
   * Marks every recorded queue: the end of Redis's data is lost, and may belong to any of them.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  reportAll(): Promise<void>;
  /**
   * Marks those of the queues, none of which has a state, that must have one.
   *
   * @returns them. @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  reportGone(queues: readonly string[]): Promise<readonly string[]>;
  /**
   * Marks those of the queues that were recorded as new ones though all of their keys had to be there.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  reportAnew(queues: readonly string[]): Promise<void>;
  /** This number of queues was marked: where something was lost there may be more. */
  reported(queues: number): void;
  /** Clears the mark of a queue. @returns false when there was none. */
  clear(queue: string): Promise<boolean>;
}

export interface DataLossOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly index: QueueIndex;
  readonly recorded: Pick<RecordedQueues, "mark" | "unmark" | "marked">;
  readonly writer: Writer;
  readonly logger: Logger;
  readonly eventWindowMs: number;
  readonly maxWaitMs: number;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
  /** For connections that do not say when they lead elsewhere. @default 30_000 // 30 seconds */
  readonly everyMs?: number;
}

const pageSize = 500;
const retryMs = 1_000;
/** A loss is found queue by queue, and logged in one line. */
const logAfterMs = 1_000;

export function createDataLoss(options: DataLossOptions): DataLoss {
  const {
    redis,
    keys,
    index,
    recorded,
    writer,
    logger,
    eventWindowMs,
    maxWaitMs,
    everyMs = 30_000,
  } = options;
  const lua = (file: string) => new URL(`lua/${file}.lua`, import.meta.url);
  // Without it no queue that has lost something could be read while Redis is full.
  const reportScript = allowOutOfMemory(loadScript("queueLatencyReportDataLoss", lua("report-data-loss")));
  const clearScript = loadScript("queueLatencyClearDataLoss", lua("clear-data-loss"));
  let timer: NodeJS.Timeout | undefined;
  let retryTimer: NodeJS.Timeout | undefined;
  let logTimer: NodeJS.Timeout | undefined;
  /** Queues that have been found and are not in the log yet. */
  let unlogged = 0;
  let checking: Promise<void> | undefined;
  let isCheckWanted = false;
  let isStopped = false;

  function log(): void {
    clearTimeout(logTimer);
    logTimer = undefined;
    if (unlogged === 0) return;
    const message =
      "Redis has lost writes that it had acknowledged, or evicted keys; these queues are INCOMPLETE for MAX_WAIT, or until trustQueue";
    logger.error({ queues: unlogged }, message);
    unlogged = 0;
  }

  function note(queues: number): void {
    unlogged += queues;
    if (unlogged > 0) logTimer ??= setTimeout(log, logAfterMs).unref();
  }

  /** A broken queue is skipped: reads and writes of it report why. */
  async function reportOf(
    queues: readonly string[],
    of: Certainty = "what was acknowledged",
  ): Promise<readonly string[]> {
    const replies = await runScripts(
      redis,
      reportScript,
      queues.map((queue) => {
        const args = [options.now?.() ?? "", eventWindowMs, writer.id, writer.answered(queue)];
        return { keys: keys.all(queue), args: [...args, keys.changes, queue, certainties[of]] };
      }),
    );
    const found: string[] = [];
    const known = queues.filter((queue, i) => {
      const reply = replies[i];
      if (reply instanceof Error) return false;
      const { isKnown, now: atMs, forgets, count } = namedReply<ReportReply>(reply);
      if (atMs !== undefined && forgets !== undefined && count !== undefined) {
        found.push(queue);
        writer.learn(queue, { forgets, count, atMs });
      }
      return isKnown === 1;
    });
    note(found.length);
    // Its name may be lost where its state is not, for that comes first.
    await Promise.all([index.add(known), recorded.mark(known)]);
    const away = replies.find((reply) => reply instanceof AppError);
    if (away !== undefined) throw away;
    return found;
  }

  async function checkAll(): Promise<void> {
    const queues = writer.queues();
    for (let from = 0; from < queues.length; from += pageSize)
      await reportOf(queues.slice(from, from + pageSize));
  }

  async function checkWhileWanted(): Promise<void> {
    while (isCheckWanted && !isStopped) {
      isCheckWanted = false;
      await checkAll().catch((error: unknown) => {
        logger.debug({ err: messageOf(error) }, "could not look for lost writes; trying again");
        retryTimer ??= setTimeout(check, retryMs).unref();
      });
    }
    checking = undefined;
  }

  function check(): void {
    clearTimeout(retryTimer);
    retryTimer = undefined;
    isCheckWanted = true;
    checking ??= checkWhileWanted();
  }

  return {
    async report(queues) {
      if ((await reportOf(queues)).length > 0) check();
    },
    async reportGone(queues) {
      const marked = await recorded.marked(queues);
      if (marked.length === 0) return [];
      const found = await reportOf(marked, "all of a recorded queue");
      // One that was forgotten while another process marked it.
      const forgotten = new Set(marked).difference(new Set(found));
      await recorded.unmark([...forgotten]);
      if (found.length > 0) check();
      return found;
    },
    async reportAnew(queues) {
      if (queues.length > 0 && (await reportOf(queues, "all of a queue that is recorded anew")).length > 0)
        check();
    },
    async reportAll() {
      for await (const names of namePages(index, { pageSize }))
        await reportOf(names, "anything of a known queue");
    },
    reported(queues) {
      note(queues);
      check();
    },
    async clear(queue) {
      const reply = await runScript(redis, clearScript, {
        keys: [keys.state(queue)],
        args: [options.now?.() ?? "", maxWaitMs, keys.changes, queue],
      });
      return reply === 1;
    },
    async start() {
      redis.on("ready", check);
      redis.on("node ready", check);
      timer = setInterval(check, everyMs);
      timer.unref();
    },
    async stop() {
      isStopped = true;
      redis.off("ready", check);
      redis.off("node ready", check);
      clearInterval(timer);
      await checking;
      clearTimeout(retryTimer);
      log();
    },
  };
}

/** What is certain to be lost. */
const certainties = {
  "what was acknowledged": 0,
  "anything of a known queue": 1,
  "all of a recorded queue": 2,
  "all of a queue that is recorded anew": 3,
} as const;
type Certainty = keyof typeof certainties;

/** What report-data-loss.lua returns; the last three only of a queue that it has marked. */
interface ReportReply {
  readonly isKnown: 0 | 1;
  readonly now?: number;
  readonly forgets?: number;
  readonly count?: number;
}
