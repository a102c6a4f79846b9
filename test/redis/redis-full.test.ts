import { rm } from "node:fs/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { createAlertStore } from "../../src/alerts/alert-store.ts";
import type { Alert } from "../../src/core/alerts.ts";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import { createLease } from "../../src/redis/lease.ts";
import { createWriter } from "../../src/tracker/acknowledged-writes.ts";
import { createDataLoss } from "../../src/tracker/data-loss.ts";
import { createExpirySweeper } from "../../src/tracker/expiry-sweeper.ts";
import { createForget } from "../../src/tracker/forget.ts";
import { createQueueIndex } from "../../src/tracker/queue-index.ts";
import { createRecordedQueues } from "../../src/tracker/recorded-queues.ts";
import type { Tracker } from "../../src/tracker/tracker.ts";
import { silentLogger } from "../support/logger.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { allParts, openRecorder, openTracker, type TestTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const full = { code: "SERVICE_UNAVAILABLE", message: expect.stringMatching(/^Redis is full \(maxmemory\)/) };

let server: TestRedis;
let admin: Redis;
let opened: TestTracker;
let tracker: Tracker;
/** Each test has a queue of its own, with the jobs "0" to "9". */
let queue: string;
let queues = 0;

beforeAll(async () => {
  server = await startRedis({ args: ["--maxmemory-policy", "noeviction"] });
  admin = new Redis(server.url);
  opened = await openTracker(server.url);
  tracker = opened.tracker;
});
afterAll(async () => {
  admin?.disconnect();
  await opened?.[Symbol.asyncDispose]();
  await server?.stop();
});
beforeEach(async () => {
  await makeRoom();
  queue = `q${queues++}`;
  await tracker.record(
    Array.from({ length: 10 }, (_, i) => event("ENQUEUED", `${i}`)),
    null,
  );
  await fill();
});

/** Less than what it holds already: what a Redis that has filled up is, with no room that comes and goes with its buffers. */
async function fill(): Promise<void> {
  await admin.config("SET", "maxmemory", "100kb");
}

async function makeRoom(): Promise<void> {
  await admin.config("SET", "maxmemory", "0");
}

function event(type: QueueEventType, jobId: string, at: string = queue): QueueEvent {
  return { type, queue: at, jobId, attempt: 0, atMs: null, availableAtMs: null };
}

async function depth(): Promise<number | null | undefined> {
  return (await tracker.read([queue], allParts))[0]?.depth;
}

