import { ageMs, countLimit, type FoundSystem, type PostgresSystem } from "../system.ts";

/**
 * Que, for Ruby, 1 or later. A job that a worker has differs from one that waits in nothing but an advisory lock on its id: the
 * rows before the oldest one that waits are those that are locked. Times are the database's, those of retries too.
 *
 * A standby has no locks of its primary's workers: there a job that is due may be in work. UNKNOWN.
 */
export const que: PostgresSystem = {
  name: "que",
  table: "que_jobs",
  columns: ["id", "job_schema_version", "queue", "priority", "run_at", "finished_at", "expired_at"],
  heads(found) {
    const jobs = `${found.table("que_jobs")} j WHERE j.finished_at IS NULL AND j.expired_at IS NULL`;
    const first = "SELECT j.job_schema_version, j.queue, j.priority FROM";
    const order = "ORDER BY j.job_schema_version, j.queue, j.priority, j.run_at, j.id LIMIT 1";
    return `
      WITH RECURSIVE ${locked}, pairs AS (
        (${first} ${jobs} ${order})
        UNION ALL
        SELECT next.* FROM pairs CROSS JOIN LATERAL (${first} ${jobs} AND (j.job_schema_version, j.queue, j.priority)
          > (pairs.job_schema_version, pairs.queue, pairs.priority) ${order}) next
      )
      SELECT pairs.queue, ${ageMs("min(heads.run_at)")} AS age_ms,
        CASE WHEN min(heads.run_at) IS NOT NULL AND pg_is_in_recovery() THEN 'UNKNOWN' ELSE 'EXACT' END AS accuracy, false AS paused
      FROM (SELECT * FROM pairs LIMIT 10000) pairs LEFT JOIN LATERAL (
        SELECT j.run_at FROM ${jobs} AND j.job_schema_version = pairs.job_schema_version AND j.queue = pairs.queue
          AND j.priority = pairs.priority AND j.run_at <= now() AND j.id NOT IN (SELECT id FROM locked)
        ORDER BY j.run_at, j.id LIMIT 1) heads ON true
      GROUP BY pairs.queue
      UNION ALL SELECT NULL, NULL, 'UNKNOWN', false WHERE (SELECT count(*) FROM (SELECT 1 FROM pairs LIMIT 10000) read) = 10000`;
  },
  depths: (found: FoundSystem, queues) => `
    WITH ${locked}
    SELECT q.queue, CASE WHEN NOT pg_is_in_recovery() OR due = 0 THEN due::int END AS depth, n = ${countLimit} AS is_lower_bound,
      CASE WHEN n < ${countLimit} THEN later::int END AS scheduled
    FROM unnest(${queues}) AS q(queue) CROSS JOIN LATERAL (
      SELECT count(*) AS n, count(*) FILTER (WHERE is_due AND NOT is_locked) AS due, count(*) FILTER (WHERE NOT is_due) AS later FROM (
        SELECT j.run_at <= now() AS is_due, j.id IN (SELECT id FROM locked) AS is_locked
        FROM ${found.table("que_jobs")} j JOIN unnest(ARRAY[1, 2]) AS v(version) ON v.version = j.job_schema_version
        WHERE j.finished_at IS NULL AND j.expired_at IS NULL AND j.queue = q.queue LIMIT ${countLimit}) jobs
    ) counted`,
};

/** The ids on which there is an advisory lock, which keeps a bigint as two halves. */
const locked = `locked AS MATERIALIZED (
  SELECT (classid::bigint << 32) | objid::bigint AS id FROM pg_locks
  WHERE locktype = 'advisory' AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`;
