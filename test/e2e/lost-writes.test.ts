import { Redis } from "ioredis";
import { describe, expect, it } from "vitest";
import { bullmqVersions, openQueue } from "../support/bullmq.ts";
import { type Failover, startFailover } from "../support/failover.ts";
import { recordingLogger } from "../support/logger.ts";
import { startRedis } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { type Stream, sse } from "../support/streams.ts";
import { until } from "../support/until.ts";

async function open(redisUrl: string) {
  const logger = recordingLogger();
  // An answer from memory may be from before the loss: it needs no Redis at all, so it can come before the loss is noticed.
  const app = await startApp({ REDIS_URL: redisUrl, MAX_AGE: "0" }, logger);
  return {
    ...app,
    logger,
    async record(type: string, queue: string, ...jobs: string[]): Promise<void> {
      const events = jobs.map((jobId) => ({ type, queue, jobId }));
      const query = `mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }`;
      const { body } = await ask(app.url, query, { events });
      expect(body.errors).toBeUndefined();
    },
    /** null while Redis is away. */
    async read(queue: string) {
      const fields = "state depth accuracy stale source";
      const { body } = await ask(app.url, `{ queueLatency(queues: ["${queue}"]) { ${fields} } }`);
      return body.data?.queueLatency[0] ?? null;
    },
    errors: () => logger.lines.filter(({ level }) => level === "error"),
  };
}
type App = Awaited<ReturnType<typeof open>>;

function watch(app: App, queue: string): Stream {
  const fields = "state depth accuracy stale";
  return sse(app.url, `subscription { queueLatency(queues: ["${queue}"], refreshMs: 0) { ${fields} } }`);
}

/** The first answer that comes once Redis is back, however often it takes to get one. */
async function firstAnswer(app: App, queue: string) {
  return until(async () => {
    const answer = await app.read(queue);
    if (answer === null) throw new Error("Redis is still away");
    return answer;
  });
}

/** All that is pushed until something is. */
async function pushedUntil(stream: Stream, isIt: (push: Record<string, unknown>) => boolean) {
  const pushes: Record<string, unknown>[] = [];
  for (;;) {
    const { value } = await stream.next();
    if (value === undefined) throw new Error("the stream ended");
    pushes.push(...value.data.queueLatency);
    if (value.data.queueLatency.some(isIt)) return pushes;
  }
}

const isUnsure = ({ accuracy }: Record<string, unknown>) => accuracy === "INCOMPLETE";
const wrong = { state: "WAITING", depth: 2, accuracy: "EXACT", stale: false };

/** Two jobs wait; that both were dequeued is acknowledged, pushed to all, and lost. */
async function loseDequeues(redis: Failover, { record, read }: App): Promise<void> {
  await record("ENQUEUED", "q", "a", "b");
  await redis.caughtUp();
  await redis.cutReplica();
  await record("DEQUEUED", "q", "a", "b");
  expect(await read("q")).toMatchObject({ state: "EMPTY", depth: 0, accuracy: "EXACT" });
}

describe("after a failover that lost acknowledged writes", () => {
  it("the first answer is INCOMPLETE, and so is what every server pushes", async () => {
    await using redis = await startFailover();
    await using app = await open(redis.url);
    await using other = await open(redis.url);
    await loseDequeues(redis, app);
    await using stream = watch(app, "q");
    await using othersStream = watch(other, "q");
    for (const each of [stream, othersStream]) await each.next();
    await redis.failOver();

    expect(await firstAnswer(app, "q")).toMatchObject({ ...wrong, accuracy: "INCOMPLETE" });
    expect(await firstAnswer(other, "q")).toMatchObject({ depth: 2, accuracy: "INCOMPLETE" });
    const pushes = await pushedUntil(stream, isUnsure);
    expect(pushes).not.toContainEqual(wrong);
    expect(pushes.at(-1)).toEqual({ ...wrong, accuracy: "INCOMPLETE" });
    expect((await pushedUntil(othersStream, isUnsure)).at(-1)).toMatchObject({ depth: 2, stale: false });
    await until(() => expect(app.errors()).toMatchObject([{ fields: { queues: 1 } }]));
    expect(other.errors()).toEqual([]);

    await ask(app.url, `mutation { trustQueue(queue: "q") }`);
    expect(await other.read("q")).toMatchObject({ depth: 2, accuracy: "EXACT" });
    const isSure = ({ accuracy }: Record<string, unknown>) => accuracy === "EXACT";
    expect((await pushedUntil(othersStream, isSure)).at(-1)).toEqual(wrong);
  });

  it("a server without requests notifies the others", async () => {
    await using redis = await startFailover();
    await using app = await open(redis.url);
    await using other = await open(redis.url);
    await loseDequeues(redis, app);
    await redis.failOver();
    await until(async () =>
      expect(await other.read("q")).toMatchObject({ depth: 2, accuracy: "INCOMPLETE" }),
    );
  });

  it("what is recorded next makes no difference", async () => {
    await using redis = await startFailover();
    await using app = await open(redis.url);
    await using other = await open(redis.url);
    await loseDequeues(redis, app);
    await redis.failOver();
    await until(() => other.record("ENQUEUED", "q", "c", "d", "e"));
    await until(async () => expect(await app.read("q")).not.toBeNull());
    expect(await app.read("q")).toMatchObject({ depth: 5, accuracy: "INCOMPLETE" });
  });

  it("what a job system reports is counted on from where that is known, each job once", async () => {
    const [version] = bullmqVersions;
    if (version === undefined) throw new Error("there is a BullMQ to test with");
    await using redis = await startFailover();
    await using watched = await startRedis();
    await using app = await startApp({ REDIS_URL: redis.url, BULLMQ_URL: watched.url });
    await using mail = await openQueue(version.bullmq, watched, { name: "mail" });
    const jobs = (count: number) => Array.from({ length: count }, (_, n) => ({ name: "job", data: { n } }));
    const query = `{ queueLatency(queues: ["bullmq/mail"]) {
      state depth accuracy stale throughput(window: FIFTEEN_MINUTES) { enqueuedPerSecond dequeuedPerSecond }
    } }`;
    const expectCounted = (depth: number, enqueued: number, dequeued: number) =>
      until(async () => {
        const { body } = await ask(app.url, query);
        const { throughput, ...rest } = body.data.queueLatency[0];
        expect(rest).toMatchObject({ depth, accuracy: "EXACT", stale: false });
        expect(Math.round(throughput.enqueuedPerSecond * 900)).toBe(enqueued);
        expect(Math.round(throughput.dequeuedPerSecond * 900)).toBe(dequeued);
      });

    await mail.queue.addBulk(jobs(20));
    await expectCounted(20, 20, 0);
    await redis.caughtUp();
    await redis.cutReplica();
    mail.work(async () => {});
    await expectCounted(0, 20, 20);
    await mail.queue.addBulk(jobs(10));
    await expectCounted(0, 30, 30);
    await redis.failOver();
    await expectCounted(0, 30, 30);
  });
});

