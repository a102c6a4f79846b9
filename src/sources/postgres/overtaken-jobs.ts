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
  /** @param depth how many jobs wait, where that is known; null: it is not known, as the answer. */
  of(queue: string, head: Head, depth: number | null): ObservedOvertaken | null;
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
  /** Null: it was asked about, and the answer did not come. */
  readonly count: number | null;
  readonly inOrderSinceMs: number | null;
  readonly askedAtMs: number;
}

/** Overtaken jobs of a queue are counted up to here. */
export const maxOvertaken = 1_000;
/** How many jobs behind them are looked at: the first may have been inserted, or rescued, long after its time. */
const nextJobs = 100;
/** About more queues than these one statement does not ask: it must end before the server cancels it. */
const maxAsked = 10;
/** What was read as many readings ago is not known any more. */
const maxReadings = 24;
/** A note is not believed later than this: job systems delete what is done, after a minute at the earliest by their defaults. */
const maxNoteAgeMs = 60_000;

/** @param countEveryMs how often to read which jobs were taken */
export function createOvertakenJobs(system: PostgresSystem, countEveryMs: number): OvertakenJobs {
  const periods = new Map<string, ServicePeriods>();
  /** The queues whose head came before all jobs that were taken, and what was found of them. */
  let found = new Map<string, Found>();
  let changed = new Set<string>();
  /** Where the next reading of the taken jobs begins: a time, as the database writes it. */
  let until: { readonly text: string; readonly ms: number } | null = null;
  /** Until when the last reader had read them, in ms by the database's clock. */
  let notedUntilMs: number | null = null;
  let takenAtMs = Number.NEGATIVE_INFINITY;
  let takenReadAtMs = Number.NEGATIVE_INFINITY;
  /** The database's clock less the monotonic one. */
  let offsetMs: number | null = null;

  function after(): string {
    if (until !== null) return `${escapeLiteral(until.text)}::timestamptz`;
    if (notedUntilMs === null) return `now() - ${lag}`;
    return `least(greatest(to_timestamp(${notedUntilMs}::float8 / 1000), now() - interval '${maxNoteAgeMs} ms'), now() - ${lag})`;
  }

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
    // What was taken between an old note and this reading may be deleted.
    if (until === null && (notedUntilMs ?? nowMs) < nowMs - maxNoteAgeMs) forget();
    until = { text: String(reading?.until), ms: Number(reading?.until_ms) };
    offsetMs = nowMs - readAtMs;
    takenReadAtMs = readAtMs;
    // Some were not read, and may have been older.
    if (reading?.jobs === countLimit) forget();
    else for (const row of rows) if (queues.has(String(row.queue))) addServed(row, nowMs);
    for (const queue of periods.keys()) if (!queues.has(queue)) periods.delete(queue);
    // One note at least has to say until when all were read.
    const [any] = periods.keys();
    if (any !== undefined) changed.add(any);
  }

  function forget(): void {
    for (const queue of periods.keys()) changed.add(queue);
    periods.clear();
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
        const known = readNote(note);
        if (known === null) continue;
        periods.set(queue, known.periods);
        notedUntilMs = Math.max(notedUntilMs ?? 0, known.untilMs);
      }
    },
    async read(foundSystem, queues, ask) {
      const statement = system.overtaken?.taken(foundSystem, after());
      if (statement == null || system.overtaken === undefined) {
        takenReadAtMs = Number.NEGATIVE_INFINITY;
        return;
      }
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
      // What cannot be counted in time is not asked again before the others.
      for (const [queue] of asked)
        found.set(queue, { count: null, inOrderSinceMs: null, askedAtMs: sentAtMs });
      const { rows } = await ask(overtakenStatement(system.overtaken.waiting(foundSystem), asked));
      const askedAtMs = (sentAtMs + monotonicClock.now()) / 2;
      const byQueue = new Map(rows.map((row) => [String(row.queue), row]));
      for (const [queue] of asked) {
        const { jobs = 0, in_order_age_ms: age = null } = byQueue.get(queue) ?? {};
        const inOrderSinceMs = age === null ? null : askedAtMs - Math.max(0, Number(age));
        found.set(queue, { count: Number(jobs), inOrderSinceMs, askedAtMs });
      }
    },
    of(queue, head, depth) {
      const oldestMs = head.readAtMs - maxReadings * countEveryMs;
      if (takenReadAtMs < oldestMs) return null;
      if (beforeMs(queue, head) === null) return { count: 0, inOrderAgeMs: null };
      const known = found.get(queue);
      if (known === undefined || known.count === null || known.askedAtMs < oldestMs) return null;
      const { count, inOrderSinceMs, askedAtMs } = known;
      if (inOrderSinceMs === null && depth !== null && depth <= count) return { count, inOrderAgeMs: null };
      // Where none was there, one may have come since.
      const ageMs = head.readAtMs - (inOrderSinceMs ?? askedAtMs);
      return { count, inOrderAgeMs: inOrderSinceMs === null && ageMs <= 0 ? null : Math.max(0, ageMs) };
    },
    noteOf(queue) {
      if (!changed.has(queue) || until === null) return undefined;
      const known = periods.get(queue);
      if (known === undefined) return noPeriods;
      return [known.fromMs, known.count, known.oldestMs, known.beforeMs ?? "", until.ms].join(" ");
    },
    noted() {
      changed = new Set();
    },
  };
}

/** In the place of an earlier note. */
const noPeriods = "-";

function readNote(note: string): { readonly periods: ServicePeriods; readonly untilMs: number } | null {
  const [from, count, oldest, before, until = "x"] = note.split(" ");
  const known = { fromMs: Number(from), count: Number(count), oldestMs: Number(oldest) };
  const beforeMs = before === "" ? null : Number(before);
  const untilMs = Number(until);
  const isWhole = [...Object.values(known), beforeMs ?? 0, untilMs].every(Number.isFinite);
  return isWhole ? { periods: { ...known, beforeMs }, untilMs } : null;
}

/** How many jobs were taken in each queue, and the oldest of them; with a row without a queue, of the reading. */
export function takenStatement(taken: string): string {
  return `
    WITH taken AS MATERIALIZED (SELECT * FROM (${taken}) jobs LIMIT ${countLimit})
    SELECT queue, count(*)::int AS jobs, ${epochMs("min(since)")} AS ms, NULL AS until, NULL::float8 AS until_ms FROM taken
    WHERE at <= now() - ${lag} GROUP BY queue
    UNION ALL SELECT NULL, (SELECT count(*) FROM taken)::int, ${epochMs("clock_timestamp()")}, (now() - ${lag})::text, ${epochMs(`(now() - ${lag})`)}`;
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
