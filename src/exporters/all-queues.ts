import { AppError } from "../core/errors.ts";
import type { QueueChoice } from "../core/queue-choice.ts";
import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";

/**
 * Reads what the exporters export; the tracker implements it. Each throws AppError SERVICE_UNAVAILABLE when Redis does
 * not answer.
 */
export interface QueueReader {
  /** Maximum number of queues: when there are more, those in use. */
  choose(max: number): Promise<QueueChoice>;
  /** What is asked for in one tick of the event loop shares a round trip. */
  read(queues: readonly string[], parts: SnapshotParts): Promise<QueueSnapshot[]>;
}

/** What was found of all queues, and of how many not. */
export interface Found {
  /** Known by name. */
  readonly known: number;
  /** Those that were not chosen, and so not looked at. */
  readonly omitted: number;
  /** Looked at in vain: the node that has them does not answer, their keys are none of ours, or time was up. */
  readonly unreadable: number;
}

export interface AllQueuesOptions {
  readonly reader: QueueReader;
  readonly parts: SnapshotParts;
  /** Maximum number of queues that are read. */
  readonly maxQueues: number;
  /** Is handed the queues of one page. The next one is read when it is done. */
  readonly onPage: (snapshots: readonly QueueSnapshot[]) => void | Promise<void>;
  /** After this, no other page is waited for. @default 5_000 // 5 seconds */
  readonly timeoutMs?: number;
  readonly clock?: MonotonicClock;
}

/** Large enough to be worth a round trip, and small enough for the event loop to do something else in between. */
export const queuesPerPage = 200;

/**
 * Reads all queues, a page at a time, so that other requests do not wait for long. A queue that cannot be read does not
 * affect the others.
 *
 * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer at all: nothing is known then, and pages that were
 *   returned before are incomplete.
 */
export async function readAllQueues(options: AllQueuesOptions): Promise<Found> {
  const { reader, parts, maxQueues, onPage, timeoutMs = 5_000, clock = monotonicClock } = options;
  const { names, known } = await reader.choose(maxQueues);
  const deadlineMs = clock.now() + timeoutMs;
  let unreadable = 0;
  let reading = beginPage(reader, parts, names.slice(0, queuesPerPage));
  for (let from = 0; from < names.length; from += queuesPerPage) {
    const page = reading;
    const end = from + queuesPerPage;
    // Redis reads the next page while this one is written.
    if (end < names.length) reading = beginPage(reader, parts, names.slice(end, end + queuesPerPage));
    const read = await page;
    const failures = read.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
    const isAway = failures.length === read.length && failures.every((error) => error instanceof AppError);
    if (isAway) throw failures[0];
    unreadable += failures.length;
    // A name may be in the index for a moment longer than its queue.
    const found = read.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
    unreadable += found.filter((snapshot) => snapshot.unreadable).length;
    await onPage(found.filter(({ state, unreadable: isBroken }) => state !== "MISSING" && !isBroken));
    if (end < names.length && clock.now() > deadlineMs) {
      unreadable += names.length - end;
      break;
    }
  }
  return { known, omitted: known - names.length, unreadable };
}

/** One result for each name, and never rejected: each is read by itself, so that it fails alone (see SnapshotReader). */
function beginPage(
  reader: QueueReader,
  parts: SnapshotParts,
  names: readonly string[],
): Promise<readonly PromiseSettledResult<QueueSnapshot[]>[]> {
  return Promise.allSettled(names.map((name) => reader.read([name], parts)));
}
