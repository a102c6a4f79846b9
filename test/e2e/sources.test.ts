import { Redis } from "ioredis";
import { expect, inject, it } from "vitest";
import { urlSetting } from "../../src/settings/source-kinds.ts";
import { bullmqVersions, openQueue } from "../support/bullmq.ts";
import { jobSystemKeys } from "../support/job-systems.ts";
import { complaintsIn, recordingLogger } from "../support/logger.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { sseTransport } from "../support/streams.ts";
import { until } from "../support/until.ts";

const selection = "queue source state depth accuracy clockSkew stale waitTime { count }";

it("shows queues of the same name in several job systems as several queues, beside recorded ones", async () => {
  await using watched = await startRedis();
  const redis = new Redis(watched.url);
  const [version] = bullmqVersions;
  if (version === undefined) throw new Error("there is a BullMQ to test with");
  await using bullmq = await openQueue(version.bullmq, watched, { name: "mail" });
  await bullmq.queue.addBulk([1, 2, 3].map((n) => ({ name: "job", data: { n } })));
  for (const [keys, count] of [
    ["", 1],
    ["ns:", 2],
  ] as const) {
    await redis.sadd(`${keys}queues`, "mail");
    const job = JSON.stringify({ class: "Mail", args: [], jid: "1", enqueued_at: Date.now() / 1000 - 60 });
    for (let n = 0; n < count; n++) await redis.lpush(`${keys}queue:mail`, job);
  }

  const logger = recordingLogger();
  await using app = await startApp(
    {
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: uniquePrefix(),
      SIDEKIQ_URL: `${watched.url} ${watched.url}?namespace=ns&as=billing`,
      BULLMQ_URL: watched.url,
    },
    logger,
  );
  await ask(
    app.url,
    'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "mail", jobId: 1 }]) { accepted } }',
  );
  await until(async () => {
    const { body } = await ask(app.url, `{ queues(first: 5) { edges { node { ${selection} } } } }`);
    expect(body.data.queues.edges.map((edge: { readonly node: object }) => edge.node)).toMatchObject([
      { queue: "billing/mail", source: "billing", depth: 2, accuracy: "ESTIMATED", waitTime: null },
      // Its stream still has the events of all its jobs.
      { queue: "bullmq/mail", source: "bullmq", depth: 3, accuracy: "EXACT", waitTime: { count: 0 } },
      { queue: "mail", source: "events", depth: 1, accuracy: "EXACT", clockSkew: null },
      { queue: "sidekiq/mail", source: "sidekiq", depth: 1, accuracy: "ESTIMATED", clockSkew: null },
    ]);
  }, 100);
  // Nothing was wrong at any time: a source that starts has nothing to warn of.
  expect(complaintsIn(logger)).toEqual([]);
  redis.disconnect();
});

it("shows a queue of each job system in Redis in a query, in a push and to Prometheus, until its job is gone", async () => {
  await using watched = await startRedis();
  const systems = jobSystemKeys.map((system, database) => ({
    ...system,
    url: new URL(`/${database}`, watched.url).href,
    queue: `${system.kind}/${system.queueOf("mail")}`,
  }));
  const settings = systems.map(({ kind, url, parameters = "" }) => [urlSetting(kind), `${url}${parameters}`]);
  const at = new Redis(watched.url);
  for (const [database, { addQueue }] of systems.entries()) {
    await at.select(database);
    await addQueue(at, "mail");
  }
  await using app = await startApp({
    ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() },
    ...Object.fromEntries(settings),
  });
  const queues = systems.map(({ queue }) => queue);
  const fields = "queue source state depth stale";

  await until(async () => {
    const { body } = await ask(
      app.url,
      `query ($queues: [String!]!) { queueLatency(queues: $queues) { ${fields} } }`,
      { queues },
    );
    expect(body.data.queueLatency).toEqual(
      systems.map(({ kind, queue }) => ({ queue, source: kind, state: "WAITING", depth: 1, stale: false })),
    );
  });
  await until(async () => {
    const metrics = await (await fetch(`${app.url}/metrics`)).text();
    for (const { kind, queue } of systems)
      expect(metrics).toContain(`queue_depth{queue="${queue}",source="${kind}"} 1\n`);
  });

  await using transport = sseTransport(app.url);
  const stream = transport.subscribe(
    `subscription ($queues: [String!]!) { queueLatency(queues: $queues) { ${fields} } }`,
    { queues },
  );
  const states = new Map<string, string>();
  const readPush = async () => {
    const { value } = await stream.next();
    expect(value?.errors).toBeUndefined();
    for (const { queue, state } of value?.data.queueLatency ?? []) states.set(queue, state);
  };
  await readPush();
  expect([...states.values()]).toEqual(queues.map(() => "WAITING"));
  await at.flushall();
  while ([...states.values()].includes("WAITING")) await readPush();
  expect([...new Set(states.values())].filter((state) => state !== "EMPTY" && state !== "MISSING")).toEqual(
    [],
  );
  at.disconnect();
});
