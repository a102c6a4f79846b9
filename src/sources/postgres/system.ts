import type { PostgresSystemName } from "../../settings/postgres-url.ts";

/** A job system as it was found in a database. */
export interface FoundSystem {
  /** The quoted name of one of its tables, with its schema; null when there is none that may be read. */
  table(name: string): string | null;
  /** A type of its schema, quoted. */
  type(name: string): string;
  /**
   * Whether a table, or a partition of it, has an index that begins with these columns: of all rows; or, with `NOT NULL`, of those in
   * which a column is not null.
   */
  hasIndex(table: string, columns: readonly string[], condition?: "NOT NULL"): boolean;
}

/** SELECTs of what happened after a time, by an index that begins with it or with the queue and it. */
export interface CountedJobs {
  /** Jobs that finished: `queue`; `at`; `wait_ms`, from claimable to taken. */
  readonly left: string;
  /** Jobs that came: `queue` and `at`. Null: there is no such index. */
  readonly came: string | null;
}

/** One job system: how its tables are recognised, and what is asked of them. */
export interface PostgresSystem {
  readonly name: PostgresSystemName;
  /** The table of its jobs, and the columns that the statements need: with these it is there. */
  readonly table: string;
  readonly columns: readonly string[];
  /** Other tables that must be there. */
  readonly needs?: readonly string[];
  /** Other tables that are read where they are. */
  readonly uses?: readonly string[];
  /**
   * A SELECT that reads a bounded part of the tables, however many jobs wait, with a row for each queue: `queue`; `age_ms`, how
   * long its oldest claimable job has been that, null when there is none; `accuracy`; `paused`.
   */
  heads(found: FoundSystem): string;
  /**
   * A SELECT with a row for each queue of an array: `queue`, `depth`, `scheduled`, and `is_lower_bound` where not all jobs of the queue
   * could be looked at: then more than `depth` may wait. One that is greater than
   * {@link maxCounted} may be too small; `scheduled` is null when it is not known.
   */
  depths(found: FoundSystem, queues: string): string;
  /**
   * What finished and what came after a time, which is SQL; null where no index has it.
   * Absent: the system has no such index, or deletes what is done.
   */
  counts?(found: FoundSystem, since: string): CountedJobs | null;
  /** Absent: it is not known which jobs are taken, or no index leads to the waiting jobs of a queue by their times. */
  readonly overtaken?: OvertakenStatements;
}

/** What is asked to find jobs that later ones overtook. */
export interface OvertakenStatements {
  /**
   * A SELECT of jobs that were taken after a time, or that finished after it, in a bounded part of the tables: `queue`; `at`, when that
   * was; `since`, when each had become claimable. Where not all are found, those that were taken in order must be. Null where no
   * index has it.
   */
  taken(found: FoundSystem, after: string): string | null;
  /** Both sides of `asked.before` in `asked.queue`: see `aroundTime`. */
  waiting(found: FoundSystem): string;
}

/** Jobs are counted up to here. */
export const maxCounted = 10_000;

/** One more row than is counted, to know that there are more. */
export const countLimit = maxCounted + 1;

/**
 * How long ago that was, in ms, by the database's clock. Of a `timestamp`, which these systems keep in UTC, as of a `timestamptz`.
 * By `clock_timestamp()`, since `now()` is the start of our own transaction. Conditions use `now()`, since an index
 * can: that transaction is one message, and began a moment ago.
 */
export function ageMs(time: string): string {
  return `((extract(epoch FROM clock_timestamp()) - extract(epoch FROM ${time})) * 1000)::float8`;
}

/** As ms since the epoch. */
export function epochMs(time: string): string {
  return `(extract(epoch FROM ${time}) * 1000)::float8`;
}

/** A row may become visible so long after its time: its transaction is not committed yet, or its worker's clock is behind. */
export const lag = "interval '2 s'";
