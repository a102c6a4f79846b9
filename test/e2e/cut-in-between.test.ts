import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import type { FollowedQueue } from "../../src/core/log-following.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { type CutPoint, type CuttingProxy, callsOf, startCuttingProxy } from "../support/cutting-proxy.ts";
import { openContender } from "../support/lease.ts";
import { asInput, expectLikeModel } from "../support/like-model.ts";
import { startRedis, type TestRedis, uniquePrefix } from "../support/redis.ts";
import { type Answer, ask, startApp } from "../support/server.ts";
import { sseTransport, websocketTransport } from "../support/streams.ts";
import { allParts, openTracker } from "../support/tracker.ts";
import { createTrackerModel, type TrackerModel } from "../support/tracker-model.ts";
import { hangsAfterMs, until } from "../support/until.ts";

const folds = callsOf("tracker/lua/fold.lua");
const reads = callsOf("tracker/lua/snapshot.lua");
const takes = callsOf("limits/lua/throttle.lua");
const lists = callsOf("tracker/lua/list-recorded.lua");
const listsAgain = ([name, script]: readonly string[]) =>
  name === "EVAL" &&
  script?.startsWith("#!lua flags=allow-oom\n-- Puts the names of recorded queues") === true;
const forgets = callsOf("tracker/lua/forget.lua");
const points: readonly CutPoint[] = ["before it ran", "after it ran", "in its reply"];

let redis: TestRedis;
let direct: Redis;
let proxy: CuttingProxy;

beforeAll(async () => {
  redis = await startRedis();
  direct = new Redis(redis.url);
});
afterAll(async () => {
  direct?.disconnect();
  await redis?.stop();
});
beforeEach(async () => {
  proxy = await startCuttingProxy(redis.url);
});
afterEach(() => proxy[Symbol.asyncDispose]());

