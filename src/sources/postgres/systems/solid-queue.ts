import { ageMs, countLimit, type FoundSystem, type PostgresSystem } from "../system.ts";

const ready = "solid_queue_ready_executions";
/** How many jobs that are due and not dispatched yet are looked at, oldest first. */
const windowSize = 1_000;

/**
 * Solid Queue, for Ruby on Rails. No index of its own has `created_at`: of each queue and priority the job is read that is claimed
 * next, and there may be older ones: LOWER_BOUND. With an index on (queue_name, created_at) it is the oldest. Rails writes the
 * times: ESTIMATED. Jobs that are due and not dispatched yet wait; blocked ones do not.
 */
export const solidQueue: PostgresSystem = {
  name: "solid_queue",
  table: ready,
  columns: ["queue_name", "priority", "job_id", "created_at"],
  needs: ["solid_queue_scheduled_executions"],
  uses: ["solid_queue_pauses"],
  heads(found) {
    const isIndexed = found.hasIndex(ready, ["queue_name", "created_at"]);
    const pauses = found.table("solid_queue_pauses");
    const isPaused =
      pauses === null ? "false" : `EXISTS (SELECT 1 FROM ${pauses} p WHERE p.queue_name = queues.queue_name)`;
    return `
      WITH RECURSIVE ${isIndexed ? firstByAge(found) : firstByPriority(found)}, due AS MATERIALIZED (
        SELECT queue_name, scheduled_at FROM ${scheduledOf(found)} WHERE scheduled_at <= now()
        ORDER BY scheduled_at, priority, job_id LIMIT ${windowSize}
      ), heads AS (
        SELECT queue_name, created_at AS since FROM (SELECT * FROM first LIMIT 10000) first
        UNION ALL SELECT queue_name, scheduled_at FROM due
      ), queues AS (SELECT queue_name, min(since) AS since FROM heads GROUP BY queue_name)
      SELECT queue_name AS queue, ${ageMs("since")} AS age_ms, '${isIndexed ? "ESTIMATED" : "LOWER_BOUND"}' AS accuracy,
        ${isPaused} AS paused FROM queues
      UNION ALL SELECT NULL, NULL, 'UNKNOWN', false
      WHERE (SELECT count(*) FROM (SELECT 1 FROM first LIMIT 10000) read) = 10000 OR (SELECT count(*) FROM due) = ${windowSize}`;
  },
  depths: (found, queues) => `
    WITH later AS MATERIALIZED (
      SELECT queue_name, scheduled_at <= now() AS is_due FROM ${scheduledOf(found)}
      ORDER BY scheduled_at, priority, job_id LIMIT ${countLimit}
    ), total AS (SELECT count(*) AS n, count(*) FILTER (WHERE is_due) AS due FROM later)
    SELECT q.queue,
      (ready.n + count(*) FILTER (WHERE is_due))::int AS depth, total.due = ${countLimit} AS is_lower_bound,
      CASE WHEN total.n < ${countLimit} THEN count(*) FILTER (WHERE NOT is_due)::int END AS scheduled
    FROM total CROSS JOIN unnest(${queues}) AS q(queue)
    CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
      SELECT 1 FROM ${found.table(ready)} r WHERE r.queue_name = q.queue LIMIT ${countLimit}) jobs) ready
    LEFT JOIN later ON later.queue_name = q.queue GROUP BY q.queue, ready.n, total.n, total.due`,
};

function scheduledOf(found: FoundSystem): string | null {
  return found.table("solid_queue_scheduled_executions");
}

function firstByPriority(found: FoundSystem): string {
  const row = `SELECT r.queue_name, r.priority, r.created_at FROM ${found.table(ready)} r`;
  const order = "ORDER BY r.queue_name, r.priority, r.job_id LIMIT 1";
  return `first AS (
    (${row} ${order})
    UNION ALL
    SELECT next.* FROM first CROSS JOIN LATERAL (
      ${row} WHERE (r.queue_name, r.priority) > (first.queue_name, first.priority) ${order}) next)`;
}

function firstByAge(found: FoundSystem): string {
  const row = `SELECT r.queue_name, r.created_at FROM ${found.table(ready)} r`;
  const order = "ORDER BY r.queue_name, r.created_at LIMIT 1";
  return `first AS (
    (${row} ${order})
    UNION ALL
    SELECT next.* FROM first CROSS JOIN LATERAL (${row} WHERE r.queue_name > first.queue_name ${order}) next)`;
}
