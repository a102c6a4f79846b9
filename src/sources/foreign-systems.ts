import type { Cluster, Redis } from "ioredis";

/** A key that a job system always has, once it has had a job; none that is written by several of them. */
const marks = [
  { system: "sidekiq", key: "queues", type: "set", setting: "SIDEKIQ_URL" },
  { system: "celery", key: "_kombu.binding.celery", type: "set", setting: "CELERY_URL" },
  { system: "rq", key: "rq:queues", type: "set", setting: "RQ_URL" },
  { system: "resque", key: "resque:queues", type: "set", setting: "RESQUE_URL" },
  { system: "asynq", key: "asynq:queues", type: "set", setting: "ASYNQ_URL" },
] as const;

type MarkedSystem = (typeof marks)[number]["system"];

/**
 * Why a Redis has no queues of a job system, for the log: it has another one's, so the URL is probably in the wrong setting; or it has
 * no known ones.
 */
export async function foreignSystems(redis: Redis | Cluster, own: MarkedSystem | null): Promise<string> {
  const others = marks.filter(({ system }) => system !== own);
  const types = await Promise.all(others.map(({ key }) => redis.type(key)));
  const found = others.filter(({ type }, i) => types[i] === type);
  if (found.length === 0)
    return "this database has no keys of a job system; the URL names another one behind the port";
  const named = found.map(({ system, setting }) => `${system} (${setting})`);
  return `this database has keys of another job system: ${named.join(", ")}`;
}
