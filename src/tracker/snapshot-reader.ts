import DataLoader from "dataloader";
import { AppError } from "../core/errors.ts";
import {
  type Accuracy,
  accuracies,
  missingSnapshot,
  type QueueSnapshot,
  type QueueTotals,
  type SnapshotParts,
  type Throughput,
  type WaitTime,
  type Window,
  windowSeconds,
} from "../core/snapshot.ts";
import { waitTimeOf } from "../core/wait-time.ts";
import type { ClockSteps } from "../redis/clock-steps.ts";
import type { ClockWatch } from "../redis/clock-watch.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts, type ScriptCall } from "../redis/scripts.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createRecentMap } from "../runtime/recent-map.ts";
import type { Writer } from "./acknowledged-writes.ts";
import type { DataLoss } from "./data-loss.ts";
import { createUnreadableQueues } from "./unreadable-queues.ts";

export interface SnapshotReaderOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly maxWaitMs: number;
  readonly eventWindowMs: number;
  readonly writer: Writer;
  readonly dataLoss: Pick<DataLoss, "report" | "reportGone">;
  readonly clocks: Pick<ClockWatch, "stepsOf">;
  /** Measures round trips. @default monotonicClock */
  readonly clock?: MonotonicClock | undefined;
  readonly logger: Logger;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

