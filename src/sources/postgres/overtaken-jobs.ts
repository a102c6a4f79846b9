import { escapeLiteral } from "pg";
import type { ObservedOvertaken } from "../../core/observation.ts";
import { type ServicePeriods, servedSinceMs, withServed } from "../../core/service-periods.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Row } from "./connection.ts";
import type { PostgresQueries } from "./queue-reader.ts";
import { ageMs, countLimit, epochMs, type FoundSystem, lag, type PostgresSystem } from "./system.ts";

/** Finds the jobs that were left behind in the queues of one system, by its clock: see {@link file://../../core/service-periods.ts}. */
export interface OvertakenJobs {
  /** What the last reader noted of each queue. */
  restore(notes: ReadonlyMap<string, string>): void;
  /** Reads which jobs were taken since the last time, and the number of overtaken jobs where the head is older than all of them. */
  read(
    found: FoundSystem,
    queues: ReadonlyMap<string, { readonly head: Head }>,
    byIndex: PostgresQueries["byIndex"],
  ): Promise<void>;
  /** Null: it is not known. */
  of(queue: string, head: Head): ObservedOvertaken | null;
  /** For the next reader, where there is something new. */
  noteOf(queue: string): string | undefined;
  /** The notes are stored. */
  noted(): void;
}

interface Head {
  /** Null: no job waits. */
  readonly headAgeMs: number | null;
  /** By the monotonic clock. */
  readonly readAtMs: number;
}

interface Found {
  readonly count: number;
  readonly inOrderSinceMs: number | null;
  readonly askedAtMs: number;
}

/** Overtaken jobs of a queue are counted up to here. */
export const maxOvertaken = 1_000;
/** How many jobs behind them are looked at: the first may have been inserted, or rescued, long after its time. */
const nextJobs = 100;
/** About more queues than these one statement does not ask. */
const maxAsked = 100;

/** @param countEveryMs how often to read which jobs were taken */
export function createOvertakenJobs(system: PostgresSystem, countEveryMs: number): OvertakenJobs {
  const periods = new Map<string, ServicePeriods>();
  /** The queues whose head came before all jobs that were taken, and what was found of them. */
  let found = new Map<string, Found>();
  let changed = new Set<string>();
  /** Where the next reading of the taken jobs begins: a time, as the database writes it. */
  let until: string | null = null;
  let takenAtMs = Number.NEGATIVE_INFINITY;
  /** The database's clock less the monotonic one. */
  let offsetMs: number | null = null;
  let isReported = false;

  async function readTaken(
    statement: string,
    queues: ReadonlyMap<string, { readonly head: Head }>,
    ask: PostgresQueries["byIndex"],
  ) {
    const sentAtMs = monotonicClock.now();
    const { rows } = await ask(statement);
    const readAtMs = (sentAtMs + monotonicClock.now()) / 2;
    const reading = rows.find(({ queue }) => queue === null);
    const nowMs = Number(reading?.ms);
    until = String(reading?.until);
    offsetMs = nowMs - readAtMs;
    // Some were not read, and may have been older.
    if (reading?.jobs === countLimit) periods.clear();
    else for (const row of rows) if (queues.has(String(row.queue))) addServed(row, nowMs);
    for (const queue of periods.keys()) if (!queues.has(queue)) periods.delete(queue);
  }

  function addServed({ queue, jobs, ms }: Row, nowMs: number): void {
    const name = String(queue);
    const served = { nowMs, count: Number(jobs), oldestMs: Number(ms) };
    periods.set(name, withServed(periods.get(name) ?? null, served));
    changed.add(name);
  }

  /** When the head became claimable may be off by a little: the database itself says which jobs are older. */
  function beforeMs(queue: string, { headAgeMs, readAtMs }: Head): number | null {
    if (headAgeMs === null || offsetMs === null) return null;
    const earliestMs = servedSinceMs(periods.get(queue) ?? null, readAtMs + offsetMs);
    return earliestMs !== null && readAtMs - headAgeMs + offsetMs < earliestMs ? earliestMs : null;
  }

  return {
    restore(notes) {
      for (const [queue, note] of notes) {
        const known = periodsIn(note);
        if (known !== null) periods.set(queue, known);
      }
    },
    async read(foundSystem, queues, ask) {
      const statement = system.overtaken?.taken(
        foundSystem,
        until === null ? `now() - ${lag}` : `${escapeLiteral(until)}::timestamptz`,
      );
      isReported = statement != null;
      if (statement == null || system.overtaken === undefined) return;
      const nowMs = monotonicClock.now();
      if (nowMs >= takenAtMs + countEveryMs) {
        takenAtMs = nowMs;
        await readTaken(takenStatement(statement), queues, ask);
      }
      const suspects = [...queues].flatMap(([queue, { head }]) => {
        const earliestMs = beforeMs(queue, head);
        return earliestMs === null ? [] : [[queue, earliestMs] as const];
      });
      found = new Map(
        suspects.flatMap(([queue]) => {
          const known = found.get(queue);
          return known === undefined ? [] : [[queue, known]];
        }),
      );
      if (suspects.length === 0) return;
      const askedAt = ([queue]: readonly [string, number]) => found.get(queue)?.askedAtMs ?? 0;
      const asked = suspects.toSorted((a, b) => askedAt(a) - askedAt(b)).slice(0, maxAsked);
      const sentAtMs = monotonicClock.now();
      const { rows } = await ask(overtakenStatement(system.overtaken.waiting(foundSystem), asked));
      const askedAtMs = (sentAtMs + monotonicClock.now()) / 2;
      const byQueue = new Map(rows.map((row) => [String(row.queue), row]));
      for (const [queue] of asked) {
        const { jobs = 0, in_order_age_ms: age = null } = byQueue.get(queue) ?? {};
        const inOrderSinceMs = age === null ? null : askedAtMs - Math.max(0, Number(age));
        found.set(queue, { count: Number(jobs), inOrderSinceMs, askedAtMs });
      }
    },
    of(queue, head) {
      if (!isReported) return null;
      if (beforeMs(queue, head) === null) return { count: 0, inOrderAgeMs: null };
      const known = found.get(queue);
      if (known === undefined) return null;
      const { count, inOrderSinceMs, askedAtMs } = known;
      // Where none was there, one may have come since.
      const ageMs = head.readAtMs - (inOrderSinceMs ?? askedAtMs);
      return { count, inOrderAgeMs: inOrderSinceMs === null && ageMs <= 0 ? null : Math.max(0, ageMs) };
    },
    noteOf(queue) {
      const known = changed.has(queue) ? periods.get(queue) : undefined;
      return known && [known.fromMs, known.count, known.oldestMs, known.beforeMs ?? ""].join(" ");
    },
    noted() {
      changed = new Set();
    },
  };
}

