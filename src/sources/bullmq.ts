import type { FollowedCursor, FollowSink } from "../core/log-following.ts";
import { queueNameProblem } from "../core/queue-name.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import { createQueueProgress, type QueueProgress } from "./bullmq-queue.ts";
import { createBullmqReader, type Reading, type ReadReply, type ReadRequest } from "./bullmq-reader.ts";
import { scanKeys } from "./key-scan.ts";
import { isRefusal } from "./resumed-scan.ts";
import { createSourceOutages } from "./source-outages.ts";

export interface BullmqSourceOptions {
  /**
   * `redis://...` or `rediss://...`; of its parameters `prefix` is BullMQ's own where it is not `bull`, and `queues` names the
   * queues to read, so that no keys are looked through. It may name one node of a Redis Cluster.
   */
  readonly url: string;
  /** Max pause between two repairs of one queue, in ms. What had no event is corrected within it and a second. */
  readonly reconcileMs: number;
  readonly sink: FollowSink;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. @default "bullmq" */
  readonly source?: string;
}

/** Queues that one call reads. */
const queuesPerCall = 20;
/** The share of the watched Redis's time that looking for queues may take. */
const maxScanShare = 0.1;
const namesEveryMs = 1_000;
const roundMs = 100;
const minPaceMs = 20;
/** Readings a second, at most, of all queues together that are read more often than others. */
const maxHurriedReadings = 1_000;
/** Comparisons with the real lists a second, of all queues together, unless that makes less than one a second of each. */
const maxChecks = 500;
const maxCheckMs = 1_000;

/**
 * Follows every queue of BullMQ 5 or 6 through its own event stream, and compares it with its real lists: with each
 * reading while there are few queues, each second while there are many.
 *
 * - Queues are found by their `meta` keys with SCAN, again and again, in a tenth of that Redis's time at most. One whose `meta` has gone was
 *   obliterated: it is forgotten.
 * - A queue is read each 200 ms with one script for 20 queues, which returns only what is new in the streams. Event ids are
 *   times of that Redis's clock. A queue whose stream is too short for that is read each 20 ms at most.
 * - At first, and wherever the stream did not have everything (it was trimmed, `drain()`, a reader that was away), the real lists
 *   are read in pages of some hundred jobs. Until that is done the accuracy is LOWER_BOUND at first, else UNKNOWN.
 * - A job is claimable from its `waiting` event on, and a delayed one from when it is due or promoted, whichever is earlier.
 *
 * While the Redis is away it warns once and tries again; nothing is reported, and its queues become stale. `start()` does
 * not wait for anything.
 *
 * @throws StartError when the URL is not Redis's.
 */
