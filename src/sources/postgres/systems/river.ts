import { depthsByState, headsByState } from "../skip-scan.ts";
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
};

function jobsOf(found: FoundSystem) {
  return {
    jobs: found.table("river_job") ?? "river_job",
    stateType: found.type("river_job_state"),
    insertedAt: "created_at",
  };
}