describe("a batch whose connection breaks", () => {
  const queues = ["a", "b", "c"];
  const cuts = points.flatMap((point) => queues.map((queue) => ({ point, queue })));

  it.each(cuts)(
    "at the fold of $queue, $point, is answered with an error, and counted once when it is sent again",
    async ({ point, queue }) => {
      const app = await start();
      const events = aBatch();
      await app.warmUp();
      const before = proxy.sent(folds);
      const done = proxy.cut(ofQueue(folds, queue), point);
      expectUnavailable(await app.record(events, "batch"));
      await done;
      // Each was sent once, and stays so when the connection is back.
      expect(proxy.sent(folds) - before).toBe(3);
      await app.untilReady();
      expect(proxy.sent(folds) - before).toBe(3);
      // In the order in which they were sent: what came before the cut has been applied, what came after has not.
      const ran = queues.slice(0, queues.indexOf(queue) + (point === "before it ran" ? 0 : 1));
      for (const each of ran) app.model.record(inQueue(each, events), "batch", Date.now());
      // The others are MISSING in both.
      await expectLikeModel(app, app.model, queues);

      const first = app.model.record(events, "batch", Date.now());
      expect(answerOf(await app.record(events, "batch"))).toEqual(first);
      await expectLikeModel(app, app.model, queues);
      expect(answerOf(await app.record(events, "batch"))).toEqual(first);
      await expectLikeModel(app, app.model, queues);
    },
  );

  it.each(points)(
    "at its fold, %s, is counted once without a batchId too, by the identity of its events",
    async (point) => {
      const app = await start();
      const events = aBatch();
      void proxy.cut(ofQueue(folds, "b"), point);
      expectUnavailable(await app.record(events, null));
      await app.untilReady();
      const ran = point === "before it ran" ? ["a"] : ["a", "b"];
      for (const each of ran) app.model.record(inQueue(each, events), null, Date.now());
      expect(answerOf(await app.record(events, null))).toEqual(app.model.record(events, null, Date.now()));
      await expectLikeModel(app, app.model, queues);
      expect(answerOf(await app.record(events, null))).toEqual({
        accepted: 0,
        duplicates: events.length,
        early: 0,
        expired: 0,
      });
      await expectLikeModel(app, app.model, queues);
    },
  );

  it("seven times in a row gets the first answer in the end", async () => {
    const app = await start();
    const events = aBatch();
    const done = proxy.cut(folds, "after it ran", 7);
    const answers: Answer[] = [];
    do {
      await app.untilReady();
      answers.push(await app.record(events, "batch"));
    } while (answers.at(-1)?.status !== 200);
    await done;
    for (const refused of answers.slice(0, -1)) expectUnavailable(refused);
    expect(answers).toHaveLength(8);
    expect(answerOf(answers[7]!)).toEqual(app.model.record(events, "batch", Date.now()));
    await expectLikeModel(app, app.model, queues);
  });

  it.each([
    { point: "before it ran", lists: lists, known: 0, why: "nothing is listed, and nothing recorded" },
    { point: "after it ran", lists: lists, known: 0, why: "what is listed without a state is passed over" },
    { point: "before it ran", lists: listsAgain, known: 3, why: "what is recorded was listed before" },
  ] as const)("where its names are listed, $point: $why", async ({ point, lists: isList, known }) => {
    // Whatever lists all queues, as the history does, takes out a name that has no state yet, until it is listed again.
    const app = await start({ HISTORY_MAX_QUEUES: "0" });
    const events = aBatch();
    const done = proxy.cut(isList, point);
    expectUnavailable(await app.record(events, "batch"));
    await done;
    await app.untilReady();
    const names = `{ queues { edges { node { queue } } } }`;
    expect((await ask(app.url, names)).body.data.queues.edges).toHaveLength(known);
    expect(answerOf(await app.record(events, "batch"))).toEqual(
      app.model.record(events, "batch", Date.now()),
    );
    expect(await namesIn(app.keys.index)).toEqual(queues);
  });

  it("anywhere, again and again, ends in the state of the model", async () => {
    const startMs = Date.now();
    // A draw that is interrupted goes on beside the next test, which has a proxy of its own.
    const ours = proxy;
    const instant = fc.integer({ min: 0, max: 60_000 }).map((agoMs) => startMs - agoMs);
    const event = fc.record({
      type: fc.constantFrom("ENQUEUED", "ENQUEUED", "DEQUEUED", "REMOVED"),
      queue: fc.constantFrom(...queues),
      jobId: fc.constantFrom(..."12345678"),
      attempt: fc.constantFrom(0, 1),
      atMs: instant,
      availableAtMs: fc.constantFrom(null, startMs - 30_000, startMs + 600_000),
    });
    const cut = fc.record({ queue: fc.constantFrom(...queues), point: fc.constantFrom(...points) });
    const batch = fc.record({
      events: fc.array(event, { minLength: 1, maxLength: 8 }),
      hasId: fc.boolean(),
      cuts: fc.array(cut, { maxLength: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 6 }), async (batches) => {
        const app = await start();
        for (const [i, { events: drawn, hasId, cuts }] of batches.entries()) {
          const events = drawn.map(onlyEnqueuedIsAvailable);
          const batchId = hasId ? `batch-${i}` : null;
          const record = async () => {
            const answer = await app.record(events, batchId);
            if (answer.status !== 200) expectUnavailable(answer);
            await app.untilReady();
            return answer;
          };
          for (const { queue, point } of cuts) {
            if (!events.some((each) => each.queue === queue)) continue;
            let isCut = false;
            void ours.cut(ofQueue(folds, queue), point).then(() => (isCut = true));
            // A busy machine answers too late now and then, before the batch has come to its fold.
            while (!isCut) expectUnavailable(await record());
          }
          const answer = await until(async () => {
            const recorded = await record();
            expect(recorded.status).toBe(200);
            return recorded;
          });
          const expected = app.model.record(events, batchId, Date.now());
          if (hasId) expect(answerOf(answer)).toEqual(expected);
        }
        await expectLikeModel(app, app.model, queues);
        await app.stop();
      }),
      {
        numRuns: 15,
        // To shrink takes a server for each try, and would hide what failed behind the time limit.
        endOnFailure: true,
        // Shows the draw that hangs; and what a busy machine does not reach in time is left to the next run.
        timeout: hangsAfterMs,
        interruptAfterTimeLimit: 2 * hangsAfterMs,
      },
    );
  });
});