export function createBullmqSource(options: BullmqSourceOptions): Service {
  const { reconcileMs, sink, logger, source = "bullmq" } = options;
  const reader = createBullmqReader(options.url, source);
  const { away, unstored, empty } = createSourceOutages(logger, source, sink);
  const refused = createOutageLog({
    logger,
    ...(reader.names === null
      ? {
          begins: "SCAN refused: queues are not searched for",
          ends: "SCAN allowed again: queues are searched for",
        }
      : {
          begins: "EXISTS refused: some of the queues in ?queues= are not read",
          ends: "EXISTS allowed again: all queues in ?queues= are read",
        }),
    fields: { source },
  });
  const stopping = new AbortController();
  const queues = new Map<string, QueueProgress>();
  /** Queues of which it was logged that their streams are too short. */
  const trimmed = new Set<string>();
  let isLoaded = false;
  let warnedOfNames = false;
  let hurried = 0;
  let running: Promise<unknown> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        await load();
        const calls = await readDue();
        if (calls > 0) away.recovered();
      } catch (error) {
        if (!(error instanceof NotStored)) fail(error);
        await pause(roundMs, stopping.signal);
      }
      const dueMs = Math.min(...[...queues.values()].map((progress) => progress.dueMs));
      await pause(Math.min(roundMs, dueMs - monotonicClock.now()), stopping.signal);
    }
  }

  function fail(error: unknown): void {
    if (!stopping.signal.aborted) away.failed(error);
  }

  /** While there are queues, their reading shows whether that Redis is away: the search may fail, or succeed, alone. */
  function searched(): void {
    refused.recovered();
    if (queues.size === 0) away.recovered();
  }

  function searchFailed(error: unknown): void {
    if (isRefusal(error)) refused.failed(error);
    else if (queues.size === 0) fail(error);
  }

  /** The queues that were followed before: some of them may have gone since. */
  async function load(): Promise<void> {
    if (isLoaded) return;
    for (const [queue, stored] of await toSink(sink.cursors(source))) add(queue, stored);
    isLoaded = true;
  }

  function add(
    queue: string,
    stored: Omit<FollowedCursor, "cursor"> & { readonly cursor: string | null },
  ): void {
    queues.set(
      queue,
      createQueueProgress({
        ...{ source, queue, reconcileMs, ...stored },
        minPaceMs: () => Math.max(minPaceMs, (1_000 * hurried) / maxHurriedReadings),
        checkMs: () => Math.min(maxCheckMs, reconcileMs, (1_000 * queues.size) / maxChecks),
        onTrimmed: (maxEvents) => warnOfTrimming(queue, maxEvents),
      }),
    );
    empty.recovered();
  }

  function addFound(found: readonly string[]): void {
    // Else what is stored of it would not be known.
    if (!isLoaded) return;
    for (const queue of found) {
      if (!queues.has(queue) && isUsable(queue)) add(queue, { cursor: null, repairing: false });
    }
  }

  async function discover(): Promise<void> {
    const { names } = reader;
    if (names !== null) return await look(names);
    let found = 0;
    await scanKeys({
      async step(position) {
        const step = await reader.scan(position);
        searched();
        addFound(step.queues);
        found += step.queues.length;
        return step.position;
      },
      maxShare: maxScanShare,
      onPassed() {
        if (found === 0)
          reportEmpty(
            `no key is named ${reader.prefix}:NAME:meta; ?prefix= sets another prefix, and BULL_URL is for Bull 3 and 4`,
          ).catch(searchFailed);
        found = 0;
      },
      onFailed: searchFailed,
      signal: stopping.signal,
    });
  }

  async function reportEmpty(why: string): Promise<void> {
    const others = await reader.foreign();
    if (queues.size === 0 && !stopping.signal.aborted) empty.failed(`${why}; ${others}`);
  }

  /** For the queues that are named, none else. */
  async function look(names: readonly string[]): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const { found, refusal } = await reader.existing(names.filter((name) => !queues.has(name)));
        addFound(found);
        const isAnyThere = queues.size > 0 || found.length > 0;
        if (refusal === null) searched();
        else if (isAnyThere) refused.failed(refusal);
        else fail(refusal);
        if (refusal === null && !isAnyThere) await reportEmpty(`none of ${names.join(", ")} exists`);
      } catch (error) {
        if (queues.size === 0) fail(error);
      }
      await pause(namesEveryMs, stopping.signal);
    }
  }

  function isUsable(queue: string): boolean {
    if (queueNameProblem(`${source}/${queue}`) === null) return true;
    if (!warnedOfNames) logger.warn({ source, queue }, "skipped queues with invalid names");
    warnedOfNames = true;
    return false;
  }

  function warnOfTrimming(queue: string, maxEvents: number): void {
    if (trimmed.has(queue)) return;
    trimmed.add(queue);
    const setting = "streams.events.maxLen";
    logger.warn({ source, queue, setting, value: maxEvents }, "missed events that BullMQ trimmed");
  }

  /** @returns how many calls it took. */
  async function readDue(): Promise<number> {
    const nowMs = monotonicClock.now();
    hurried = [...queues.values()].filter((progress) => progress.isHurried).length;
    const due = [...queues].filter(([, progress]) => progress.dueMs <= nowMs);
    const requests = due.map(([queue, progress]) => [progress.request(nowMs), progress, queue] as const);
    // A page of jobs is enough for one call.
    const calls = requests.filter(([request]) => request.page !== null).map((one) => [one]);
    const others = requests.filter(([request]) => request.page === null);
    for (const group of Map.groupBy(others, ([, , queue]) => reader.groupOf(queue)).values()) {
      for (let from = 0; from < group.length; from += queuesPerCall)
        calls.push(group.slice(from, from + queuesPerCall));
    }
    let failure: PromiseRejectedResult | undefined;
    for (let from = 0; from < calls.length; from += reader.maxCalls) {
      const outcomes = await Promise.allSettled(calls.slice(from, from + reader.maxCalls).map(readSome));
      failure ??= outcomes.find((outcome) => outcome.status === "rejected");
      // Of a Redis Cluster the other nodes may answer.
      if (failure !== undefined && reader.maxCalls === 1) break;
    }
    if (failure !== undefined) throw failure.reason;
    return calls.length;
  }
  async function readSome(asked: readonly (readonly [ReadRequest, QueueProgress, string])[]): Promise<void> {
    stopping.signal.throwIfAborted();
    const reading = await reader.read(asked.map(([request]) => request));
    const outcomes = await Promise.allSettled(
      asked.map(([request, progress], i) => record(request, progress, reading.replies[i], reading)),
    );
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    unstored.recovered();
  }

  async function record(
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
    progress.recorded(request, reply, result, monotonicClock.now());
  }

  /** Keeps apart whose failure it is: the watched Redis is not away because ours is. */
  async function toSink<T>(writing: Promise<T>): Promise<T> {
    try {
      return await writing;
    } catch (error) {
      unstored.failed(error);
      throw new NotStored();
    }
  }

  return {
    async start() {
      running = Promise.all([run(), discover()]);
    },
    async stop() {
      stopping.abort();
      reader.close();
      await running;
    },
  };
}

class NotStored extends Error {}