describe("while Redis is full", () => {
  it("reads are answered", async () => {
    expect(await tracker.read([queue], allParts)).toMatchObject([{ state: "WAITING", depth: 10 }]);
    expect(await tracker.waiting(queue, 3)).toHaveLength(3);
    expect(await tracker.list({ prefix: queue, limit: 1 })).toEqual([queue]);
    expect((await tracker.choose(1)).names).toHaveLength(1);
  });

  const rows: readonly {
    readonly events: () => readonly QueueEvent[];
    readonly accepted: number | "none";
    readonly duplicates?: number;
    readonly depth: number;
    /** How many are accepted when all is sent again, once there is room. @default those that were not recorded */
    readonly again?: number;
    readonly why: string;
  }[] = [
    { events: () => [event("ENQUEUED", "new")], accepted: "none", depth: 10, why: "it needs room" },
    { events: () => [event("DEQUEUED", "1")], accepted: 1, depth: 9, why: "it makes room" },
    { events: () => [event("REMOVED", "1")], accepted: 1, depth: 9, why: "it makes room, too" },
    {
      events: () => [event("DEQUEUED", "1"), event("DEQUEUED", "2"), event("DEQUEUED", "1")],
      ...{ accepted: 2, duplicates: 1, depth: 8 },
      why: "a repeat needs none",
    },
    {
      events: () => [event("DEQUEUED", "never seen")],
      ...{ accepted: "none", depth: 10 },
      why: "it would have to be remembered",
    },
    {
      events: () => [event("DEQUEUED", "1"), event("DEQUEUED", "never seen")],
      ...{ accepted: "none", depth: 9 },
      why: "what makes room is recorded all the same",
    },
    {
      events: () => [event("ENQUEUED", "new"), event("DEQUEUED", "1"), event("REMOVED", "2")],
      ...{ accepted: "none", depth: 8 },
      why: "so it is beside an event that needs room",
    },
    {
      events: () => [event("DEQUEUED", "1"), event("ENQUEUED", "a", "a new queue")],
      // The part of a queue that is done is answered as it was.
      ...{ accepted: "none", depth: 9, again: 2 },
      why: "and beside a new queue",
    },
    {
      events: () => [event("DEQUEUED", "1", "a new queue")],
      ...{ accepted: "none", depth: 10 },
      why: "of a queue that is not known nothing can be taken out",
    },
  ];

  it.each(rows)("events: $why", async ({ events, accepted, duplicates = 0, depth: left, again }) => {
    const batch = events();
    const recorded = tracker.record(batch, "batch");
    if (accepted === "none") await expect(recorded).rejects.toMatchObject(full);
    else expect(await recorded).toEqual({ accepted, duplicates, early: 0, expired: 0 });
    expect(await depth()).toBe(left);

    // Whatever was recorded is recorded once, also when all of it is sent again once there is room.
    await makeRoom();
    const answer = await tracker.record(batch, "batch");
    if (accepted === "none") expect(answer.accepted).toBe(again ?? batch.length - (10 - left));
    else expect(answer).toEqual({ accepted, duplicates, early: 0, expired: 0 });
    await tracker.forget("a new queue");
  });

  it("removeWaitingJobs and forgetQueue are answered", async () => {
    expect(await tracker.remove(queue, [{ jobId: "1", attempt: 0 }])).toBe(1);
    expect(await tracker.forget(queue)).toBe(true);
    expect(await tracker.read([queue], allParts)).toMatchObject([{ state: "MISSING" }]);
  });

  it("the sweep forgets idle queues, which makes room", async () => {
    const { redis, keys } = opened;
    await makeRoom();
    const now = () => Date.now() + 365 * 86_400_000;
    const options = { eventWindowMs: 300_000, maxWaitMs: 86_400_000, now };
    await redis.del(keys.sweepLease);
    const index = createQueueIndex({ redis, keys, logger: silentLogger });
    const recorded = createRecordedQueues({ redis, keys, logger: silentLogger });
    const writer = createWriter(options);
    const sweeper = createExpirySweeper({
      ...{ redis, keys, index, recorded, logger: silentLogger, everyMs: 20, queueTtlMs: 86_400_000 },
      recorder: openRecorder(opened, options),
      dataLoss: createDataLoss({ redis, keys, index, recorded, writer, logger: silentLogger, ...options }),
      forget: createForget({ redis, keys, index, recorded, writer, ...options }),
    });
    onTestFinished(() => sweeper.stop());
    await fill();
    await sweeper.start();
    await until(async () => expect(await redis.exists(keys.state(queue))).toBe(0));
  });

  it("a job system's queues are observed, new ones as well", async () => {
    const observe = (depth: number, names: readonly string[]) =>
      tracker.observe({
        source: "faktory",
        freshForMs: 60_000,
        queues: names.map((name) => ({
          ...{ queue: name, headAgeMs: 1_000, uncertaintyMs: 0, depth, scheduled: 0, paused: false },
          ...{ accuracy: "EXACT", readAtMs: performance.now() },
        })),
      });
    await makeRoom();
    await observe(1, ["old"]);
    await fill();
    await observe(2, ["old", "new"]);
    const snapshots = await tracker.read(["faktory/old", "faktory/new"], allParts);
    expect(snapshots.map(({ depth, stale }) => [depth, stale])).toEqual(Array(2).fill([2, false]));
    expect(await tracker.list({ prefix: "faktory/", limit: 10 })).toEqual(["faktory/new", "faktory/old"]);
  });

  it("a queue that has lost something is INCOMPLETE", async () => {
    await opened.redis.del(opened.keys.waiting(queue));
    expect(await tracker.read([queue], allParts)).toMatchObject([{ accuracy: "INCOMPLETE", depth: 0 }]);
  });

  it("alerts are decided, by whichever server, and can be acknowledged", async () => {
    const { redis, keys } = opened;
    const lease = createLease({ redis, keys, name: "/alerts", logger: silentLogger });
    const hold = await lease.acquire(AbortSignal.timeout(10_000));
    onTestFinished(() => hold.release());
    const store = createAlertStore({ redis, keys, logger: silentLogger });
    await store.begin(hold.fence, null);
    const alert: Alert = {
      ...{
        id: "a",
        rule: "late",
        queue,
        state: "FIRING",
        sinceMs: 1,
        firedAtMs: 2,
        endedAtMs: null,
        end: null,
      },
      ...{ subject: "latency", value: 60, threshold: 30, severity: "critical", labels: {}, annotations: {} },
      ...{ facts: null, acknowledgement: null },
    };
    await store.write(hold.fence, [{ what: "keep", alert, notification: null }]);
    expect(await store.acknowledge("a", "me")).toMatchObject({ id: "a" });
    expect(await store.active()).toHaveLength(1);
  });

  it("clients get answers over HTTP that say what is wrong", async () => {
    await makeRoom();
    await using app = await startHttp();
    const event = { queue: "http", jobId: "1" };
    const record = (type: string, jobId: string) =>
      ask(app.url, `mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }`, {
        events: [{ ...event, type, jobId }],
      });
    await record("ENQUEUED", "1");
    await fill();
    const read = await ask(app.url, `{ queueLatency(queues: ["http"]) { state depth } }`);
    expect(read.body).toMatchObject({ data: { queueLatency: [{ state: "WAITING", depth: 1 }] } });
    expect((await record("ENQUEUED", "2")).body).toMatchObject({
      errors: [{ message: full.message, extensions: { code: full.code } }],
    });
    expect((await record("DEQUEUED", "1")).body).toMatchObject({ data: { recordEvents: { accepted: 1 } } });
    const forgotten = await ask(app.url, `mutation { forgetQueue(queue: "http") }`);
    expect(forgotten.body).toMatchObject({ data: { forgetQueue: true } });
  });
});

