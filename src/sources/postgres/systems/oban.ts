import { depthsByState, headsByState, takenByState, waitingByState } from "../skip-scan.ts";
import type { FoundSystem, PostgresSystem } from "../system.ts";

/**
 * Oban, for Elixir (migration 8 or later) and for Python. Oban for Python and Oban Pro write into
 * `oban_producers` which producers are paused: a queue is when all of its producers are. There a queue is known as long as it has a producer.
 */
export const oban: PostgresSystem = {
  name: "oban",
  table: "oban_jobs",
  columns: ["state", "queue", "priority", "scheduled_at", "inserted_at", "attempt", "attempted_at"],
  uses: ["oban_producers"],
  heads(found) {
    const producers = found.table("oban_producers");
    const heads = headsByState(jobsOf(found));
    if (producers === null) return `SELECT *, false AS paused FROM (${heads}) heads`;
    return `
      SELECT queue, age_ms, coalesce(accuracy, 'EXACT') AS accuracy, coalesce(paused, false) AS paused
      FROM (${heads}) heads FULL JOIN (
        SELECT queue, bool_and(coalesce(meta ->> 'paused', 'false') = 'true') AS paused FROM ${producers} GROUP BY queue
      ) producers USING (queue)`;
  },
  depths: (found, queues) => depthsByState(jobsOf(found), queues),
  overtaken: {
    taken: (found, after) => takenByState(jobsOf(found), after),
    waiting: (found) => waitingByState(jobsOf(found)),
  },
};

function jobsOf(found: FoundSystem) {
  return {
    jobs: found.table("oban_jobs") ?? "oban_jobs",
    stateType: found.type("oban_job_state"),
    insertedAt: "inserted_at",
    running: "executing",
  };
}