export interface SnapshotReader {
  /**
   * The state of queues now, in the order asked. All reads of one tick of the event loop, for all clients, share one round
   * trip, and a queue that several ask for is read once, with all the parts that any of them wants. A queue of
   * which Redis has lost a key, or something that this process has written, is INCOMPLETE in this answer, and for all from then on.
   * A queue whose keys are not what was written is UNKNOWN and `unreadable`, and the others are answered as ever.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  read(queues: readonly string[], parts: SnapshotParts): Promise<QueueSnapshot[]>;
}

interface Wanted {
  readonly queue: string;
  readonly parts: SnapshotParts;
}

/** More queues than this are read in several round trips, so that no answer is huge. */
const queuesPerRoundTrip = 1000;
/** Of more queues, those that were seen empty longest ago stay UNKNOWN after the clock was set. */
const maxEmptied = 10_000;

export function createSnapshotReader(options: SnapshotReaderOptions): SnapshotReader {
  const { redis, keys, maxWaitMs, eventWindowMs, writer, dataLoss, clocks, clock = monotonicClock } = options;
  const script = loadScript("queueLatencySnapshot", new URL("lua/snapshot.lua", import.meta.url));
  const unreadable = createUnreadableQueues(options);
  /** Queues that were seen with no job, and how often the clock had been set by then: what came to them later has right times. */
  const emptied = createRecentMap<string, { readonly steps: ClockSteps; readonly count: number }>({
    maxSize: maxEmptied,
  });

  function callOf(queue: string, parts: SnapshotParts): ScriptCall {
    const answered = writer.answered(queue);
    const longestMs = maxWaitMs + clocks.stepsOf(queue).aheadMs(maxWaitMs);
    const args = [options.now?.() ?? "", longestMs, ...partsArgs(parts), eventWindowMs, ...clockArgs(queue)];
    return { keys: keys.all(queue), args: answered === "" ? args : [...args, writer.id, answered] };
  }

  function clockArgs(queue: string): (string | number)[] {
    // With a time of their own tests have no clock that could be set.
    if (options.now !== undefined && options.clock === undefined) return ["", 0];
    const steps = clocks.stepsOf(queue);
    const empty = emptied.get(queue);
    const isSame = empty?.steps === steps && empty.count === steps.count();
    const wrong = isSame ? [] : steps.wrongTimes();
    const ranges = wrong.map(({ fromMs, toMs }) => [fromMs, toMs]);
    return [JSON.stringify(ranges), Math.max(0, Math.ceil(eventWindowMs - steps.sinceForwardMs()))];
  }

  /** @returns whether the clock of a Redis turns out to have been set: then what was asked of it has to be asked again. */
  function observeClocks(queues: readonly string[], replies: readonly unknown[], sentAtMs: number): boolean {
    if (options.now !== undefined && options.clock === undefined) return false;
    const receivedAtMs = clock.now();
    let isSet = false;
    queues.forEach((queue, i) => {
      const reply = replies[i];
      if (!Array.isArray(reply)) return;
      if (clocks.stepsOf(queue).observe(reply[0] as number, sentAtMs, receivedAtMs) !== 0) isSet = true;
    });
    return isSet;
  }

  function noteEmpty(queue: string, reply: Reply): void {
    const steps = clocks.stepsOf(queue);
    if (!hasNoJobs(reply) || steps.wrongTimes().length === 0) return;
    emptied.set(queue, { steps, count: steps.count() });
  }

  /** A queue that cannot be read, or whose keys are not what was written, does not affect the others. */
  async function readAll(wanted: readonly Wanted[]): Promise<(QueueSnapshot | Error)[]> {
    const partsOf = new Map<string, SnapshotParts>();
    for (const { queue, parts } of wanted) {
      const known = partsOf.get(queue);
      partsOf.set(queue, known === undefined ? parts : union(known, parts));
    }
    const asked = [...partsOf];
    const queues = asked.map(([queue]) => queue);
    const ask = () =>
      runScripts(
        redis,
        script,
        asked.map(([queue, parts]) => callOf(queue, parts)),
      );
    const sentAtMs = clock.now();
    let replies = await ask();
    if (observeClocks(queues, replies, sentAtMs)) replies = await ask();
    const read = new Map<string, QueueSnapshot | Error>();
    const gone = queues.filter((_, i) => isMissing(replies[i]));
    try {
      if ((await dataLoss.reportGone(gone)).length > 0) replies = await ask();
    } catch (error) {
      replies = replies.map((reply) => (isMissing(reply) ? error : reply));
    }
    const incomplete: string[] = [];
    const broken = new Map<string, Error>();
    asked.forEach(([queue, parts], i) => {
      const reply = replies[i];
      if (reply instanceof AppError) read.set(queue, reply);
      else if (reply instanceof Error) broken.set(queue, reply);
      else if (!isWhole(reply))
        broken.set(queue, new Error("the fields of its state are not what was written"));
      else {
        const countedMs = clocks.stepsOf(queue).sinceStepMs();
        read.set(queue, snapshotOf(queue, parts, reply, countedMs));
        unreadable.readable(queue);
        noteEmpty(queue, reply);
        if (reply[15] === 1) incomplete.push(queue);
      }
    });
    if (broken.size > 0) for (const [queue, known] of await unreadable.read(broken)) read.set(queue, known);
    // Before the answer is used, the others must not have a better one.
    if (incomplete.length > 0) {
      await dataLoss.report(incomplete).catch((error: Error) => {
        for (const queue of incomplete) read.set(queue, error);
      });
    }
    return wanted.map(({ queue }) => read.get(queue) as QueueSnapshot | Error);
  }

  const loader = new DataLoader<Wanted, QueueSnapshot>(readAll, {
    cache: false,
    maxBatchSize: queuesPerRoundTrip,
    batchScheduleFn: setImmediate,
  });

  return {
    read: (queues, parts) => Promise.all(queues.map((queue) => loader.load({ queue, parts }))),
  };
}

function isMissing(reply: unknown): boolean {
  return Array.isArray(reply) && reply.length === 1;
}

/** Of a recorded queue: it has no head, and no job that is due later. */
function hasNoJobs(reply: Reply): boolean {
  if (reply.length === 1) return true;
  const [, source, since, , , changesAt] = reply;
  return source === "events" && since === -1 && changesAt === -1;
}

function union(a: SnapshotParts, b: SnapshotParts): SnapshotParts {
  return {
    depth: a.depth || b.depth,
    scheduled: a.scheduled || b.scheduled,
    lost: a.lost || b.lost,
    totals: a.totals === true || b.totals === true,
    throughput: a.throughput.union(b.throughput),
    waitTime: a.waitTime.union(b.waitTime),
  };
}

function partsArgs(parts: SnapshotParts): (string | number)[] {
  const secondsOf = (windows: ReadonlySet<Window>) =>
    [...windows].map((window) => windowSeconds[window]).join();
  return [
    Number(parts.depth),
    Number(parts.scheduled),
    Number(parts.lost),
    secondsOf(parts.throughput),
    secondsOf(parts.waitTime),
    Number(parts.totals ?? false),
  ];
}

/** What snapshot.lua returns; only the time when the queue is not known. */
type Reply =
  | [now: number]
  | [
      now: number,
      source: string,
      since: number,
      depth: number,
      scheduled: number,
      changesAt: number,
      accuracy: Accuracy,
      paused: number,
      measuredAt: number,
      stale: number,
      throughputs: string[],
      waitTimes: number[][],
      counted: number,
      skew: string,
      lost: number,
      hasLostWrites: number,
      totals: string,
    ];

/** A field that is missing ends a reply early, and garbage in one is no number. */
function isWhole(reply: unknown): reply is Reply {
  if (!Array.isArray(reply)) return false;
  if (reply.length === 1) return true;
  const [
    now,
    source,
    since,
    depth,
    scheduled,
    changesAt,
    accuracy,
    paused,
    measuredAt,
    stale,
    ,
    ,
    ,
    skew,
    lost,
  ] = reply;
  const numbers = [now, since, depth, scheduled, changesAt, paused, measuredAt, stale, Number(skew), lost];
  const totals = String(reply[16] ?? "absent");
  return (
    reply.length === 17 &&
    typeof source === "string" &&
    accuracies.includes(accuracy) &&
    numbers.every(Number.isFinite) &&
    (totals === "" || totals.split(" ").every((total) => Number.isFinite(Number(total))))
  );
}

/** @param countedMs for how long the clock has not been set: what is counted by it of longer windows is not known. */
function snapshotOf(queue: string, parts: SnapshotParts, reply: Reply, countedMs: number): QueueSnapshot {
  if (reply.length === 1) return missingSnapshot(queue, reply[0]);
  const [, source, since, depth, scheduled, changesAt, accuracy, paused, measuredAtMs, stale] = reply;
  const [rates, waits, counted, skew, lost, , totals] = reply.slice(10) as [
    string[],
    number[][],
    number,
    string,
    number,
    number,
    string,
  ];
  const waiting = since >= 0;
  const isCounted = counted === 1;
  const isKnown = accuracy !== "UNKNOWN";
  return {
    queue,
    source,
    state: paused === 1 ? "PAUSED" : waiting ? "WAITING" : "EMPTY",
    oldestSinceMs: waiting && isKnown ? since : null,
    latencyMs: isKnown ? (waiting ? Math.max(0, measuredAtMs - since) : 0) : null,
    depth: parts.depth ? numberOrNull(depth) : null,
    scheduled: parts.scheduled ? numberOrNull(scheduled) : null,
    lost: numberOrNull(lost),
    accuracy,
    measuredAtMs,
    stale: stale === 1,
    changesAtMs: changesAt >= 0 ? changesAt : null,
    clockSkewMs: skew === "" ? null : Number(skew),
    throughput: isCounted
      ? byWindow(parts.throughput, countedMs, (window, i) => throughputOf(window, rates, i))
      : null,
    waitTime: isCounted
      ? byWindow(parts.waitTime, countedMs, (_, i) => (waits[i]?.length ? waitTimeOf(waits[i]) : null))
      : null,
    ...(totals === "" ? {} : { totals: totalsOf(totals, source === "events") }),
  };
}

/** -1 stands for null in the replies of snapshot.lua. */
function numberOrNull(value: number): number | null {
  return value >= 0 ? value : null;
}

/** What is taken back is added again: see totals.lua. */
function totalsOf(text: string, knowsLost: boolean): QueueTotals {
  const [
    enqueued = 0,
    dequeued = 0,
    removed = 0,
    unremoved = 0,
    lost = 0,
    unlost = 0,
    waitedMs = 0,
    ...waits
  ] = text.split(" ").map(Number);
  return {
    enqueued,
    dequeued,
    removed: removed + unremoved,
    lost: knowsLost ? lost + unlost : null,
    waitedMs,
    waits,
  };
}

/** null: not everything was counted in the window. */
function throughputOf(window: Window, counts: readonly string[], i: number): Throughput | null {
  if (counts[2 * i] === "") return null;
  const perSecond = (count: string | undefined) => Number(count ?? 0) / windowSeconds[window];
  return { enqueuedPerSecond: perSecond(counts[2 * i]), dequeuedPerSecond: perSecond(counts[2 * i + 1]) };
}

function byWindow<T extends Throughput | WaitTime>(
  windows: ReadonlySet<Window>,
  countedMs: number,
  value: (window: Window, i: number) => T | null,
): Partial<Record<Window, T | null>> {
  const isCounted = (window: Window) => windowSeconds[window] * 1_000 <= countedMs;
  return Object.fromEntries(
    [...windows].map((window, i) => [window, isCounted(window) ? value(window, i) : null]),
  );
}
