import { aroundTime } from "../overtaken-jobs.ts";
import { ageMs, countLimit, type FoundSystem, type PostgresSystem } from "../system.ts";

/**
 * GoodJob, for Ruby on Rails, 3.18 or later. The index (queue_name, scheduled_at) of unfinished jobs leads to the oldest job of a
 * queue whatever the priorities are. The rows before it are those of running jobs, which are as many as there are workers. Rails
 * writes the times: ESTIMATED. A job whose time was set back waits since it was made, and may hide older ones: LOWER_BOUND.
 */
export const goodJob: PostgresSystem = {
  name: "good_job",
  table: "good_jobs",
  columns: ["queue_name", "scheduled_at", "performed_at", "finished_at", "created_at"],
  uses: ["good_job_settings"],
  heads: (found) => `
    WITH RECURSIVE names AS (
      (SELECT queue_name FROM ${jobsOf(found)} WHERE finished_at IS NULL ORDER BY queue_name LIMIT 1)
      UNION ALL
      SELECT next.queue_name FROM names CROSS JOIN LATERAL (
        SELECT j.queue_name FROM ${jobsOf(found)} j WHERE j.finished_at IS NULL AND j.queue_name > names.queue_name
        ORDER BY j.queue_name LIMIT 1) next
    )
    SELECT names.queue_name AS queue, ${ageMs("greatest(heads.scheduled_at, heads.created_at)")} AS age_ms, CASE
        WHEN heads.scheduled_at IS NULL THEN 'EXACT'
        WHEN heads.scheduled_at < heads.created_at - interval '1 s' THEN 'LOWER_BOUND' ELSE 'ESTIMATED' END AS accuracy, ${pausedOf(found)} AS paused
    FROM (SELECT * FROM names LIMIT 10000) names LEFT JOIN LATERAL (
      SELECT j.scheduled_at, j.created_at FROM ${jobsOf(found)} j
      WHERE j.finished_at IS NULL AND j.queue_name = names.queue_name AND j.performed_at IS NULL AND j.scheduled_at <= now()
      ORDER BY j.scheduled_at LIMIT 1) heads ON true
    WHERE names.queue_name IS NOT NULL
    UNION ALL SELECT NULL, NULL, 'UNKNOWN', false WHERE (SELECT count(*) FROM (SELECT 1 FROM names LIMIT 10000) read) = 10000`,
  /** Where jobs are kept when they are done, as they are by default. */
  overtaken: {
    taken: (found, after) =>
      found.hasIndex("good_jobs", ["finished_at"], "NOT NULL")
        ? `SELECT queue_name AS queue, finished_at AS at, greatest(scheduled_at, created_at) AS since FROM ${jobsOf(found)}
          WHERE finished_at > ${after} AND performed_at IS NOT NULL`
        : null,
    waiting: (found) =>
      aroundTime(
        `${jobsOf(found)} j WHERE j.finished_at IS NULL AND j.queue_name = asked.queue AND j.performed_at IS NULL`,
        "j.scheduled_at",
        "greatest(j.scheduled_at, j.created_at)",
      ),
  },
  depths: (found, queues) => `
    SELECT q.queue, count(*) FILTER (WHERE is_due)::int AS depth,
      CASE WHEN count(*) < ${countLimit} THEN count(*) FILTER (WHERE NOT is_due)::int END AS scheduled
    FROM unnest(${queues}) AS q(queue) LEFT JOIN LATERAL (
      SELECT j.scheduled_at <= now() AS is_due FROM ${jobsOf(found)} j
      WHERE j.finished_at IS NULL AND j.queue_name = q.queue AND j.performed_at IS NULL
      ORDER BY j.scheduled_at LIMIT ${countLimit}) jobs ON true GROUP BY q.queue`,
};

function jobsOf(found: FoundSystem): string | null {
  return found.table("good_jobs");
}

/** The setting `pauses` is `{ "queues": ["mail"], "job_classes": [...], "labels": [...] }`. */
function pausedOf(found: FoundSystem): string {
  const settings = found.table("good_job_settings");
  if (settings === null) return "false";
  return `EXISTS (SELECT 1 FROM ${settings} s WHERE s.key = 'pauses' AND (s.value::jsonb -> 'queues') ? names.queue_name)`;
}
