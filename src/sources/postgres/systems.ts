import type { PostgresSystemName } from "../../settings/postgres-url.ts";
import type { PostgresSystem } from "./system.ts";
import { delayedJob } from "./systems/delayed-job.ts";
import { goodJob } from "./systems/good-job.ts";
import { graphileWorker } from "./systems/graphile-worker.ts";
import { oban } from "./systems/oban.ts";
import { pgBoss } from "./systems/pg-boss.ts";
import { procrastinate } from "./systems/procrastinate.ts";
import { que } from "./systems/que.ts";
import { river } from "./systems/river.ts";
import { solidQueue } from "./systems/solid-queue.ts";

/** Every job system in Postgres that can be read, a line each. */
export const postgresSystems: Readonly<Record<PostgresSystemName, PostgresSystem>> = {
  oban,
  river,
  "pg-boss": pgBoss,
  "graphile-worker": graphileWorker,
  procrastinate,
  good_job: goodJob,
  solid_queue: solidQueue,
  que,
  delayed_job: delayedJob,
};
