import DataLoader from "dataloader";
import { Cluster } from "ioredis";
import { AppError } from "../core/errors.ts";
import {
  missingSnapshot,
  type QueueSnapshot,
  type SnapshotParts,
  type Window,
  windowSeconds,
} from "../core/snapshot.ts";
import type { ClockSteps } from "../redis/clock-steps.ts";
import type { ClockWatch } from "../redis/clock-watch.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts } from "../redis/scripts.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createRecentMap } from "../runtime/recent-map.ts";
import type { Writer } from "./acknowledged-writes.ts";
import type { DataLoss } from "./data-loss.ts";
import { hasNoJobs, rowOf, snapshotOf } from "./snapshot-row.ts";
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
  /** As `read`; but a queue that cannot be read, as when its node of a Redis Cluster is away, is an error beside the others. */
  readEach(queues: readonly string[], parts: SnapshotParts): Promise<(QueueSnapshot | Error)[]>;
}

interface Wanted {
  readonly queues: readonly string[];
  readonly parts: SnapshotParts;
}

/** Queues that are read alike, by one call of the script. */
interface Call {
  readonly queues: string[];
  readonly keys: string[];
  readonly args: (string | number)[];
}

/** What Redis says of one queue. */
type Answer = Error | { readonly nowMs: number; readonly row: unknown };

