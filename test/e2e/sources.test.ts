import { Redis } from "ioredis";
import { expect, inject, it } from "vitest";
import { bullmqVersions, openQueue } from "../support/bullmq.ts";
import { complaintsIn, recordingLogger } from "../support/logger.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
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
