import { monotonicClock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { FollowSink } from "../core/following.ts";
import type { Logger } from "../core/logger.ts";
import { pause } from "../core/pause.ts";
import { queueNameProblem } from "../core/queue-name.ts";
import type { Service } from "../core/service.ts";
import { createQueueProgress, type QueueProgress } from "./bullmq-queue.ts";
import { createBullmqReader, type Reading, type ReadReply, type ReadRequest } from "./bullmq-reader.ts";
import { createOutage } from "./outage.ts";

export interface BullmqSourceOptions {
  /** `redis://...` or `rediss://...`; `?prefix=` where BullMQ's own prefix is not `bull`. */
  readonly url: string;
  /** How often what was counted is compared with the real lists, in ms. */
  readonly reconcileMs: number;
  readonly sink: FollowSink;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. @default "bullmq" */
  readonly source?: string;
}

/** Queues that one call reads. */
const queuesPerCall = 20;
/** Steps of a look through the keys in one round, until all keys have been looked through once. */
const firstScanSteps = 10;
const rescanMs = 1_000;
const roundMs = 100;

/**
 * Follows every queue of BullMQ 5 or 6 through its own event stream, and compares with its real lists each `reconcileMs`.
 *
 * - Queues are found by their `meta` keys with SCAN, in small steps and again and again. One whose `meta` has gone was
 *   obliterated: it is forgotten.
 * - A queue is read each 200 ms with one script for 20 queues, which gives only what is new in the streams. Event ids are
 *   times of that Redis's clock.
 * - At first sight, and wherever events were missed (a trimmed stream, `drain()`, a reader that was away), the real lists are
 *   read in pages of some hundred jobs. Until that is done the accuracy is LOWER_BOUND at first sight, else UNKNOWN.
 * - A job is claimable from its `waiting` event on, and a delayed one from when it is due or promoted, whichever is earlier.
 *
 * While the Redis is away it warns once and tries again; the sink hears nothing, and its queues become stale. `start()` does
 * not wait for anything.
 *
 * @throws StartError when the URL is not Redis's.
 */
export function createBullmqSource(options: BullmqSourceOptions): Service {
  const { reconcileMs, sink, logger, source = "bullmq" } = options;
  const reader = createBullmqReader(options.url, source);
  const away = createOutage(logger, source, "BullMQ cannot be read", "BullMQ can be read again");
  const unheard = createOutage(
    logger,
    source,
    "What BullMQ says is not stored",
    "What BullMQ says is stored again",
  );
  const stopping = new AbortController();
  const queues = new Map<string, QueueProgress>();
  let isLoaded = false;
  let scanCursor = "0";
  let scanAtMs = 0;
  let wasScanned = false;
  let warnedOfNames = false;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await load();
        await discover();
        await readDue();
        away.worked();
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (!(error instanceof Unheard)) away.failed(messageOf(error));
        await pause(roundMs, stopping.signal);
      }
      const dueMs = Math.min(...[...queues.values()].map((progress) => progress.dueMs));
      await pause(Math.min(roundMs, dueMs - monotonicClock.now()), stopping.signal);
    }
  }

  /** The queues that were followed before: some of them may have gone since. */
  async function load(): Promise<void> {
    if (isLoaded) return;
    for (const [queue, stored] of await toSink(sink.cursors(source))) {
      queues.set(queue, createQueueProgress({ source, queue, reconcileMs, ...stored }));
    }
    isLoaded = true;
  }

  async function discover(): Promise<void> {
    if (monotonicClock.now() < scanAtMs) return;
    for (let step = 0; step < (wasScanned ? 1 : firstScanSteps); step++) {
      const found = await reader.scan(scanCursor);
      for (const queue of found.queues) {
        if (queues.has(queue) || !isUsable(queue)) continue;
        const nothing = { cursor: null, repairing: false };
        queues.set(queue, createQueueProgress({ source, queue, reconcileMs, ...nothing }));
      }
      scanCursor = found.cursor;
      if (scanCursor !== "0") continue;
      wasScanned = true;
      scanAtMs = monotonicClock.now() + rescanMs;
      return;
    }
    if (wasScanned) scanAtMs = monotonicClock.now() + roundMs;
  }

  function isUsable(queue: string): boolean {
    if (queueNameProblem(`${source}/${queue}`) === null) return true;
    if (!warnedOfNames) logger.warn({ source, queue }, "Queues with unusable names are left out");
    warnedOfNames = true;
    return false;
  }

  async function readDue(): Promise<void> {
    const nowMs = monotonicClock.now();
    const due = [...queues].filter(([, progress]) => progress.dueMs <= nowMs);
    const requests = due.map(([queue, progress]) => [progress.request(nowMs), progress, queue] as const);
    // A page of jobs is enough for one call.
    for (const entry of requests) if (entry[1].repairing) await readSome([entry]);
    const others = requests.filter(([, progress]) => !progress.repairing && progress.dueMs <= nowMs);
    for (let from = 0; from < others.length; from += queuesPerCall)
      await readSome(others.slice(from, from + queuesPerCall));
  }

  async function readSome(asked: readonly (readonly [ReadRequest, QueueProgress, string])[]): Promise<void> {
    stopping.signal.throwIfAborted();
    const reading = await reader.read(asked.map(([request]) => request));
    const outcomes = await Promise.allSettled(
      asked.map(([request, progress], i) => tell(request, progress, reading.replies[i], reading)),
    );
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    unheard.worked();
  }

  async function tell(
    request: ReadRequest,
    progress: QueueProgress,
    reply: ReadReply | undefined,
    clocks: Reading,
  ): Promise<void> {
    if (reply === undefined) return;
    const { queue } = request;
    if (!reply.exists) {
      await toSink(sink.gone(source, queue));
      queues.delete(queue);
      return;
    }
    progress.postpone(monotonicClock.now());
    const followed = progress.learn(request, reply, clocks, monotonicClock.now());
    const result = followed === null ? null : await toSink(sink.follow(followed));
    progress.told(request, reply, result, monotonicClock.now());
  }

  /** Keeps apart whose failure it is: the watched Redis is not away because ours is. */
  async function toSink<T>(telling: Promise<T>): Promise<T> {
    try {
      return await telling;
    } catch (error) {
      unheard.failed(messageOf(error));
      throw new Unheard();
    }
  }

  return {
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      reader.close();
      await running;
    },
  };
}

class Unheard extends Error {}
