import type { Redis } from "ioredis";
import { type PolledKind, polledKindNames, type SourceKind } from "../../src/settings/source-kinds.ts";
import { createSource } from "../../src/sources/create-source.ts";
import { type WatchedSource, watchSource } from "./watched-source.ts";

/** A job system in Redis, as its own client leaves it there with one job in a queue. */
export interface JobSystemKeys {
  readonly kind: SourceKind;
  /** As the queue is named by its source. */
  readonly queueOf: (name: string) => string;
  readonly addQueue: (at: Redis, name: string) => Promise<unknown>;
  /** What its source needs to know. */
  readonly parameters?: string;
}

const id = "62720ec1-5a25-81bb-2258-24a6b7a3c001";
const asIs = (name: string) => name;

export const jobSystemKeys: readonly JobSystemKeys[] = [
  {
    kind: "sidekiq",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .sadd("queues", name)
        .lpush(
          `queue:${name}`,
          `{"class":"Work","args":[],"jid":"62720ec15a2581bb","enqueued_at":1700000000}`,
        )
        .exec(),
  },
  {
    kind: "bullmq",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .hset(`bull:${name}:meta`, "opts.maxLenEvents", "10000", "version", "bullmq:5.0.0")
        .set(`bull:${name}:id`, "1")
        .hset(`bull:${name}:1`, "name", "work", "data", "{}", "opts", "{}", "timestamp", "1700000000000")
        .lpush(`bull:${name}:wait`, "1")
        .xadd(`bull:${name}:events`, "*", "event", "waiting", "jobId", "1")
        .exec(),
  },
  {
    kind: "bull",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .set(`bull:${name}:id`, "1")
        .hset(`bull:${name}:1`, "name", "work", "data", "{}", "opts", "{}", "timestamp", "1700000000000")
        .lpush(`bull:${name}:wait`, "1")
        .exec(),
  },
  {
    kind: "asynq",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .sadd("asynq:queues", name)
        .hset(`asynq:{${name}}:t:${id}`, "state", "pending", "pending_since", "1700000000000000000")
        .lpush(`asynq:{${name}}:pending`, id)
        .exec(),
  },
  {
    kind: "streams",
    queueOf: (name) => `jobs-of-${name}/workers`,
    addQueue: (at, name) =>
      at
        .multi()
        .xgroup("CREATE", `jobs-of-${name}`, "workers", "0", "MKSTREAM")
        .xadd(`jobs-of-${name}`, "*", "job", "1")
        .exec(),
    parameters: "?streams=jobs-of-*",
  },
  {
    kind: "celery",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .sadd(`_kombu.binding.${name}`, `${name}\x06\x16\x06\x16${name}`)
        .lpush(name, `{"body":"W10=","headers":{"id":"${id}"},"properties":{"delivery_tag":"${id}"}}`)
        .exec(),
  },
  {
    kind: "rq",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .sadd("rq:queues", `rq:queue:${name}`)
        .hset(`rq:job:${id}`, "status", "queued", "enqueued_at", "2023-11-14T22:13:20.000000Z")
        .rpush(`rq:queue:${name}`, id)
        .exec(),
  },
  {
    kind: "laravel",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .rpush(`laravel_database_queues:${name}`, `{"uuid":"${id}","job":"Work","id":"x","attempts":0}`)
        .rpush(`laravel_database_queues:${name}:notify`, "1")
        .exec(),
  },
  {
    kind: "resque",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .sadd("resque:queues", name)
        .rpush(`resque:queue:${name}`, '{"class":"Work","args":[]}')
        .exec(),
  },
  {
    kind: "dramatiq",
    queueOf: asIs,
    addQueue: (at, name) =>
      at
        .multi()
        .hset(`dramatiq:${name}.msgs`, id, `{"queue_name":"${name}","message_timestamp":1700000000000}`)
        .rpush(`dramatiq:${name}`, id)
        .exec(),
  },
  {
    kind: "huey",
    queueOf: asIs,
    addQueue: (at, name) => at.lpush(`huey.redis.${name}`, "pickled"),
  },
  {
    kind: "arq",
    queueOf: (name) => `jobs:${name}`,
    addQueue: (at, name) =>
      at
        .multi()
        .zadd(`jobs:${name}`, 1_700_000_000_000, id)
        .set(
          `jobs:${name}:health-check`,
          "Nov-14 22:13:20 j_complete=0 j_failed=0 j_retried=0 j_ongoing=0 queued=1",
        )
        .exec(),
  },
];

/** Starts the source of a job system as the settings do; it ends with the test. */
export function watchJobSystem(
  { kind, parameters = "" }: JobSystemKeys,
  url: string,
): Promise<WatchedSource> {
  const intervalsMs = Object.fromEntries(polledKindNames.map((each) => [each, 50])) as Record<
    PolledKind,
    number
  >;
  return watchSource(({ sink, logger }) =>
    createSource(
      { intervalsMs, bullmqReconcileMs: 1_000 },
      { kind, name: kind, url: `${url}${parameters}` },
      {
        ...sink,
        notes: async () => new Map(),
        cursors: async () => new Map(),
        follow: async () => {
          throw new Error("not meant to be followed");
        },
        gone: async () => {},
      },
      logger,
    ),
  );
}
