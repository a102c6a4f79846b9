import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { startCluster, type TestCluster } from "../support/cluster.ts";
import { connectTo, type TestRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startServer, type TestServer } from "../support/server.ts";
import { sseTransport, type Transport, websocketTransport } from "../support/streams.ts";
import { createTrackerModel, exactWaitTime, type TrackerModel } from "../support/tracker-model.ts";
import { until } from "../support/until.ts";

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster?.stop());

const queues = Array.from({ length: 24 }, (_, i) => `queue-${i}`);
const eventWindowMs = 5 * 60_000;
const maxWaitMs = 7 * 86_400_000;

describe("two servers on a Redis Cluster", () => {
  it("count every acknowledged event once, and push to every subscriber, while slots move and a master dies", async () => {
    const prefix = uniquePrefix();
    const keys = createKeys(prefix);
    await using servers = new AsyncDisposableStack();
    const start = async () =>
      servers.use(
        await startServer({ REDIS_URL: cluster.url, KEY_PREFIX: prefix, RATE_LIMIT_MAX: "1000000000" }),
      );
    const both = await Promise.all([start(), start()]);
    await using subscribers = new AsyncDisposableStack();
    const watchers = [
      subscribers.use(await watch(sseTransport(both[0].url))),
      subscribers.use(await watch(websocketTransport(both[1].url))),
    ];
    const model = createTrackerModel({ eventWindowMs, maxWaitMs });
    const load = startLoad(both, model);
    await load.acknowledged(20);

    for (const key of [keys.state("queue-0"), keys.index, keys.state("queue-1"), keys.state("queue-0")]) {
      const from = await cluster.masterOf(key);
      const move = await cluster.beginMove(key, (await masters()).find((master) => master !== from)!);
      // Slots with much in them take their time.
      await delay(300);
      await move.finish();
      await load.acknowledged(10);
    }

    const victim = await masterWithFeed();
    // What a master acknowledged and did not replicate is lost with it. So it acknowledges nothing more: what is sent to it now
    // is on its way when it dies.
    await cluster.control(victim).client("PAUSE", 60_000, "WRITE");
    await cluster.replicate(victim);
    await victim.kill();
    await load.refusals(10);
    expect(await Promise.all(both.map(isReady))).toEqual([false, false]);
    await cluster.takeOver(victim);
    await load.acknowledged(20);
    await victim.restart();
    await cluster.settle();
    await load.acknowledged(20);
    await load.stop();

    await until(async () => expect(await Promise.all(both.map(isReady))).toEqual([true, true]));
    const client = connectTo(cluster.url);
    servers.defer(() => client.disconnect());
    for (const server of both) await expectToAgree(server, model);
    for (const queue of queues) {
      const names = ["enqueued", "dequeued", "removed", "lost"] as const;
      const counts = await client.hmget(keys.state(queue), ...names);
      const totals = Object.fromEntries(names.map((name, i) => [name, Number(counts[i] ?? 0)]));
      expect(totals, queue).toEqual(model.totals(queue));
    }
    for (const watcher of watchers) {
      await until(() => {
        for (const queue of queues) expect(watcher.latest(queue)).toEqual(rowOf(model, queue));
      });
      expect(watcher.minLatency()).toBe(0);
    }
    // A server that stops breaks off the streams that are open.
    await subscribers.disposeAsync();
    for (const server of both) {
      expect(await server.stop()).toBe(0);
      // Every line is one of the log, and none says that an operator must act.
      const lines = server
        .stderr()
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(lines.filter(({ level }) => level >= 50)).toEqual([]);
    }
  });

  it("let exactly as many points through as a client has", async () => {
    const env = {
      REDIS_URL: cluster.url,
      KEY_PREFIX: uniquePrefix(),
      RATE_LIMIT_MAX: "50",
      RATE_LIMIT_WINDOW: "1h",
    };
    await using one = await startServer(env);
    await using other = await startServer(env);
    const answers = await Promise.all(
      Array.from({ length: 80 }, (_, i) =>
        ask(i % 2 === 0 ? one.url : other.url, `{ queueLatency(queues: ["queue-${i}"]) { state } }`),
      ),
    );
    expect(answers.filter(({ body }) => body.errors === undefined)).toHaveLength(50);
  });
});

async function masters(): Promise<readonly TestRedis[]> {
  return [...new Set(await Promise.all(queues.map((queue) => cluster.masterOf(queue))))];
}

/** One from which a server receives changes. */
async function masterWithFeed(): Promise<TestRedis> {
  for (const master of await masters()) {
    const clients = String(await cluster.control(master).client("LIST"));
    if (clients.includes("name=queue-latency-changes ")) return master;
  }
  throw new Error("no server receives changes");
}

async function isReady(server: TestServer): Promise<boolean> {
  return (await fetch(`${server.url}/ready`)).ok;
}

interface Load {
  /** Resolves when every producer has had this number of batches more acknowledged. */
  acknowledged(count: number): Promise<void>;
  /** Resolves when this number of batches more were refused. */
  refusals(count: number): Promise<void>;
  /** Resolves when all that was sent is acknowledged. */
  stop(): Promise<void>;
}

