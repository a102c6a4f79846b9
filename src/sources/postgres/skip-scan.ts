import { aroundTime } from "./overtaken-jobs.ts";
import { ageMs, countLimit } from "./system.ts";

/** A table of jobs with the index (state, queue, priority, scheduled_at, id), by which its system claims jobs. */
export interface ClaimedByState {
  readonly jobs: string;
  readonly stateType: string;
  /** The column with the time of the insert, by the database's clock. */
  readonly insertedAt: string;
  /** The state of a job that a worker has. */
  readonly running: string;
}

/** How much later than `scheduled_at` a job was inserted or tried, in ms, before that time counts as too early. */
const earlyMs = 1_000;
/** How many jobs are looked at behind a first one whose time is too early. */
const windowSize = 100;
/** Of each pair of queue and priority, how many jobs are looked at for those that were taken lately. */
const takenPerPair = 20;
/** More pairs of queue and priority than these are not read: a row without a queue says so. */
const maxPairs = 10_000;

/** Jobs that are claimable, and those that are due but have not been moved to `available` yet: they wait, too. */
const states = ["available", "scheduled", "retryable"];

/**
 * The oldest job of each queue. It visits one row for each state, queue and priority: each step of the recursion is one descent of
 * the index, to the first row of the next pair of queue and priority.
 *
 * - A new job's time is the database's: EXACT. A retried or snoozed one's is that of its worker's clock: ESTIMATED.
 * - A producer may set `scheduled_at` back: such a job waits since it was inserted. A job that was rescued from a dead worker keeps
 *   `scheduled_at`, and waits since after it was attempted. Either may hide older ones: the next jobs are read, up to one with a
 *   time of its own, which is older than all behind it. Where there is none among a hundred: LOWER_BOUND.
 */
export function headsByState({ jobs, stateType, insertedAt }: ClaimedByState): string {
  const since = `greatest(j.scheduled_at, j.${insertedAt}, j.attempted_at)`;
  const isEarly = `j.scheduled_at < ${since} - interval '${earlyMs} ms'`;
  const columns = `j.queue, j.priority, j.scheduled_at, ${since} AS since, ${isEarly} AS is_early, j.attempt`;
  const order = "j.queue, j.priority, j.scheduled_at, j.id";
  return `
    WITH RECURSIVE pairs AS (
      SELECT s.state, first.* FROM unnest('{${states}}'::${stateType}[]) AS s(state)
      CROSS JOIN LATERAL (SELECT ${columns} FROM ${jobs} j WHERE j.state = s.state ORDER BY ${order} LIMIT 1) first
      UNION ALL
      SELECT pairs.state, next.* FROM pairs
      CROSS JOIN LATERAL (SELECT ${columns} FROM ${jobs} j
        WHERE j.state = pairs.state AND (j.queue, j.priority) > (pairs.queue, pairs.priority) ORDER BY ${order} LIMIT 1) next
    ), heads AS (
      SELECT found.queue, found.scheduled_at <= now() AS is_due, coalesce(next.since, found.since) AS since,
        coalesce(next.attempt, found.attempt) AS attempt, coalesce(next.may_be_older, false) AS may_be_older
      FROM (SELECT * FROM pairs LIMIT ${maxPairs}) found CROSS JOIN LATERAL (
        SELECT min(since) AS since, (array_agg(attempt ORDER BY since))[1] AS attempt,
          bool_and(is_early) AND count(*) = ${windowSize} AS may_be_older
        FROM (SELECT ${columns} FROM ${jobs} j
          WHERE found.is_early AND j.state = found.state AND j.queue = found.queue AND j.priority = found.priority AND j.scheduled_at <= now()
          ORDER BY ${order} LIMIT ${windowSize}) jobs
      ) next
    )
    SELECT queue, ${ageMs("min(since) FILTER (WHERE is_due)")} AS age_ms, CASE
      WHEN bool_or(is_due AND may_be_older) THEN 'LOWER_BOUND'
      WHEN (array_agg(attempt ORDER BY since) FILTER (WHERE is_due))[1] > 0 THEN 'ESTIMATED' ELSE 'EXACT' END AS accuracy
    FROM heads GROUP BY queue
    UNION ALL SELECT NULL, NULL, 'UNKNOWN' WHERE (SELECT count(*) FROM heads) = ${maxPairs}`;
}