describe("what a connection that breaks does to everything else", () => {
  it.each(points)("a query, %s, is answered with an error, and then with the state", async (point) => {
    const app = await start();
    await app.record(aBatch(), null);
    void proxy.cut(reads, point);
    expectUnavailable(await ask(app.url, `{ queueLatency(queues: ["a"]) { depth } }`));
    await app.untilReady();
    expect((await ask(app.url, `{ queueLatency(queues: ["a"]) { depth } }`)).body.data).toEqual({
      queueLatency: [{ depth: 2 }],
    });
  });

  it.each(points)(
    "a queue that is being forgotten, %s, is forgotten when it is asked again",
    async (point) => {
      const app = await start();
      await app.record(aBatch(), null);
      void proxy.cut(forgets, point);
      const mutation = `mutation { forgetQueue(queue: "b") }`;
      expectUnavailable(await ask(app.url, mutation));
      await app.untilReady();
      const { body } = await ask(app.url, mutation);
      // It says whether it was known then: what was lost with the first answer is not known any more.
      expect(body.data).toEqual({ forgetQueue: point === "before it ran" });
      // Beside these it stays remembered for a while that the queue was forgotten on purpose.
      expect(await direct.exists(app.keys.waiting("b"), app.keys.state("b"), app.keys.recent("b"))).toBe(0);
      expect(await namesIn(app.keys.index)).toEqual(["a", "c"]);
    },
  );

  it.each([
    { point: "before it ran", charged: 0 },
    { point: "after it ran", charged: 3 },
  ] as const)(
    "points that are taken, $point, are charged once a try: $charged for three",
    async ({ point, charged }) => {
      const app = await start({ RATE_LIMIT_MAX: "10", RATE_LIMIT_WINDOW: "1d" });
      const query = `{ queueLatency(queues: ["a"]) { depth } }`;
      const left = async () =>
        (await ask(app.url, query)).body.extensions?.cost?.throttleStatus.currentlyAvailable;
      expect(await left()).toBe(9);
      for (let i = 0; i < 3; i++) {
        void proxy.cut(takes, point);
        expectUnavailable(await ask(app.url, query));
        await app.untilReady();
      }
      expect(await left()).toBe(8 - charged);
    },
  );

  it("points that are lost so are not charged without end: a client that tries on is throttled, and has them back", async () => {
    const app = await start({ RATE_LIMIT_MAX: "3", RATE_LIMIT_WINDOW: "30s" });
    const query = `{ queueLatency(queues: ["a"]) { depth } }`;
    void proxy.cut(takes, "after it ran", 3);
    for (let i = 0; i < 3; i++) {
      expectUnavailable(await ask(app.url, query));
      await app.untilReady();
    }
    expect((await ask(app.url, query)).body.errors?.[0]?.extensions.code).toBe("THROTTLED");
    await until(async () => expect((await ask(app.url, query)).status).toBe(200), 50);
  });

  const transports = [
    { name: "server-sent events", connect: sseTransport },
    { name: "WebSocket", connect: websocketTransport },
  ];
  const breaks = [
    ...points.map((point) => ({ what: "read", isIt: reads, point })),
    {
      what: "subscription to changes",
      isIt: ([name]: readonly string[]) => name === "SUBSCRIBE",
      point: "before it ran" as const,
    },
  ];
  it.each(transports.flatMap((transport) => breaks.map((each) => ({ ...transport, ...each }))))(
    "a subscriber over $name whose $what breaks, $point, gets the right state",
    async ({ connect, what, isIt, point }) => {
      const app = await start();
      await using client = connect(app.url);
      const stream = client.subscribe(
        `subscription { queueLatency(queues: ["a"], minIntervalMs: 50, refreshMs: 0) { depth stale } }`,
      );
      expect((await stream.next()).value?.data).toEqual({ queueLatency: [{ depth: null, stale: false }] });
      const done = proxy.cut(isIt, point);
      if (what !== "read") await direct.call("CLIENT", "KILL", "TYPE", "pubsub");
      const events = aBatch();
      const recorded = app.record(events, "batch");
      await done;
      await app.untilReady();
      if ((await recorded).status !== 200) await app.record(events, "batch");
      const pushed: unknown[] = [];
      for (;;) {
        const { value } = await stream.next();
        expect(value?.errors).toBeUndefined();
        pushed.push(value?.data.queueLatency[0]);
        if (value?.data.queueLatency[0].depth === 2 && !value.data.queueLatency[0].stale) break;
        expect(pushed.at(-1)).toEqual({ depth: null, stale: true });
      }
    },
  );

  it.each(points)("a lease that is taken, %s, is had by one, with one fence", async (point) => {
    const prefix = uniquePrefix();
    const ours = await openContender(proxy.url, prefix);
    const other = await openContender(redis.url, prefix);
    const requests = callsOf("redis/lua/lease-acquire.lua");
    const done = proxy.cut(requests, point);
    const holding = ours.hold();
    await done;
    const before = proxy.sent(requests);
    const hold = await holding;
    // It does not wait for the end of what it has itself: in those 3 s it asks every 250 ms.
    expect(proxy.sent(requests) - before).toBeLessThan(6);
    let isHeldByOther = false;
    const waiting = other.hold().then((held) => {
      isHeldByOther = true;
      return held;
    });
    // Through many renewals of the other's tries.
    await until(() => expect(proxy.sent(callsOf("redis/lua/lease-renew.lua"))).toBeGreaterThanOrEqual(2));
    expect([hold.isHeld(), isHeldByOther]).toEqual([true, false]);
    await hold.release();
    const next = await waiting;
    expect(next.fence).toBeGreaterThan(hold.fence);
    await next.release();
  });

  it.each(points)("a renewal, %s, does not end a lease", async (point) => {
    const ours = await openContender(proxy.url, uniquePrefix());
    const hold = await ours.hold();
    const renewals = callsOf("redis/lua/lease-renew.lua");
    await proxy.cut(renewals, point);
    const before = proxy.sent(renewals);
    await until(() => expect(proxy.sent(renewals)).toBeGreaterThanOrEqual(before + 2));
    expect(hold.isHeld()).toBe(true);
    await hold.release();
  });

  it.each(points)(
    "what is followed of a job system's log, %s, is counted once when it is sent again",
    async (point) => {
      await using opened = await openTracker(proxy.url);
      const atMs = Date.now();
      const followed: FollowedQueue = {
        ...{
          source: "bullmq",
          queue: "mail",
          fromCursor: null,
          toCursor: "1",
          paused: null,
          sourceNowMs: atMs,
        },
        events: ["x", "y"].map((jobId) => ({ kind: "ENQUEUED", jobId, atMs, availableAtMs: null })),
        ...{
          readAtMs: monotonicClock.now(),
          uncertaintyMs: 0,
          freshForMs: 60_000,
          repair: null,
        },
        ...{ expected: [], missedUntilMs: null, clockSkewMs: null },
      };
      const done = proxy.cut(callsOf("tracker/lua/follow.lua"), point);
      await expect(opened.tracker.follow(followed)).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
      await done;
      await until(() => opened.redis.ping());
      expect(await opened.tracker.follow(followed)).toMatchObject({
        applied: point === "before it ran",
        cursor: "1",
      });
      const [snapshot] = await opened.tracker.read(["bullmq/mail"], allParts);
      expect(snapshot).toMatchObject({ depth: 2 });
      expect(snapshot?.throughput?.FIVE_MINUTES?.enqueuedPerSecond).toBeCloseTo(2 / 300, 6);
    },
  );
});