function periodsIn(note: string): ServicePeriods | null {
  const [from, count, oldest, before] = note.split(" ");
  const known = { fromMs: Number(from), count: Number(count), oldestMs: Number(oldest) };
  const beforeMs = before === "" ? null : Number(before);
  return [...Object.values(known), beforeMs ?? 0].every(Number.isFinite) ? { ...known, beforeMs } : null;
}

/** How many jobs were taken in each queue, and the oldest of them; with a row without a queue, of the reading. */
export function takenStatement(taken: string): string {
  return `
    WITH taken AS MATERIALIZED (SELECT * FROM (${taken}) jobs LIMIT ${countLimit})
    SELECT queue, count(*)::int AS jobs, ${epochMs("min(since)")} AS ms, NULL AS until FROM taken
    WHERE at <= now() - ${lag} GROUP BY queue
    UNION ALL SELECT NULL, (SELECT count(*) FROM taken)::int, ${epochMs("clock_timestamp()")}, (now() - ${lag})::text`;
}

/**
 * How many jobs of each of these queues have been claimable since before a time, and the age of the oldest of the others. Where there are
 * more than are counted, one of the others may be as old as that time.
 */
export function overtakenStatement(
  waiting: string,
  asked: readonly (readonly [queue: string, beforeMs: number])[],
): string {
  const values = asked.map(([queue, ms]) => `(${escapeLiteral(queue)}, to_timestamp(${ms}::float8 / 1000))`);
  return `
    SELECT asked.queue, least(count(*) FILTER (WHERE since < before), ${maxOvertaken})::int AS jobs,
      CASE WHEN count(*) FILTER (WHERE is_before) > ${maxOvertaken} THEN ${ageMs("before")}
        ELSE ${ageMs("min(since) FILTER (WHERE since >= before)")} END AS in_order_age_ms
    FROM (VALUES ${values}) AS asked(queue, before) CROSS JOIN LATERAL (${waiting}) waiting GROUP BY asked.queue, before`;
}

/**
 * The waiting jobs of the queue that is asked about, on both sides of the time that is asked about: `since` and `is_before`.
 *
 * @param jobs what they are selected from, with the conditions
 * @param time the column of the index
 * @param since when such a job became claimable, if that is not `time`
 */
export function aroundTime(jobs: string, time: string, since = time): string {
  return `(SELECT ${since} AS since, true AS is_before FROM ${jobs} AND ${time} < asked.before ORDER BY ${time} LIMIT ${maxOvertaken + 1})
    UNION ALL (SELECT ${since}, false FROM ${jobs} AND ${time} >= asked.before AND ${time} <= now() ORDER BY ${time} LIMIT ${nextJobs})`;
}
