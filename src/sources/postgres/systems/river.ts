import { depthsByState, headsByState, takenByState, waitingByState } from "../skip-scan.ts";
import type { FoundSystem, PostgresSystem } from "../system.ts";

/** River, for Go. Its table of queues says which are paused, and which are there without a job. */
export const river: PostgresSystem = {
  name: "river",
  table: "river_job",
  columns: ["state", "queue", "priority", "scheduled_at", "created_at", "attempt", "attempted_at"],
  needs: ["river_queue"],
  heads: (found) => `
    SELECT coalesce(heads.queue, queues.name) AS queue, age_ms, coalesce(accuracy, 'EXACT') AS accuracy,
      queues.paused_at IS NOT NULL AS paused
    FROM (${headsByState(jobsOf(found))}) heads
    FULL JOIN ${found.table("river_queue")} queues ON queues.name = heads.queue`,
  depths: (found, queues) => depthsByState(jobsOf(found), queues),
  overtaken: {
    taken: (found, after) => takenByState(jobsOf(found), after),
    waiting: (found) => waitingByState(jobsOf(found)),
  },
  /** Jobs that were cancelled may never have been taken. No index has the time at which jobs came. */
  counts(found, since) {
    if (!found.hasIndex("river_job", ["state", "finalized_at"], "NOT NULL")) return null;
    const ended = (state: string) => `
      SELECT queue, finalized_at AS at, extract(epoch FROM attempted_at - greatest(scheduled_at, created_at)) * 1000 AS wait_ms
      FROM ${found.table("river_job")} WHERE state = '${state}' AND finalized_at > ${since}`;
    return { left: `${ended("completed")} UNION ALL ${ended("discarded")}`, came: null };
  },
};

function jobsOf(found: FoundSystem) {
  return {
    jobs: found.table("river_job") ?? "river_job",
    stateType: found.type("river_job_state"),
    insertedAt: "created_at",
    running: "running",
  };
}