/** All that can happen, in three queues: waiting, scheduled, waited for, early, removed, repeated, tried again. */
function aBatch(): readonly QueueEvent[] {
  // Of its own test: no event leaves the event window while the others run.
  const startMs = Date.now();
  return ["a", "b", "c"].flatMap((queue) => {
    const event = (
      type: QueueEvent["type"],
      jobId: string,
      agoMs: number,
      rest: Partial<QueueEvent> = {},
    ) => {
      return { type, queue, jobId, attempt: 0, atMs: startMs - agoMs, availableAtMs: null, ...rest };
    };
    return [
      event("ENQUEUED", "waits", 50_000),
      event("ENQUEUED", "waits too", 40_000),
      event("ENQUEUED", "taken", 30_000),
      event("DEQUEUED", "taken", 20_000),
      event("ENQUEUED", "taken", 10_000, { attempt: 1, availableAtMs: startMs + 3_600_000 }),
      event("DEQUEUED", "early", 5_000),
      event("REMOVED", "removed", 4_000),
      event("ENQUEUED", "waits", 50_000),
    ];
  });
}

const inQueue = (queue: string, events: readonly QueueEvent[]) =>
  events.filter((event) => event.queue === queue);

function onlyEnqueuedIsAvailable(event: QueueEvent): QueueEvent {
  return event.type === "ENQUEUED" ? event : { ...event, availableAtMs: null };
}