describe("no queue is INCOMPLETE", () => {
  it("after a failover that lost nothing", async () => {
    await using redis = await startFailover();
    await using app = await open(redis.url);
    await app.record("ENQUEUED", "q", "a", "b");
    await app.record("DEQUEUED", "q", "a");
    await using stream = watch(app, "q");
    await stream.next();
    await redis.caughtUp();
    await redis.failOver();
    expect(await firstAnswer(app, "q")).toMatchObject({ depth: 1, accuracy: "EXACT" });
    await app.record("DEQUEUED", "q", "b");
    const isEmpty = ({ state }: Record<string, unknown>) => state === "EMPTY";
    for (const push of await pushedUntil(stream, isEmpty)) expect(push).toMatchObject({ accuracy: "EXACT" });
    await app.stop();
    expect(app.errors()).toEqual([]);
  });

  it("after a crash of a Redis that appends to a file before it answers", async () => {
    // With "everysec" it answers first when the disk is busy, and then something may be lost indeed.
    await using redis = await startRedis({ appendonly: true });
    await using app = await open(redis.url);
    await app.record("ENQUEUED", "q", "a", "b");
    await app.record("DEQUEUED", "q", "a");
    await redis.kill();
    await redis.restart();
    expect(await firstAnswer(app, "q")).toMatchObject({ depth: 1, accuracy: "EXACT" });
    await app.stop();
    expect(app.errors()).toEqual([]);
  });
});

describe("when Redis comes back from an older file", () => {
  it("what it lacks is INCOMPLETE, and what it has is not", async () => {
    await using redis = await startRedis();
    await using app = await open(redis.url);
    for (const queue of ["old", "q"]) await app.record("ENQUEUED", queue, "a", "b");
    const admin = new Redis(redis.url);
    await admin.save();
    admin.disconnect();
    await app.record("DEQUEUED", "q", "a", "b");
    await app.record("ENQUEUED", "new", "a");
    await redis.kill();
    await redis.restart();
    expect(await firstAnswer(app, "q")).toMatchObject({ depth: 2, accuracy: "INCOMPLETE" });
    expect(await app.read("new")).toMatchObject({
      state: "EMPTY",
      source: "events",
      accuracy: "INCOMPLETE",
    });
    expect(await app.read("old")).toMatchObject({ depth: 2, accuracy: "EXACT" });
    await until(() => expect(app.errors()).toMatchObject([{ fields: { queues: 2 } }]));
  });

  it("or with nothing at all, a queue is not calmly MISSING, unless it was never known", async () => {
    await using redis = await startRedis();
    await using app = await open(redis.url);
    await app.record("ENQUEUED", "q", "a");
    await redis.kill();
    await redis.restart();
    expect(await firstAnswer(app, "q")).toMatchObject({ state: "EMPTY", depth: 0, accuracy: "INCOMPLETE" });
    expect(await app.read("never")).toMatchObject({ state: "MISSING", accuracy: "UNKNOWN" });
    const { body } = await ask(app.url, "{ queues { edges { node { queue accuracy } } } }");
    expect(body.data.queues.edges).toEqual([{ node: { queue: "q", accuracy: "INCOMPLETE" } }]);
    await ask(app.url, `mutation { forgetQueue(queue: "q") }`);
    expect(await app.read("q")).toMatchObject({ state: "MISSING" });
  });
});
