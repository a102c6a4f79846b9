import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type JobSystemKeys, watchJobSystem } from "../support/job-systems.ts";
import { startPostgres, type TestPostgres, whyNoPostgres } from "../support/postgres.ts";
import { fixtures } from "../support/postgres-fixtures.ts";
import { watchPostgres } from "../support/postgres-source.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

let server: TestRedis;
let databases = 0;

beforeAll(async () => {
  server = await startRedis({ args: ["--databases", "64"] });
});

afterAll(() => server?.stop());

const hourMs = 3_600_000;
const nearMs = 59_000;
const oldMs = 300_000;

interface System extends Pick<JobSystemKeys, "kind" | "parameters"> {
  readonly title: string;
  /** @default "q" */
  readonly queue?: string;
  /** Adds a job to queue `q`, with the time that its producer's clock had. */
  readonly push: (at: Redis, atMs: number, id: string) => Promise<unknown>;
  /** Whether the source knows for how long it has seen the head. */
  readonly isSeen?: boolean;
  /** Whether the job system itself takes the jobs in the order of their times. */
  readonly isByTime?: boolean;
  /** Accuracy when only a later job's time lies too far ahead. @default "ESTIMATED" */
  readonly later?: "LOWER_BOUND";
}

const iso = (atMs: number) => new Date(atMs).toISOString();

/** Each source that measures the age of a head by a time that a producer's clock wrote. */
const systems: readonly System[] = [
  {
    ...{ title: "Sidekiq 8", kind: "sidekiq" },
    push: (at, atMs, jid) => pushSidekiq(at, JSON.stringify({ jid, enqueued_at: Math.round(atMs) })),
  },
  {
    ...{ title: "Sidekiq 7", kind: "sidekiq" },
    push: (at, atMs, jid) => pushSidekiq(at, JSON.stringify({ jid, enqueued_at: atMs / 1_000 })),
  },
  {
    ...{ title: "asynq", kind: "asynq" },
    push: (at, atMs, id) =>
      at
        .multi()
        .sadd("asynq:queues", "q")
        .hset(`asynq:{q}:t:${id}`, "state", "pending", "pending_since", `${atMs}000000`)
        .lpush("asynq:{q}:pending", id)
        .exec(),
  },
  {
    ...{ title: "Bull", kind: "bull", isSeen: true, later: "LOWER_BOUND" },
    push: (at, atMs, id) =>
      at
        .multi()
        .set("bull:q:id", "1")
        .hset(`bull:q:${id}`, "name", "work", "data", "{}", "opts", "{}", "timestamp", `${atMs}`)
        .lpush("bull:q:wait", id)
        .exec(),
  },
  {
    ...{ title: "Streams", kind: "streams", parameters: "?streams=s", queue: "s/g", isByTime: true },
    async push(at, atMs) {
      await at.xgroup("CREATE", "s", "g", "0", "MKSTREAM").catch(() => {});
      await at.xadd("s", `${atMs}-0`, "job", "1");
    },
  },
  {
    ...{ title: "Celery", kind: "celery", isSeen: true },
    push: (at, atMs, id) =>
      at
        .multi()
        .sadd("_kombu.binding.q", "q\x06\x16\x06\x16q")
        .lpush("q", JSON.stringify({ body: "", headers: { id, published_at: atMs / 1_000 } }))
        .exec(),
  },
  {
    ...{ title: "RQ", kind: "rq", isSeen: true },
    push: (at, atMs, id) =>
      at
        .multi()
        .sadd("rq:queues", "rq:queue:q")
        .hset(`rq:job:${id}`, "status", "queued", "enqueued_at", iso(atMs))
        .rpush("rq:queue:q", id)
        .exec(),
  },
  {
    ...{ title: "Dramatiq", kind: "dramatiq", isSeen: true },
    push: (at, atMs, id) =>
      at
        .multi()
        .hset("dramatiq:q.msgs", id, JSON.stringify({ queue_name: "q", message_timestamp: atMs }))
        .rpush("dramatiq:q", id)
        .exec(),
  },
  {
    ...{ title: "Laravel", kind: "laravel", isSeen: true },
    push: (at, atMs, id) =>
      at.rpush("laravel_database_queues:q", JSON.stringify({ id, pushedAt: atMs / 1_000, attempts: 0 })),
  },
  {
    ...{ title: "Huey with priorities", kind: "huey", isByTime: true },
    push(at, atMs, id) {
      const pushed = Buffer.alloc(8);
      pushed.writeBigUInt64BE(BigInt(atMs) * 1_000n);
      return at.zadd("huey.redis.q", -1, Buffer.concat([pushed, Buffer.from(id)]));
    },
  },
];