function ofQueue(isIt: (command: readonly string[]) => boolean, queue: string) {
  return (command: readonly string[]) => isIt(command) && String(command[3]).endsWith(`{${queue}}:waiting`);
}

interface CutOffApp {
  readonly url: string;
  readonly redisUrl: string;
  readonly prefix: string;
  readonly keys: ReturnType<typeof createKeys>;
  readonly model: TrackerModel;
  record(events: readonly QueueEvent[], batchId: string | null): Promise<Answer>;
  /** Has all scripts known to its connection, so that they are called by their hashes. */
  warmUp(): Promise<void>;
  /** Until its connection for commands is back. */
  untilReady(): Promise<void>;
  stop(): Promise<void>;
}

/** The app, which reaches Redis through the proxy. */
async function start(env: Readonly<Record<string, string>> = {}): Promise<CutOffApp> {
  const prefix = uniquePrefix();
  const app = await startApp({ REDIS_URL: proxy.url, KEY_PREFIX: prefix, RATE_LIMIT_MAX: "1000000", ...env });
  onTestFinished(app.stop);
  const mutation = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
    recordEvents(events: $events, batchId: $batchId) { accepted duplicates early expired } }`;
  return {
    ...{ url: app.url, redisUrl: redis.url, prefix, keys: createKeys(prefix), stop: app.stop },
    model: createTrackerModel({ eventWindowMs: 5 * 60_000, maxWaitMs: 7 * 86_400_000 }),
    record: (events, batchId) => ask(app.url, mutation, { events: asInput(events), batchId }),
    async warmUp() {
      await ask(
        app.url,
        `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "warm-up", jobId: 1 }]) { early } }`,
      );
    },
    untilReady: () => until(async () => expect((await fetch(`${app.url}/ready`)).status).toBe(200), 10),
  };
}

function expectUnavailable({ status, body }: Answer): void {
  expect({
    status,
    codes: body.errors?.map(({ extensions }) => extensions.code),
    data: body.data ?? null,
  }).toEqual({
    status: 503,
    codes: ["SERVICE_UNAVAILABLE"],
    data: null,
  });
}

function answerOf({ body }: Answer): unknown {
  expect(body.errors).toBeUndefined();
  return body.data.recordEvents;
}

/** The index has an empty member of its own, which marks it as complete. */
function namesIn(index: string): Promise<string[]> {
  return direct.zrangebylex(index, "(", "+");
}
