import { escapeLiteral } from "pg";
import type { Observation, ObservedCounts } from "../../core/observation.ts";
import type { Accuracy } from "../../core/snapshot.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { createOutageLog } from "../../runtime/outage-log.ts";
import { headAge } from "../head-age.ts";
import { find, type Table } from "./discover.ts";
import { beginning, countReading, countsOf, countsStatement } from "./job-counts.ts";
import { createNameFilter } from "./name-filter.ts";
import { createOvertakenJobs } from "./overtaken-jobs.ts";
import type { PostgresQueries, QueueReader } from "./queue-reader.ts";
import { type FoundSystem, maxCounted, type PostgresSystem } from "./system.ts";

export interface SystemReaderOptions {
  readonly system: PostgresSystem;
  /** What stands before the slash in the names of its queues. */
  readonly source: string;
  /** Whether it was asked for by name: then it is warned of when it is not there. */
  readonly isWanted: boolean;
  /** How often to count the jobs of each queue. */
  readonly countEveryMs: number;
  readonly logger: Logger;
}

export interface SystemReader extends QueueReader {
  /** Goes on from what the last reader noted of each queue. */
  restore(notes: ReadonlyMap<string, string>): void;
  discover(tables: readonly Table[]): void;
}

interface Queue {
  head: Observation;
  seenAtMs: number;
  unknownSinceMs: number | null;
  countedAtMs: number;
  depth: number | null;
  /** Whether more may wait though `depth` is below the limit: the statement looked at other jobs. */
  isLowerBound: boolean;
  scheduled: number | null;
}

/** For how long a queue is kept after its last job, where no table names the queues. */
const rememberedMs = 600_000;
const queuesPerCount = 20;

