import { aroundTime } from "../overtaken-jobs.ts";
import { ageMs, type CountedJobs, countLimit, type FoundSystem, type PostgresSystem } from "../system.ts";

/**
 * pg-boss, for Node.js, 12 or later. Its index (name, state, blocked, start_after) leads to the oldest job of a queue whatever the
 * priorities are. The states are constants of the statements, since that index has a condition. A job that was held back for
 * another one has `start_after` moved up to its release; one whose `startAfter` lay in the past waits since it was inserted.
 *
 * All times are the database's, those of retries too.
 */
export const pgBoss: PostgresSystem = {
  name: "pg-boss",
  table: "job",
  columns: ["name", "state", "blocked", "start_after", "created_on", "singleton_key", "keep_until"],
  needs: ["queue"],
  heads(found) {
    const oldest = (state: string) => `(
      SELECT j.start_after, j.created_on FROM ${found.table("job")} j
      WHERE j.name = queues.name AND j.state = '${state}' AND NOT j.blocked AND j.start_after <= now()
      ORDER BY j.start_after LIMIT 1)`;
    return `
      SELECT queues.name AS queue, ${ageMs("min(greatest(start_after, heads.created_on))")} AS age_ms, CASE
        WHEN bool_or(start_after < heads.created_on - interval '1 s') THEN 'LOWER_BOUND' ELSE 'EXACT' END AS accuracy,
        false AS paused
      FROM ${found.table("queue")} queues
      LEFT JOIN LATERAL (${oldest("created")} UNION ALL ${oldest("retry")}) heads ON true GROUP BY queues.name`;
  },
  counts,
  overtaken: {
    taken: leftOf,
    waiting(found) {
      const of = (state: string) =>
        aroundTime(
          `${found.table("job")} j WHERE j.name = asked.queue AND j.state = '${state}' AND NOT j.blocked`,
          "j.start_after",
          "greatest(j.start_after, j.created_on)",
        );
      return `${of("created")} UNION ALL ${of("retry")}`;
    },
  },
  depths(found, queues) {
    const counted = (state: string) => `
      SELECT count(*) FILTER (WHERE is_due) AS due, count(*) FILTER (WHERE NOT is_due) AS later, count(*) AS n FROM (
        SELECT j.start_after <= now() AS is_due FROM ${found.table("job")} j
        WHERE j.name = q.queue AND j.state = '${state}' AND NOT j.blocked ORDER BY j.start_after LIMIT ${countLimit}) jobs`;
    return `
      SELECT q.queue, sum(due)::int AS depth, CASE WHEN max(n) < ${countLimit} THEN sum(later)::int END AS scheduled
      FROM unnest(${queues}) AS q(queue)
      CROSS JOIN LATERAL (${counted("created")} UNION ALL ${counted("retry")}) counted GROUP BY q.queue`;
  },
};

function counts(found: FoundSystem, since: string): CountedJobs | null {
  const left = leftOf(found, since);
  if (left === null || !found.hasIndex("job", ["name", "created_on"])) return null;
  return { left, came: ofEach(found, "j.created_on AS at", `j.created_on > ${since}`) };
}

/** Null where no index has when jobs were done. */
function leftOf(found: FoundSystem, since: string): string | null {
  if (!found.hasIndex("job", ["name", "completed_on"], "NOT NULL")) return null;
  const claimable = "greatest(j.start_after, j.created_on)";
  return ofEach(
    found,
    `j.completed_on AS at, ${claimable} AS since, extract(epoch FROM j.started_on - ${claimable}) * 1000 AS wait_ms`,
    `j.completed_on > ${since} AND j.state IN ('completed', 'failed') AND j.started_on IS NOT NULL`,
  );
}

/** By queue: the indexes begin with it. */
function ofEach(found: FoundSystem, columns: string, condition: string): string {
  return `
    SELECT queues.name AS queue, jobs.* FROM ${found.table("queue")} queues
    CROSS JOIN LATERAL (SELECT ${columns} FROM ${found.table("job")} j WHERE j.name = queues.name AND ${condition}) jobs`;
}