/** More queues than this are read in several round trips, so that no answer is huge. */
const queuesPerRoundTrip = 1000;
/** A call of the script blocks Redis: for this number of queues about half a millisecond. */
const queuesPerCall = 25;
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
  /** With a time of their own tests have no clock that could be set. */
  const isClockWatched = options.now === undefined || options.clock !== undefined;

  /** In a Redis Cluster each queue has a slot of its own, and no call may have keys of two. */
  function callsFor(asked: ReadonlyMap<string, SnapshotParts>): readonly Call[] {
    const calls: Call[] = [];
    const open = new Map<string, Call>();
    for (const [queue, parts] of asked) {
      const args = argsOf(queue, parts);
      const key = args.join(";");
      const call = open.get(key) ?? { queues: [], keys: [], args };
      if (call.queues.length === 0) calls.push(call);
      call.queues.push(queue);
      call.keys.push(...keys.all(queue));
      call.args.push(writer.answered(queue));
      if (redis instanceof Cluster || call.queues.length >= maxQueues(parts)) open.delete(key);
      else open.set(key, call);
    }
    return calls;
  }

  /** Those that all queues of a call share. */
  function argsOf(queue: string, parts: SnapshotParts): (string | number)[] {
    const maxMs = maxWaitMs + clocks.stepsOf(queue).aheadMs(maxWaitMs);
    const now = options.now?.() ?? "";
    return [now, maxMs, eventWindowMs, ...partsArgs(parts), ...clockArgs(queue), writer.id];
  }

  function clockArgs(queue: string): (string | number)[] {
    if (!isClockWatched) return ["", 0];
    const steps = clocks.stepsOf(queue);
    const empty = emptied.get(queue);
    const isSame = empty?.steps === steps && empty.count === steps.count();
    const wrong = isSame ? [] : steps.wrongTimes();
    const ranges = wrong.map(({ fromMs, toMs }) => [fromMs, toMs]);
    return [JSON.stringify(ranges), Math.max(0, Math.ceil(eventWindowMs - steps.sinceForwardMs()))];
  }

  async function ask(asked: ReadonlyMap<string, SnapshotParts>) {
    const calls = callsFor(asked);
    const sentAtMs = clock.now();
    const replies = await runScripts(redis, script, calls);
    const receivedAtMs = clock.now();
    const answers = new Map<string, Answer>();
    let isClockSet = false;
    calls.forEach(({ queues }, i) => {
      const reply = replies[i];
      if (!Array.isArray(reply)) {
        for (const queue of queues) answers.set(queue, reply as Error);
        return;
      }
      const [nowMs, ...rows] = reply;
      const steps = clocks.stepsOf(queues[0] ?? "");
      if (isClockWatched && steps.observe(nowMs, sentAtMs, receivedAtMs) !== 0) isClockSet = true;
      queues.forEach((queue, j) => {
        answers.set(queue, { nowMs, row: rows[j] });
      });
    });
    return { answers, isClockSet };
  }

  function noteEmpty(queue: string): void {
    const steps = clocks.stepsOf(queue);
    if (steps.wrongTimes().length === 0) return;
    emptied.set(queue, { steps, count: steps.count() });
  }

  /** A queue that cannot be read, or whose keys are not what was written, does not affect the others. */
  async function readAll(
    asked: ReadonlyMap<string, SnapshotParts>,
  ): Promise<ReadonlyMap<string, QueueSnapshot | Error>> {
    let { answers, isClockSet } = await ask(asked);
    // What was asked by a clock that was set has to be asked again.
    if (isClockSet) ({ answers } = await ask(asked));
    const missing = [...asked.keys()].filter((queue) => isMissing(answers.get(queue)));
    try {
      if ((await dataLoss.reportGone(missing)).length > 0) ({ answers } = await ask(asked));
    } catch (error) {
      for (const queue of missing) answers.set(queue, error as Error);
    }
    const read = new Map<string, QueueSnapshot | Error>();
    const incomplete: string[] = [];
    const broken = new Map<string, Error>();
    for (const [queue, parts] of asked) {
      const answer = answers.get(queue) ?? new Error("the script has lost a queue");
      if (answer instanceof AppError) read.set(queue, answer);
      else if (answer instanceof Error) broken.set(queue, answer);
      else if (answer.row instanceof Error) broken.set(queue, answer.row);
      else {
        const row = answer.row === null ? null : rowOf(answer.row);
        if (answer.row !== null && row === null) {
          broken.set(queue, new Error("the fields of its state are not what was written"));
          continue;
        }
        const countedMs = clocks.stepsOf(queue).sinceStepMs();
        read.set(
          queue,
          row === null ? missingSnapshot(queue, answer.nowMs) : snapshotOf(queue, parts, row, countedMs),
        );
        unreadable.readable(queue);
        if (row === null || hasNoJobs(row)) noteEmpty(queue);
        if (row?.hasLost === true) incomplete.push(queue);
      }
    }
    if (broken.size > 0) for (const [queue, known] of await unreadable.read(broken)) read.set(queue, known);
    // Before the answer is used, the others must not have a better one.
    if (incomplete.length > 0) {
      await dataLoss.report(incomplete).catch((error: Error) => {
        for (const queue of incomplete) read.set(queue, error);
      });
    }
    return read;
  }

  async function readFor(wanted: readonly Wanted[]): Promise<(QueueSnapshot | Error)[][]> {
    const partsOf = new Map<string, SnapshotParts>();
    for (const { queues, parts } of wanted) {
      for (const queue of queues) {
        const known = partsOf.get(queue);
        partsOf.set(queue, known === undefined || known === parts ? parts : union(known, parts));
      }
    }
    const all = [...partsOf];
    const trips = Array.from({ length: Math.ceil(all.length / queuesPerRoundTrip) }, (_, i) =>
      readAll(new Map(all.slice(i * queuesPerRoundTrip, (i + 1) * queuesPerRoundTrip))),
    );
    const read = new Map((await Promise.all(trips)).flatMap((each) => [...each]));
    return wanted.map(({ queues }) => queues.map((queue) => read.get(queue) as QueueSnapshot | Error));
  }

  const loader = new DataLoader<Wanted, (QueueSnapshot | Error)[]>(readFor, {
    cache: false,
    batchScheduleFn: setImmediate,
  });

  return {
    async read(queues, parts) {
      const snapshots = await loader.load({ queues, parts });
      const error = snapshots.find((each) => each instanceof Error);
      if (error !== undefined) throw error;
      return snapshots as QueueSnapshot[];
    },
    readEach: (queues, parts) => loader.load({ queues, parts }),
  };
}

function isMissing(answer: Answer | undefined): boolean {
  return answer !== undefined && !(answer instanceof Error) && answer.row === null;
}

/** How many queues one call may read. A window takes Redis about as long as all the rest of a queue. */
function maxQueues({ throughput, waitTime }: SnapshotParts): number {
  return Math.ceil(queuesPerCall / (1 + throughput.size + waitTime.size));
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