/** Keeps what is known of the queues of one job system. */
export function createSystemReader(options: SystemReaderOptions): SystemReader {
  const { system, source, isWanted, countEveryMs, logger } = options;
  const outage = createOutageLog({
    logger,
    begins: "job tables unavailable",
    ends: "job tables available again",
    fields: { source },
  });
  const queues = new Map<string, Queue>();
  const overtaken = createOvertakenJobs(system, countEveryMs);
  let found: FoundSystem | null = null;
  let wasFound = false;
  const isShown = createNameFilter(source, queues, logger);

  /** From where on jobs are counted next, and since when all were, by the monotonic clock; null: from now on. */
  let counting: { readonly until: string; readonly sinceMs: number } | null = null;
  let countAtMs = Number.NEGATIVE_INFINITY;
  /** What was counted and is not stored yet, of each queue; null: jobs are not counted, or some were missed. */
  let counted: ((queue: string) => ObservedCounts | null) | null = null;

  async function readCounts(from: FoundSystem, byIndex: PostgresQueries["byIndex"]): Promise<void> {
    const nowMs = monotonicClock.now();
    // What is not stored is counted anew: it would be counted twice, or grow without end.
    if (counted !== null || nowMs < countAtMs) return;
    countAtMs = nowMs + countEveryMs;
    const before = counting;
    counting = null;
    counted = () => null;
    const since = before === null ? beginning : `${escapeLiteral(before.until)}::timestamptz`;
    const jobs = system.counts?.(from, since) ?? null;
    if (jobs === null) return;
    const { rows } = await byIndex(countsStatement(jobs));
    const readAtMs = (nowMs + monotonicClock.now()) / 2;
    const reading = countReading(rows);
    if (reading.isCut) return;
    const sinceMs = before?.sinceMs ?? readAtMs - (reading.nowMs - reading.untilMs);
    counting = { until: reading.until, sinceMs };
    counted = (queue) => countsOf(queue, reading, { readAtMs, sinceMs, hasCame: jobs.came !== null });
  }

  function addHead(head: Observation): void {
    const { queue, readAtMs, headAgeMs, accuracy } = head;
    const known = queues.get(queue);
    const unknownSinceMs = accuracy === "UNKNOWN" ? (known?.unknownSinceMs ?? readAtMs) : null;
    const isEmpty = headAgeMs === null && accuracy !== "UNKNOWN";
    // A job that has come since a count of 0 makes that count wrong; the next one begins with this queue.
    const isCounted = known !== undefined && (isEmpty || known.depth !== 0);
    queues.set(queue, {
      head: accuracy === "UNKNOWN" ? { ...head, headAgeMs: readAtMs - (unknownSinceMs ?? readAtMs) } : head,
      seenAtMs: readAtMs,
      unknownSinceMs,
      countedAtMs: isCounted ? known.countedAtMs : Number.NEGATIVE_INFINITY,
      depth: isEmpty ? 0 : isCounted ? known.depth : null,
      isLowerBound: isCounted && known.isLowerBound,
      scheduled: known?.scheduled ?? null,
    });
  }

  async function readDueDepths(from: FoundSystem, byIndex: PostgresQueries["byIndex"]): Promise<void> {
    const dueBeforeMs = monotonicClock.now() - countEveryMs;
    const due = [...queues]
      .filter(([, { countedAtMs }]) => countedAtMs < dueBeforeMs)
      .sort(([, a], [, b]) => a.countedAtMs - b.countedAtMs)
      .slice(0, queuesPerCount);
    if (due.length === 0) return;
    const countedAtMs = monotonicClock.now();
    // What cannot be counted in time is not tried again before the others.
    for (const [, queue] of due)
      Object.assign(queue, { countedAtMs, depth: null, isLowerBound: false, scheduled: null });
    const names = due.map(([name]) => escapeLiteral(name));
    const { rows } = await byIndex(system.depths(from, `ARRAY[${names}]::text[]`));
    for (const { queue, depth, is_lower_bound: isCut, scheduled } of rows) {
      const counted = queues.get(String(queue));
      if (counted === undefined) continue;
      // "At least 0" and "at least 1" say nothing of a queue with a head.
      const isKnown = depth !== null && (isCut !== true || Number(depth) > 1);
      Object.assign(counted, {
        depth: isKnown ? Number(depth) : null,
        ...{ isLowerBound: isCut === true, scheduled: bounded(scheduled) },
      });
    }
  }

  return {
    source,
    restore: overtaken.restore,
    isFound: () => found !== null,
    discover(tables) {
      const discovery = find(system, tables);
      found = discovery === null || "problem" in discovery ? null : discovery;
      if (found !== null) wasFound = true;
      else if (discovery !== null && "problem" in discovery) outage.failed(new Error(discovery.problem));
      else if (isWanted || wasFound) outage.failed(new Error(`there is no table ${system.table}`));
    },
    async readHeads({ byIndex }) {
      if (found === null) return;
      const sentAtMs = monotonicClock.now();
      const { rows } = await byIndex(system.heads(found));
      const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
      const readAtMs = sentAtMs + uncertaintyMs;
      outage.recovered();
      const base = { uncertaintyMs, depth: null, scheduled: null, readAtMs };
      // Not everything was looked at: a queue without a head may have one.
      const areOthersUnknown = rows.some(({ queue }) => queue === null);
      for (const { queue, age_ms: age, accuracy, paused } of rows) {
        if (queue === null) continue;
        if (!isShown(String(queue))) continue;
        // The time "-infinity" says that a job can be taken, and not since when.
        const isUnknown = age === null ? areOthersUnknown : !Number.isFinite(age);
        const known = isUnknown ? "UNKNOWN" : (accuracy as Accuracy);
        addHead({
          ...{ ...base, queue: String(queue), paused: paused === true },
          ...(age === null ? { headAgeMs: null, accuracy: known } : headAge(Number(age), known)),
        });
      }
      for (const [name, { head, seenAtMs }] of queues) {
        if (seenAtMs === readAtMs) continue;
        if (!areOthersUnknown && readAtMs - seenAtMs > rememberedMs) {
          queues.delete(name);
          continue;
        }
        addHead({ ...head, ...base, headAgeMs: null, accuracy: areOthersUnknown ? "UNKNOWN" : "EXACT" });
        const queue = queues.get(name);
        if (queue !== undefined) queue.seenAtMs = seenAtMs;
      }
    },
    async readDepths({ byIndex }) {
      if (found === null) return;
      if (system.counts !== undefined) await readCounts(found, byIndex);
      await readDueDepths(found, byIndex);
    },
    async readOvertaken({ byIndex }) {
      if (found !== null) await overtaken.read(found, queues, byIndex);
    },
    observations: () =>
      [...queues.values()].map((queue) => {
        const noted = overtaken.noteOf(queue.head.queue);
        const observation = {
          ...observationOf(queue),
          overtaken: overtaken.of(queue.head.queue, queue.head, queue.isLowerBound ? null : queue.depth),
          ...(noted === undefined ? {} : { notes: noted }),
        };
        return counted === null ? observation : { ...observation, counts: counted(observation.queue) };
      }),
    reported() {
      counted = null;
      overtaken.noted();
    },
    failed(error) {
      outage.failed(error);
    },
  };
}

/** The count is of another moment: where a job waits, a count of 0 is old, and null until the next one. */
function observationOf({ head, depth, isLowerBound, scheduled }: Queue): Observation {
  if (head.headAgeMs === null) return { ...head, depth: 0, scheduled };
  if (depth !== null && depth > maxCounted)
    return { ...head, depth: maxCounted, depthIsLowerBound: true, scheduled };
  if (isLowerBound && depth !== null) return { ...head, depth, depthIsLowerBound: true, scheduled };
  return { ...head, depth: depth === 0 ? null : depth, scheduled };
}

function bounded(count: unknown): number | null {
  return count === null || Number(count) > maxCounted ? null : Number(count);
}