/** Sends batches as fast as they are answered, each again until it is acknowledged: then the model records it, once. */
function startLoad(servers: readonly TestServer[], model: TrackerModel): Load {
  let isStopping = false;
  let refused = 0;
  const acknowledged = [0, 0, 0, 0];

  async function produce(producer: number): Promise<void> {
    const source = events(producer);
    while (!isStopping) {
      const batch = Array.from({ length: 20 }, () => source.next().value);
      // Half of them have nothing but the identities of their events to be known by.
      const batchId = producer % 2 === 0 ? randomUUID() : null;
      for (let attempt = producer; !(await send(servers[attempt % 2]!, batch, batchId)); attempt++) {
        refused++;
        await delay(50);
      }
      model.record(batch, null, Date.now());
      acknowledged[producer]! += 1;
    }
  }

  const producers = Promise.all(acknowledged.map((_, producer) => produce(producer)));
  /** A producer that failed fails the tests that wait for it. */
  const producing = (isSo: () => boolean) =>
    Promise.race([producers, until(() => expect(isSo()).toBe(true))]).then(() => {});
  return {
    acknowledged(count) {
      const before = [...acknowledged];
      return producing(() => acknowledged.every((now, i) => now >= before[i]! + count));
    },
    refusals(count) {
      const before = refused;
      return producing(() => refused >= before + count);
    },
    async stop() {
      isStopping = true;
      await producers;
    },
  };
}

/** Jobs come, and most of them go: in any order, now and then sent twice, and of any queue. */
function* events(producer: number): Generator<QueueEvent, never> {
  const later: QueueEvent[] = [];
  for (let job = 0; ; job++) {
    const atMs = Date.now() - Math.floor(Math.random() * 5_000);
    const queue = queues[Math.floor(Math.random() * queues.length)]!;
    const enqueued = { queue, jobId: `${producer}-${job}`, attempt: 0, atMs, availableAtMs: null };
    const story: QueueEvent[] = [{ ...enqueued, type: "ENQUEUED" }];
    if (job % 4 !== 0)
      story.push({ ...enqueued, type: "DEQUEUED", atMs: Math.floor((atMs + Date.now()) / 2) });
    if (job % 10 === 0) story.push(story[0]!);
    for (const event of story) later.splice(Math.floor(Math.random() * (later.length + 1)), 0, event);
    while (later.length > 40) yield later.shift()!;
  }
}

/** @returns whether it was acknowledged. */
async function send(
  server: TestServer,
  batch: readonly QueueEvent[],
  batchId: string | null,
): Promise<boolean> {
  const { body } = await ask(
    server.url,
    `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
      recordEvents(events: $events, batchId: $batchId) { accepted duplicates }
    }`,
    {
      batchId,
      events: batch.map(({ type, queue, jobId, atMs }) => ({
        ...{ type, queue, jobId },
        at: new Date(atMs!).toISOString(),
      })),
    },
  );
  if (body.errors !== undefined) {
    expect(body.errors).toMatchObject([{ extensions: { code: "SERVICE_UNAVAILABLE" } }]);
    return false;
  }
  const { accepted, duplicates } = body.data.recordEvents;
  expect(accepted + duplicates).toBe(batch.length);
  return true;
}

async function expectToAgree(server: TestServer, model: TrackerModel): Promise<void> {
  const { body } = await ask(
    server.url,
    `query ($queues: [String!]!) {
      queueLatency(queues: $queues) {
        queue state depth scheduled latency oldestSince accuracy measuredAt stale
        throughput(window: FIVE_MINUTES) { enqueuedPerSecond dequeuedPerSecond }
        waitTime(window: FIVE_MINUTES) { count max }
      }
    }`,
    { queues },
  );
  for (const answered of body.data.queueLatency) {
    const expected = model.snapshot(answered.queue, Date.parse(answered.measuredAt));
    const rates = expected.throughput!.FIVE_MINUTES!;
    const { count, max } = exactWaitTime(expected.waitsMs!.FIVE_MINUTES);
    expect(answered).toMatchObject({
      ...rowOf(model, answered.queue),
      latency: expected.latencyMs! / 1_000,
      throughput: {
        enqueuedPerSecond: expect.closeTo(rates.enqueuedPerSecond, 3),
        dequeuedPerSecond: expect.closeTo(rates.dequeuedPerSecond, 3),
      },
      waitTime: { count, max },
    });
  }
}

/** What does not depend on when it is asked. */
function rowOf(model: TrackerModel, name: string) {
  const { queue, state, depth, scheduled, oldestSinceMs, accuracy } = model.snapshot(name, Date.now());
  const oldestSince = oldestSinceMs === null ? null : new Date(oldestSinceMs).toISOString();
  return { queue, state, depth, scheduled, oldestSince, accuracy, stale: false };
}

/** A client that watches all queues, and keeps the last push of each. */
async function watch(transport: Transport) {
  const latest = new Map<string, unknown>();
  let min = Number.POSITIVE_INFINITY;
  const stream = transport.subscribe(
    `subscription ($queues: [String!]!) {
      queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 250) {
        queue state depth scheduled oldestSince accuracy stale latency
      }
    }`,
    { queues },
  );
  const readPush = async () => {
    const { value } = await stream.next();
    if (value === undefined) return false;
    expect(value.errors).toBeUndefined();
    for (const { latency, ...row } of value.data.queueLatency) {
      min = Math.min(min, latency);
      latest.set(row.queue, row);
    }
    return true;
  };
  await readPush();
  // Its error is thrown at the end.
  const reading = (async () => {
    while (await readPush());
  })();
  reading.catch(() => {});
  return {
    latest: (queue: string) => latest.get(queue),
    minLatency: () => min,
    async [Symbol.asyncDispose]() {
      stream.abort();
      await reading;
      await transport[Symbol.asyncDispose]();
    },
  };
}
