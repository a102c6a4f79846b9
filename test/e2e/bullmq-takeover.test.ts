import { expect, inject, it } from "vitest";
import { bullmqVersions, openQueue } from "../support/bullmq.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startServer, type TestServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const jobCount = 1_500;
const reads = (server: TestServer) => server.stderr().includes("started reading a source");
it("counts every job once when the process that reads BullMQ is killed in the middle of traffic", async () => {
  await using watched = await startRedis();
  const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), BULLMQ_URL: watched.url };
  await using reader = await startServer(env);
  await until(() => expect(reads(reader)).toBe(true));
  await using other = await startServer(env);

  const [version] = bullmqVersions;
  if (version === undefined) throw new Error("there is a BullMQ to test with");
  await using queue = await openQueue(version.bullmq, watched, { name: "mail" });
  let done = 0;
  let killed: Promise<void> | undefined;
  queue.work(async () => {
    done += 1;
    if (done === jobCount / 3) killed = reader.kill();
  });
  for (let n = 0; n < jobCount; n += 50) {
    await queue.queue.addBulk(Array.from({ length: 50 }, (_, i) => ({ name: "job", data: { n: n + i } })));
  }
  await until(() => expect(done).toBe(jobCount));
  await killed;

  const query = `{
    queueLatency(queues: ["bullmq/mail"]) {
      state depth accuracy stale
      throughput(window: FIFTEEN_MINUTES) { enqueuedPerSecond dequeuedPerSecond }
      waitTime(window: FIFTEEN_MINUTES) { count }
    }
  }`;
  await until(async () => {
    const { body } = await ask(other.url, query);
    expect(body.data.queueLatency[0]).toMatchObject({
      state: "EMPTY",
      depth: 0,
      accuracy: "EXACT",
      stale: false,
      waitTime: { count: jobCount },
    });
    const { enqueuedPerSecond, dequeuedPerSecond } = body.data.queueLatency[0].throughput;
    expect(Math.round(enqueuedPerSecond * 900)).toBe(jobCount);
    expect(Math.round(dequeuedPerSecond * 900)).toBe(jobCount);
  });
  expect(reads(other)).toBe(true);
});
