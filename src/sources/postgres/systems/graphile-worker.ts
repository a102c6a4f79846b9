import { ageMs, countLimit, type PostgresSystem } from "../system.ts";

/** How many due jobs of each priority are looked at, oldest first. */
const windowSize = 1_000;

/**
 * Graphile Worker, for Node.js, 0.16 or later. A queue is a task: its named queues only make jobs run one after the other.
 *
 * Its index is (priority, run_at), without the task: of each priority the oldest due jobs are looked at. A task that is met there
 * is met at its oldest job. Where there are more jobs, it is not known whether a task that is not met has any: UNKNOWN.
 * The tables have row security: a role that does not bypass it would see no rows, and must not be taken for one that sees an
 * empty queue. Times are the database's, those of retries too.
 */
export const graphileWorker: PostgresSystem = {
  name: "graphile-worker",
  table: "_private_jobs",
  columns: ["task_id", "priority", "run_at", "created_at", "is_available"],
  needs: ["_private_tasks"],
  heads(found) {
    const jobs = found.table("_private_jobs");
    return `
      WITH RECURSIVE priorities AS (
        (SELECT priority FROM ${jobs} WHERE is_available ORDER BY priority LIMIT 1)
        UNION ALL
        SELECT next.priority FROM priorities CROSS JOIN LATERAL (
          SELECT j.priority FROM ${jobs} j WHERE j.is_available AND j.priority > priorities.priority ORDER BY j.priority LIMIT 1) next
      ), looked_at AS (
        SELECT j.id, j.task_id, j.run_at, row_number() OVER (PARTITION BY priorities.priority) AS n
        FROM (SELECT * FROM priorities LIMIT 1000) priorities CROSS JOIN LATERAL (
          SELECT id, task_id, run_at FROM ${jobs} j
          WHERE j.is_available AND j.priority = priorities.priority AND j.run_at <= now() ORDER BY j.run_at LIMIT ${windowSize}) j
      ), oldest AS (
        SELECT DISTINCT ON (task_id) task_id, id, run_at FROM looked_at ORDER BY task_id, run_at
      )
      SELECT tasks.identifier AS queue, ${ageMs("greatest(oldest.run_at, j.created_at)")} AS age_ms, CASE
        WHEN j.run_at < j.created_at - interval '1 s' THEN 'LOWER_BOUND'
        WHEN j.id IS NULL AND EXISTS (SELECT 1 FROM looked_at WHERE n = ${windowSize}) THEN 'UNKNOWN' ELSE 'EXACT' END AS accuracy,
        false AS paused
      FROM ${found.table("_private_tasks")} tasks
      LEFT JOIN oldest ON oldest.task_id = tasks.id LEFT JOIN ${jobs} j ON j.id = oldest.id`;
  },
  /** All jobs up to the limit: with more than that no task's number is known. */
  depths: (found, queues) => `
    WITH jobs AS MATERIALIZED (
      SELECT task_id, run_at <= now() AS is_due FROM ${found.table("_private_jobs")} WHERE is_available
      ORDER BY priority, run_at LIMIT ${countLimit}
    ), total AS (SELECT count(*) AS n FROM jobs)
    SELECT tasks.identifier AS queue,
      count(*) FILTER (WHERE is_due)::int AS depth, n = ${countLimit} AS is_lower_bound,
      CASE WHEN n < ${countLimit} THEN count(*) FILTER (WHERE NOT is_due)::int END AS scheduled
    FROM total CROSS JOIN ${found.table("_private_tasks")} tasks LEFT JOIN jobs ON jobs.task_id = tasks.id
    WHERE tasks.identifier = ANY (${queues}) GROUP BY tasks.identifier, n`,
};