/** Of each state 10,001 rows at most, in any order: of more scheduled ones it is not known how many are due: those that were seen are a lower bound. */
export function depthsByState({ jobs, stateType }: ClaimedByState, queues: string): string {
  return `
    SELECT q.queue, least(sum(due), ${countLimit})::int AS depth, bool_or(is_cut) AS is_lower_bound, sum(later)::int AS scheduled
    FROM unnest(${queues}) AS q(queue) CROSS JOIN unnest('{${states}}'::${stateType}[]) AS s(state)
    CROSS JOIN LATERAL (
      SELECT count(*) = ${countLimit} AS is_cut,
        CASE WHEN s.state = 'available' AND count(*) = ${countLimit} THEN ${countLimit} ELSE count(*) FILTER (WHERE is_due) END AS due,
        CASE WHEN count(*) < ${countLimit} THEN count(*) FILTER (WHERE NOT is_due)
          WHEN s.state <> 'available' THEN ${countLimit} ELSE 0 END AS later
      FROM (SELECT j.scheduled_at <= now() AS is_due FROM ${jobs} j
        WHERE j.state = s.state AND j.queue = q.queue LIMIT ${countLimit}) jobs
    ) counted GROUP BY q.queue`;
}

/**
 * Jobs that were taken after a time. Each pair of queue and priority is served in order, so that the jobs taken last are those at the end of
 * the ones that a worker has or had. Of one that failed and is to be retried the time is not known any more.
 */
export function takenByState(
  { jobs, stateType, insertedAt, running }: ClaimedByState,
  after: string,
): string {
  const order = "j.queue, j.priority";
  return `
    WITH RECURSIVE pairs AS (
      SELECT s.state, first.* FROM unnest('{${running},completed}'::${stateType}[]) AS s(state)
      CROSS JOIN LATERAL (SELECT j.queue, j.priority FROM ${jobs} j WHERE j.state = s.state ORDER BY ${order} LIMIT 1) first
      UNION ALL
      SELECT pairs.state, next.* FROM pairs
      CROSS JOIN LATERAL (SELECT j.queue, j.priority FROM ${jobs} j
        WHERE j.state = pairs.state AND (j.queue, j.priority) > (pairs.queue, pairs.priority) ORDER BY ${order} LIMIT 1) next
    )
    SELECT pairs.queue, attempted_at AS at, greatest(scheduled_at, ${insertedAt}) AS since
    FROM (SELECT * FROM pairs LIMIT ${maxPairs}) pairs CROSS JOIN LATERAL (
      SELECT j.attempted_at, j.scheduled_at, j.${insertedAt} FROM ${jobs} j
      WHERE j.state = pairs.state AND j.queue = pairs.queue AND j.priority = pairs.priority
      ORDER BY j.scheduled_at DESC LIMIT ${takenPerPair}) jobs
    WHERE attempted_at > ${after}`;
}

/** The waiting jobs of a queue by their times, from each state and priority. */
export function waitingByState({ jobs, stateType, insertedAt }: ClaimedByState): string {
  const inQueue = `${jobs} j WHERE j.state = s.state AND j.queue = asked.queue`;
  const since = `greatest(j.scheduled_at, j.${insertedAt}, j.attempted_at)`;
  return `
    SELECT jobs.* FROM unnest('{${states}}'::${stateType}[]) AS s(state)
    CROSS JOIN LATERAL (
      WITH RECURSIVE priorities AS (
        (SELECT j.priority FROM ${inQueue} ORDER BY j.priority LIMIT 1)
        UNION ALL
        SELECT next.priority FROM priorities CROSS JOIN LATERAL (
          SELECT j.priority FROM ${inQueue} AND j.priority > priorities.priority ORDER BY j.priority LIMIT 1) next
      ) SELECT priority FROM priorities) p
    CROSS JOIN LATERAL (${aroundTime(`${inQueue} AND j.priority = p.priority`, "j.scheduled_at", since)}) jobs`;
}
