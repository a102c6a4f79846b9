import { type MonotonicClock, monotonicClock } from "../core/clock.ts";
import { AppError } from "../core/errors.ts";
import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";

/** Reads what is to be told elsewhere; the tracker is one. Each throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
export interface QueueReader {
  /** Names in the order of their bytes. */
  list(page: { readonly after: string | null; readonly limit: number }): Promise<string[]>;
  count(): Promise<number>;
  /** What is asked for in one tick of the event loop shares a round trip. */
  read(queues: readonly string[], parts: SnapshotParts): Promise<QueueSnapshot[]>;
}

/** What was found of all queues, and of how many not. */
export interface Found {
  /** Known by name. */
  readonly known: number;
  /** Behind the first `maxQueues`, by name: not looked at. */
  readonly omitted: number;
  /** Looked at in vain: the node that has them does not answer, their keys are none of ours, or time was up. */
  readonly unreadable: number;
}

export interface AllQueuesOptions {
  readonly reader: QueueReader;
  readonly parts: SnapshotParts;
  /** No more than so many are read: the first ones by name. */
  readonly maxQueues: number;
  /** Is handed the queues of one page. The next one is read when it is done. */
  readonly onPage: (snapshots: readonly QueueSnapshot[]) => void | Promise<void>;
  /** After this, no other page is waited for. @default 5_000 // 5 seconds */
  readonly patienceMs?: number;
  readonly clock?: MonotonicClock;
}

/** So many that a page is worth its round trip, and so few that the event loop does something else in between. */
export const queuesPerPage = 200;

/**
 * Reads all queues, a page at a time, so that nobody else has to wait for long. One that cannot be read costs the others nothing.
 *
 * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer at all: then nothing is known, and pages that were handed on
 *   are not the whole.
 */
export async function readAllQueues(options: AllQueuesOptions): Promise<Found> {
  const { reader, parts, maxQueues, onPage, patienceMs = 5_000, clock = monotonicClock } = options;
  const deadlineMs = clock.now() + patienceMs;
  const known = await reader.count();
  let unreadable = 0;
  let listed = 0;
  let page = beginPage(reader, parts, null, Math.min(queuesPerPage, maxQueues));
  for (;;) {
    const { names, reading, isLast } = await page;
    listed += names.length;
    const limit = isLast ? 0 : Math.min(queuesPerPage, maxQueues - listed);
    // Redis reads it while this one is made something of.
    if (limit > 0) page = beginPage(reader, parts, names.at(-1) ?? null, limit);
    const read = await reading;
    const failures = read.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
    const isAway = failures.length === read.length && failures.every((error) => error instanceof AppError);
    if (failures.length > 0 && isAway) throw failures[0];
    unreadable += failures.length;
    // A name may stand in the index for a moment longer than its queue.
    const found = read.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
    await onPage(found.filter(({ state }) => state !== "MISSING"));
    if (limit <= 0) break;
    if (clock.now() > deadlineMs) {
      unreadable += Math.max(0, Math.min(known, maxQueues) - listed);
      break;
    }
  }
  return { known, omitted: Math.max(0, known - maxQueues), unreadable };
}

interface BegunPage {
  readonly names: readonly string[];
  /** One for each name; never rejected. */
  readonly reading: Promise<readonly PromiseSettledResult<QueueSnapshot[]>[]>;
  readonly isLast: boolean;
}

function beginPage(
  reader: QueueReader,
  parts: SnapshotParts,
  after: string | null,
  limit: number,
): Promise<BegunPage> {
  const begun = reader.list({ after, limit }).then((names) => ({
    names,
    // Each by itself, so that one fails alone: see SnapshotReader.
    reading: Promise.allSettled(names.map((name) => reader.read([name], parts))),
    isLast: names.length < limit,
  }));
  // Whoever waits for it is told; nobody does when the page before has failed.
  begun.catch(() => {});
  return begun;
}