function pushSidekiq(at: Redis, payload: string) {
  return at.multi().sadd("queues", "q").lpush("queue:q", payload).exec();
}

/** Its source, after these jobs were pushed, the first one first; their times as seen from the clock of Redis. */
async function watchJobs({ kind, parameters, queue = "q", push }: System, aheadMs: readonly number[]) {
  databases += 1;
  const url = `${server.url}${databases}`;
  const at = new Redis(url);
  onTestFinished(() => at.disconnect());
  const [seconds] = await at.time();
  for (const [i, ms] of aheadMs.entries()) await push(at, Number(seconds) * 1_000 + ms, `job-${i}`);
  const keys = { kind, queueOf: () => queue, addQueue: async () => {}, parameters: parameters ?? "" };
  const watched = await watchJobSystem(keys, url);
  return (expected: object) => watched.until(queue, { depth: aheadMs.length, ...expected });
}

describe.each(systems)("of $title, a job", (system) => {
  test("whose time is up to a minute ahead has just come, and no more than about then", async () => {
    const untilSeen = await watchJobs(system, [nearMs]);
    const { headAgeMs } = await untilSeen({ accuracy: "ESTIMATED" });
    expect(headAgeMs).toBeLessThan(hourMs);
  });

  test("whose time is further ahead has waited for a time that is not known", async () => {
    const untilSeen = await watchJobs(system, [hourMs]);
    const seen = await untilSeen({ accuracy: "LOWER_BOUND", headAgeMs: expect.any(Number) });
    expect(seen.headAgeMs).toBeLessThan(hourMs);
    if (system.isSeen) {
      const isLonger = (age: number) => age > (seen.headAgeMs ?? 0);
      await untilSeen({ accuracy: "LOWER_BOUND", headAgeMs: expect.toSatisfy(isLonger) });
    } else expect(seen.headAgeMs).toBe(0);
  });
});

const byPlace = systems.filter(({ isByTime }) => isByTime !== true);

describe.each(byPlace)("of $title, a job", (system) => {
  test("whose time is further ahead has waited for longer than the one behind it", async () => {
    const untilSeen = await watchJobs(system, [hourMs, -oldMs]);
    const { headAgeMs } = await untilSeen({ accuracy: "LOWER_BOUND" });
    expect(headAgeMs).toBeGreaterThanOrEqual(oldMs);
  });

  test("whose time is further ahead does not change that of the one before it", async () => {
    const untilSeen = await watchJobs(system, [-oldMs, hourMs]);
    const { headAgeMs } = await untilSeen({ accuracy: system.later ?? "ESTIMATED" });
    expect(headAgeMs).toBeGreaterThanOrEqual(oldMs);
  });
});

const postgresTitle = `of a job system in Postgres${whyNoPostgres === null ? "" : ` (${whyNoPostgres})`}`;

describe.skipIf(whyNoPostgres !== null)(postgresTitle, () => {
  let postgres: TestPostgres;

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(async () => {
    await postgres?.stop();
  });

  test.each([
    { ahead: "59 s", accuracy: "ESTIMATED" },
    { ahead: "1 hour", accuracy: "LOWER_BOUND" },
  ])("a ready job whose time is $ahead ahead is $accuracy", async ({ ahead, accuracy }) => {
    const url = await postgres.createDatabase(
      `${fixtures.solid_queue} CREATE INDEX ON solid_queue_ready_executions (queue_name, created_at)`,
      `INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at)
       VALUES (1, 'q', timezone('UTC', now() + interval '${ahead}'))`,
    );
    const watched = await watchPostgres(url);
    const { headAgeMs } = await watched.until("solid_queue/q", { depth: 1, accuracy });
    expect(headAgeMs).toBeLessThan(hourMs);
  });
});
