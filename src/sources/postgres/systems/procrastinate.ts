import { ageMs, countLimit, type PostgresSystem } from "../system.ts";

/** How many jobs of each priority are looked at, in the order of their ids. */
const windowSize = 1_000;

/**
 * Procrastinate, for Python, 3 or later. A job has no time of its own unless it was scheduled or retried: the table of events says
 * when it was deferred, by the database's clock.
 *
 * Its index is (priority, id), without the queue: of each priority the first jobs are looked at. A job without `scheduled_at` has
 * waited longer than all those with a greater id; one with it may stand before an older one that was not looked at: LOWER_BOUND.
 */
export const procrastinate: PostgresSystem = {
  name: "procrastinate",
  table: "procrastinate_jobs",
  columns: ["id", "queue_name", "priority", "status", "scheduled_at"],
  needs: ["procrastinate_events"],
  heads(found) {
    const jobs = found.table("procrastinate_jobs");
    return `
      WITH RECURSIVE priorities AS (
        (SELECT priority FROM ${jobs} WHERE status = 'todo' ORDER BY priority DESC LIMIT 1)
        UNION ALL
        SELECT next.priority FROM priorities CROSS JOIN LATERAL (
          SELECT j.priority FROM ${jobs} j WHERE j.status = 'todo' AND j.priority < priorities.priority
          ORDER BY j.priority DESC LIMIT 1) next
      ), looked_at AS (
        SELECT j.*, count(*) OVER (PARTITION BY j.priority) = ${windowSize} AS has_more
        FROM (SELECT * FROM priorities LIMIT 1000) priorities CROSS JOIN LATERAL (
          SELECT id, priority, queue_name, scheduled_at FROM ${jobs} j
          WHERE j.status = 'todo' AND j.priority = priorities.priority ORDER BY j.priority DESC, j.id LIMIT ${windowSize}) j
      ), oldest AS (
        SELECT DISTINCT ON (queue_name, priority, scheduled_at IS NULL) * FROM looked_at
        WHERE scheduled_at IS NULL OR scheduled_at <= now()
        ORDER BY queue_name, priority, scheduled_at IS NULL, scheduled_at, id
      ), heads AS (
        SELECT DISTINCT ON (queue_name) queue_name, scheduled_at IS NOT NULL AND has_more AS may_be_older,
          greatest(scheduled_at, deferred.at) AS since
        FROM oldest CROSS JOIN LATERAL (
          SELECT min(e.at) AS at FROM ${found.table("procrastinate_events")} e
          WHERE e.job_id = oldest.id AND e.type = 'deferred') deferred
        ORDER BY queue_name, since
      )
      SELECT queue_name AS queue, ${ageMs("heads.since")} AS age_ms, CASE
        WHEN heads.queue_name IS NOT NULL AND since IS NULL THEN 'UNKNOWN'
        WHEN may_be_older THEN 'LOWER_BOUND'
        WHEN heads.queue_name IS NULL AND full_window.is_there THEN 'UNKNOWN' ELSE 'EXACT' END AS accuracy,
        false AS paused
      FROM heads FULL JOIN (SELECT DISTINCT queue_name FROM looked_at) queues USING (queue_name)
      CROSS JOIN (SELECT coalesce(bool_or(has_more), false) AS is_there FROM looked_at) full_window
      UNION ALL
      SELECT NULL, NULL, 'UNKNOWN', false WHERE EXISTS (SELECT 1 FROM looked_at WHERE has_more)`;
  },
  /** All jobs up to the limit: with more than that no queue's number is known. */
  depths: (found, queues) => `
    WITH jobs AS MATERIALIZED (
      SELECT queue_name, (scheduled_at IS NULL OR scheduled_at <= now()) AS is_due FROM ${found.table("procrastinate_jobs")}
      WHERE status = 'todo' ORDER BY priority DESC, id LIMIT ${countLimit}
    ), total AS (SELECT count(*) AS n FROM jobs)
    SELECT q.queue,
      count(*) FILTER (WHERE is_due)::int AS depth, n = ${countLimit} AS is_lower_bound,
      CASE WHEN n < ${countLimit} THEN count(*) FILTER (WHERE NOT is_due)::int END AS scheduled
    FROM total CROSS JOIN unnest(${queues}) AS q(queue) LEFT JOIN jobs ON jobs.queue_name = q.queue GROUP BY q.queue, n`,
};