it("is in /ready, which is 200 all the same, until there is room", async () => {
  await using app = await startHttp();
  const ready = async () => {
    const response = await fetch(`${app.url}/ready`);
    return { status: response.status, body: await response.json() };
  };
  const warnings = [expect.stringMatching(/refuses writes: it is full \(maxmemory\)/)];
  expect(await ready()).toEqual({ status: 200, body: { status: "ok", warnings } });
  await makeRoom();
  expect(await ready()).toEqual({ status: 200, body: { status: "ok" } });
});

it("a Redis that cannot save is distinguished from one that is away, and reads are answered", async () => {
  await using broken = await startRedis({ args: ["--save", "3600 1"] });
  await using tracked = await openTracker(broken.url);
  const { tracker, redis } = tracked;
  const events = [event("ENQUEUED", "a", "q")];
  await tracker.record(events, null);
  // Its directory is gone, as a volume that was unmounted.
  const [, dir] = (await redis.call("CONFIG", "GET", "dir")) as [string, string];
  await rm(dir, { recursive: true });
  await redis.call("BGSAVE");
  await until(async () => expect(await redis.info("persistence")).toContain("bgsave_status:err"));
  await expect(tracker.record([event("ENQUEUED", "b", "q")], null)).rejects.toMatchObject({
    code: "SERVICE_UNAVAILABLE",
    message: expect.stringMatching(/^Redis cannot save to its disk and accepts no writes \(MISCONF\)/),
  });
  expect(await tracker.read(["q"], allParts)).toMatchObject([{ state: "WAITING", depth: 1 }]);
});

async function startHttp() {
  const app = await startApp({
    ...{ REDIS_URL: server.url, KEY_PREFIX: opened.prefix, HISTORY_MAX_QUEUES: "0" },
  });
  return { url: app.url, [Symbol.asyncDispose]: app.stop };
}
