import { once } from "node:events";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { describe, expect, inject, it } from "vitest";
import { WebSocket } from "ws";
import { onThisMachine } from "../support/busy-machine.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startApp, startServer } from "../support/server.ts";
import {
  type Push,
  type Stream,
  slowSse,
  slowWebsocket,
  sseTransport,
  websocketTransport,
} from "../support/streams.ts";
import { openTracker } from "../support/tracker.ts";
import { hangsAfterMs } from "../support/until.ts";

const transports = [
  { name: "server-sent events", connect: sseTransport, connectSlowly: slowSse },
  { name: "graphql-transport-ws", connect: websocketTransport, connectSlowly: slowWebsocket },
];

const subscription = `
  subscription ($queues: [String!]!, $minIntervalMs: Int! = 50, $refreshMs: Int! = 0) {
    queueLatency(queues: $queues, minIntervalMs: $minIntervalMs, refreshMs: $refreshMs) {
      queue state latency oldestSince depth scheduled measuredAt stale
    }
  }`;

describe.each(transports)("a subscription over $name", ({ connect, connectSlowly }) => {
  it("starts with every queue asked, in order and each once, known or not", async () => {
    await using server = await startTestApp();
    await record(server.url, { queue: "known" });
    await using client = connect(server.url);
    const stream = client.subscribe(subscription, { queues: ["b", "known", "a", "b", "known"] });
    expect((await rowsOf(stream)).map(({ queue, state, depth }) => [queue, state, depth])).toEqual([
      ["b", "MISSING", null],
      ["known", "WAITING", 1],
      ["a", "MISSING", null],
    ]);
  });

  it("then pushes those that changed, in order, and no others", async () => {
    await using server = await startTestApp();
    await using client = connect(server.url);
    const stream = client.subscribe(subscription, { queues: ["a", "b", "c"] });
    await rowsOf(stream);
    await record(server.url, { queue: "b" });
    expect(await rowsOf(stream)).toMatchObject([{ queue: "b", state: "WAITING", depth: 1 }]);
    await record(server.url, { queue: "unwatched" }, { queue: "c", jobId: "x" }, { queue: "a", jobId: "x" });
    const pushed = [...(await rowsOf(stream))];
    // They may be read apart from each other, but never in another order within a push.
    while (pushed.length < 2) pushed.push(...(await rowsOf(stream)));
    expect(pushed.map(({ queue }) => queue).toSorted()).toEqual(["a", "c"]);
    await record(server.url, { queue: "b", type: "DEQUEUED" });
    expect(await rowsOf(stream)).toMatchObject([
      { queue: "b", state: "EMPTY", latency: 0, oldestSince: null, depth: 0 },
    ]);
    expect(stream.hasMore).toBe(false);
  });

  it("begins with the present state when it joins others with the same variables, and stays when they leave", async () => {
    await using server = await startTestApp();
    await using client = connect(server.url);
    const others = client.subscribe(subscription, { queues: ["a", "b"], refreshMs: 0, minIntervalMs: 50 });
    await rowsOf(others);
    await record(server.url, { queue: "a" });
    expect(await rowsOf(others)).toMatchObject([{ queue: "a", depth: 1 }]);
    await record(server.url, { queue: "b" });
    // In another order, which makes no other subscription.
    const joined = client.subscribe(subscription, { minIntervalMs: 50, queues: ["a", "b"], refreshMs: 0 });
    expect(await rowsOf(joined)).toMatchObject([
      { queue: "a", depth: 1 },
      { queue: "b", depth: 1 },
    ]);
    others.abort();
    await record(server.url, { queue: "a", jobId: "2" });
    while ((await rowsOf(joined)).find(({ queue }) => queue === "a")?.depth !== 2);
  });

  it("pushes queues in which a job waits again every refreshMs, grown older, and no others", async () => {
    await using server = await startTestApp();
    await record(
      server.url,
      { queue: "waits", at: new Date(Date.now() - 60_000) },
      { queue: "empty" },
      { queue: "empty", type: "DEQUEUED" },
    );
    await using client = connect(server.url);
    const queues = ["waits", "empty", "missing"];
    const startedAtMs = performance.now();
    const stream = client.subscribe(subscription, { queues, refreshMs: 250 });
    const first = await take(stream);
    const pushes = [first, await take(stream), await take(stream), await take(stream)];
    expect(pushes.map((push) => push.rows.length)).toEqual([3, 1, 1, 1]);
    let before: Row | undefined;
    for (const [i, { rows, arrivedAtMs }] of pushes.entries()) {
      const row = rows[0]!;
      expect(row).toMatchObject({ queue: "waits", state: "WAITING", depth: 1, stale: false });
      expect(row.oldestSince).toBe(first.rows[0]?.oldestSince);
      expect(row.latency).toBeCloseTo((Date.parse(row.measuredAt) - Date.parse(row.oldestSince!)) / 1000, 6);
      if (before !== undefined) {
        expect(Date.parse(row.measuredAt) - Date.parse(before.measuredAt)).toBeGreaterThanOrEqual(245);
        expect(row.latency).toBeGreaterThan(before.latency);
      }
      expect(arrivedAtMs).toBeGreaterThanOrEqual(startedAtMs + 250 * i - 5);
      before = row;
    }
  });

  it("does not push waiting queues again when refreshMs is 0", async () => {
    await using server = await startTestApp();
    await record(server.url, { queue: "q" });
    await using client = connect(server.url);
    const quiet = client.subscribe(subscription, { queues: ["q"], refreshMs: 0 });
    const refreshed = client.subscribe(subscription, { queues: ["q"], refreshMs: 250 });
    await rowsOf(quiet);
    for (let i = 0; i < 4; i++) await rowsOf(refreshed);
    expect(quiet.hasMore).toBe(false);
    await record(server.url, { queue: "q", jobId: "another" });
    expect(await rowsOf(quiet)).toMatchObject([{ queue: "q", depth: 2 }]);
  });

  it("pushes that a job was overtaken, though nothing else of the queue changed", async () => {
    await using server = await startTestApp();
    // Four minutes, in which jobs come and go; one stays.
    let now = Date.now() - 300_000;
    await using past = await openTracker(inject("redisUrl"), { prefix: server.prefix, now: () => now });
    for (const jobId of ["a", "b", "c", "d", "orphan", "e", "f", "g", "h", "i"]) {
      now += 25_000;
      const came = eventOf({ queue: "q", jobId });
      const went = { ...came, type: "DEQUEUED" } as const;
      await past.tracker.record(jobId === "orphan" ? [came] : [came, went], null);
    }
    await using client = connect(server.url);
    const stream = client.subscribe(
      `subscription { queueLatency(queues: ["q"], refreshMs: 0) { state depth latency overtaken inOrderLatency measuredAt } }`,
    );
    expect(await rowsOf(stream)).toMatchObject([{ depth: 1, overtaken: 0 }]);
    await record(server.url, { queue: "q", jobId: "j" }, { queue: "q", jobId: "j", type: "DEQUEUED" });
    const [overtaken] = await rowsOf(stream);
    expect(overtaken).toMatchObject({ state: "WAITING", depth: 1, overtaken: 1, inOrderLatency: 0 });
    expect(overtaken?.latency).toBeGreaterThan(100);
    await record(server.url, { queue: "q", jobId: "next" });
    const [next] = await rowsOf(stream);
    expect(next).toMatchObject({ depth: 2, overtaken: 1 });
    await record(server.url, { queue: "q", jobId: "orphan", type: "DEQUEUED" });
    expect(await rowsOf(stream)).toMatchObject([{ depth: 1, overtaken: 0 }]);
  });

  it("keeps pushes minIntervalMs apart, however fast a queue changes, and ends with its newest state", async () => {
    await using server = await startTestApp();
    await using writer = await openTracker(inject("redisUrl"), { prefix: server.prefix });
    await using client = connect(server.url);
    const minIntervalMs = 150;
    const startedAtMs = performance.now();
    const stream = client.subscribe(subscription, { queues: ["q"], minIntervalMs, refreshMs: 250 });
    const pushes = [await take(stream)];
    let recorded = 0;
    while (pushes.length < 8) {
      await writer.tracker.record([eventOf({ queue: "q", jobId: String(recorded++) })], null);
      if (stream.hasMore) pushes.push(await take(stream));
    }
    while (pushes.at(-1)?.rows[0]?.depth !== recorded) pushes.push(await take(stream));
    expect(recorded).toBeGreaterThan(pushes.length);
    for (const [i, push] of pushes.entries()) {
      // It may come late, but never sooner than this number of intervals after the start,
      expect(push.arrivedAtMs).toBeGreaterThanOrEqual(startedAtMs + minIntervalMs * i - 5);
      // nor be of an instant that is sooner after the one before.
      const before = pushes[i - 1];
      if (before === undefined) continue;
      expect(instantOf(push) - instantOf(before)).toBeGreaterThanOrEqual(minIntervalMs - 5);
    }
  });

  it("pushes how a queue stands when the push is due, not how it stood when it first changed", async () => {
    await using server = await startTestApp();
    await using client = connect(server.url);
    const minIntervalMs = Math.min(Math.ceil(onThisMachine(2_500)), 60_000);
    const stream = client.subscribe(subscription, { queues: ["q"], minIntervalMs });
    const witness = client.subscribe(subscription, { queues: ["q"] });
    await rowsOf(stream);
    await rowsOf(witness);
    witness.abort();
    await record(server.url, { queue: "q" });
    await record(server.url, { queue: "other" });
    // Long enough ago for the first change to have been read.
    const other = client.subscribe(subscription, { queues: ["other"], refreshMs: 250 });
    await rowsOf(other);
    await rowsOf(other);
    await record(server.url, { queue: "q", jobId: "another" });
    expect(await rowsOf(stream)).toMatchObject([{ queue: "q", depth: 2 }]);
  });

  it("refuses a minIntervalMs or a refreshMs out of bounds with one error, and completes", async () => {
    await using server = await startTestApp();
    await using client = connect(server.url);
    const outOfBounds = [
      ...[49, 0, -1, 60_001, 2_147_483_647].map((minIntervalMs) => ({ minIntervalMs })),
      ...[1, 249, -1, -250, 60_001].map((refreshMs) => ({ refreshMs })),
    ];
    for (const variables of outOfBounds) {
      const stream = client.subscribe(subscription, { queues: ["q"], ...variables });
      const push = await next(stream);
      expect(push.errors, JSON.stringify(variables)).toMatchObject([
        {
          message: expect.stringContaining(Object.keys(variables)[0]!),
          extensions: { code: "BAD_USER_INPUT" },
        },
      ]);
      expect(push.data ?? null).toBeNull();
      expect(await stream.next()).toEqual({ done: true, value: undefined });
      expect(stream.isComplete).toBe(true);
    }
    for (const variables of [
      { minIntervalMs: 50, refreshMs: 0 },
      { minIntervalMs: 60_000, refreshMs: 250 },
      { refreshMs: 60_000 },
    ]) {
      await using stream = client.subscribe(subscription, { queues: ["q"], ...variables });
      expect(await rowsOf(stream)).toMatchObject([{ queue: "q" }]);
    }
  });

  it("sends one error and completes when it is refused before it starts, whatever the reason", async () => {
    await using server = await startTestApp({ MAX_QUEUES: "2", MAX_COST: "3" });
    await using client = connect(server.url);
    const refused = [
      { query: subscription, variables: { queues: ["*"] }, code: "BAD_USER_INPUT" },
      { query: subscription, variables: { queues: ["a", "b", "c"] }, code: "TOO_MANY_QUEUES" },
      { query: subscription, variables: {}, code: "BAD_USER_INPUT" },
      {
        query: `subscription { queueLatency(queues: ["a", "b"]) { throughput { dequeuedPerSecond } } }`,
        variables: {},
        code: "MAX_COST_EXCEEDED",
      },
      { query: `subscription { nothingLikeThis }`, variables: {}, code: undefined },
      { query: `subscription {`, variables: {}, code: undefined },
    ];
    for (const { query, variables, code } of refused) {
      const stream = client.subscribe(query, variables);
      const push = await next(stream);
      expect(push.errors, query).toHaveLength(1);
      if (code !== undefined) expect(push.errors?.[0]?.extensions.code).toBe(code);
      expect(push.data ?? null).toBeNull();
      expect(await stream.next()).toEqual({ done: true, value: undefined });
      expect(stream.isComplete).toBe(true);
    }
    // The connection is none the worse for it.
    expect(await rowsOf(client.subscribe(subscription, { queues: ["a"] }))).toHaveLength(1);
  });

  it("pushes a scheduled job when it becomes claimable, with no event", async () => {
    await using server = await startTestApp();
    await using client = connect(server.url);
    const stream = client.subscribe(subscription, { queues: ["q"] });
    await rowsOf(stream);
    // Late enough to be seen before, on a busy machine too.
    const availableAt = new Date(Date.now() + onThisMachine(1_500));
    await record(server.url, { queue: "q", availableAt });
    expect(await rowsOf(stream)).toMatchObject([
      { state: "EMPTY", scheduled: 1, depth: 0, oldestSince: null },
    ]);
    const [row] = await rowsOf(stream);
    expect(row).toMatchObject({ state: "WAITING", scheduled: 0, depth: 1 });
    expect(row?.oldestSince).toBe(availableAt.toISOString());
    expect(Date.parse(row!.measuredAt)).toBeGreaterThanOrEqual(availableAt.getTime());
    expect(row!.latency).toBeLessThan(onThisMachine(500) / 1_000);
  });

  it("pushes that a job was lost when it has waited for MAX_WAIT, with no event", async () => {
    // Long enough to be seen waiting, on a busy machine too.
    const seconds = Math.ceil(onThisMachine(1.5));
    await using server = await startTestApp({ MAX_WAIT: `${seconds}s` });
    await using client = connect(server.url);
    await record(server.url, { queue: "q" });
    const stream = client.subscribe(subscription, { queues: ["q"] });
    const [waiting] = await rowsOf(stream);
    expect(waiting).toMatchObject({ state: "WAITING", depth: 1 });
    const [empty] = await rowsOf(stream);
    expect(empty).toMatchObject({ state: "EMPTY", depth: 0, latency: 0, oldestSince: null });
    expect(Date.parse(empty!.measuredAt)).toBeGreaterThan(
      Date.parse(waiting!.oldestSince!) + seconds * 1_000,
    );
  });

  it("pushes a forgotten queue as MISSING", async () => {
    await using server = await startTestApp();
    await using client = connect(server.url);
    await record(server.url, { queue: "q" });
    const stream = client.subscribe(subscription, { queues: ["q"] });
    expect(await rowsOf(stream)).toMatchObject([{ state: "WAITING" }]);
    await ask(server.url, `mutation { forgetQueue(queue: "q") }`);
    expect(await rowsOf(stream)).toMatchObject([
      { state: "MISSING", depth: null, latency: null, oldestSince: null },
    ]);
  });

  it("has the throughput and the wait times of the moment in each push", async () => {
    await using server = await startTestApp();
    await using client = connect(server.url);
    const stream = client.subscribe(
      `subscription {
        queueLatency(queues: ["q"], minIntervalMs: 50, refreshMs: 250) {
          depth
          throughput { enqueuedPerSecond dequeuedPerSecond }
          waitTime { count max }
        }
      }`,
    );
    expect((await next(stream)).data.queueLatency).toEqual([
      { depth: null, throughput: null, waitTime: null },
    ]);
    await record(server.url, { queue: "q", jobId: "head", at: new Date(Date.now() - 10_000) });
    for (let dequeued = 1; dequeued <= 3; dequeued++) {
      // The head stays, and so does the depth: what is pushed is the refresh of queues with waiting jobs.
      const jobId = String(dequeued);
      await record(server.url, { queue: "q", jobId }, { queue: "q", jobId, type: "DEQUEUED" });
      const row = await rowThat(stream, ({ waitTime }) => waitTime?.count === dequeued);
      expect(row).toMatchObject({ depth: 1 });
      expect(row.throughput.enqueuedPerSecond).toBeCloseTo((dequeued + 1) / 60, 3);
      expect(row.throughput.dequeuedPerSecond).toBeCloseTo(dequeued / 60, 3);
    }
  });

  it("takes variables, fragments, aliases, directives and __typename as a query does", async () => {
    await using server = await startTestApp();
    await record(server.url, { queue: "q" });
    await using client = connect(server.url);
    const stream = client.subscribe(
      `subscription Watch($names: [String!]!, $withDepth: Boolean!, $without: Boolean = true) {
        live: queueLatency(queues: $names) {
          ...Parts
          ... on QueueLatency { name: queue }
          latency @skip(if: $without)
        }
      }
      fragment Parts on QueueLatency { __typename state depth @include(if: $withDepth) }`,
      { names: ["q"], withDepth: true },
    );
    expect((await next(stream)).data).toEqual({
      live: [{ __typename: "QueueLatency", state: "WAITING", depth: 1, name: "q" }],
    });
  });

  it("gives its slot back when the client ends it, and when the client is gone", async () => {
    await using server = await startTestApp({ MAX_SUBSCRIPTIONS: "1" });
    await using client = connect(server.url);
    const first = client.subscribe(subscription, { queues: ["q"] });
    await rowsOf(first);
    const second = client.subscribe(subscription, { queues: ["q"] });
    expect((await next(second)).errors).toMatchObject([{ extensions: { code: "TOO_MANY_SUBSCRIPTIONS" } }]);
    expect(await second.next()).toMatchObject({ done: true });
    first.abort();
    const third = await subscribeWhenFree(client, { queues: ["q"] });
    expect(third.isComplete).toBe(false);

    await client[Symbol.asyncDispose]();
    await using anotherClient = connect(server.url);
    await subscribeWhenFree(anotherClient, { queues: ["q"] });
  });

  it("gives its slot back when the client is gone before the first push could be read", async () => {
    await using redis = await startRedis();
    await using server = await startApp({ REDIS_URL: redis.url, MAX_SUBSCRIPTIONS: "1" });
    await using client = connect(server.url);
    await (await subscribeWhenFree(client, { queues: ["q"] })).return?.();
    for (const leaveAfterMs of [0, 20, 150]) {
      await (await subscribeWhenFree(client, { queues: ["q"] })).return?.();
      const pause = await pauseRedis(redis.url, 300);
      const early = client.subscribe(subscription, { queues: ["q"] });
      await new Promise((resolve) => setTimeout(resolve, leaveAfterMs));
      early.abort();
      await pause.over;
      await using free = await subscribeWhenFree(client, { queues: ["q"] });
      expect(free.isComplete).toBe(false);
    }
  });

  it("gives its slot back when a client is cut off that has not read what piled up for it", async () => {
    await using server = await startTestApp({ MAX_SUBSCRIPTIONS: "2" });
    await using client = connect(server.url);
    await using slow = await connectSlowly(server.url, wideSubscription, { queues: longNames });
    await using witness = client.subscribe(subscription, { queues: [longNames[0]] });
    await rowsOf(witness);
    await using writer = await openTracker(inject("redisUrl"), { prefix: server.prefix });
    for (let round = 1; round <= 15; round++) {
      await writer.tracker.record(
        longNames.map((queue) => eventOf({ queue, jobId: String(round) })),
        null,
      );
      await rowThat(witness, ({ depth }) => depth === round);
    }
    slow.cut();
    await subscribeWhenFree(client, { queues: ["q"] });
  });

  it("skips for a slow reader what it was too slow for, and delays no other client", async () => {
    await using server = await startTestApp();
    await using writer = await openTracker(inject("redisUrl"), { prefix: server.prefix });
    await using slow = await connectSlowly(server.url, wideSubscription, { queues: longNames });
    await using client = connect(server.url);
    const fast = client.subscribe(subscription, { queues: [longNames[0]] });
    await rowsOf(fast);

    const rounds = 50;
    let maxMs = 0;
    for (let round = 1; round <= rounds; round++) {
      const recordedAtMs = performance.now();
      await writer.tracker.record(
        longNames.map((queue) => eventOf({ queue, jobId: String(round) })),
        null,
      );
      expect(await rowsOf(fast)).toMatchObject([{ queue: longNames[0], depth: round }]);
      maxMs = Math.max(maxMs, performance.now() - recordedAtMs);
    }
    expect(maxMs).toBeLessThan(onThisMachine(1_000));

    const stream = slow.resume();
    const depths = new Map<string, number>();
    let pushes = 0;
    while (longNames.some((queue) => depths.get(queue) !== rounds)) {
      for (const { queue, depth } of (await next(stream)).data.queueLatency) depths.set(queue, depth);
      pushes++;
    }
    // What it gets is what lay in the sockets' buffers, and then the newest: the other got a push each round.
    expect(pushes).toBeLessThan(rounds / 2);
    expect(stream.hasMore).toBe(false);
  });

  it("says that its last reading is stale while Redis is away, and is fresh when Redis is back", async () => {
    await using redis = await startRedis({ appendonly: true });
    await using server = await startApp({ REDIS_URL: redis.url });
    await using client = connect(server.url);
    await record(server.url, { queue: "q", at: new Date(Date.now() - 5_000) });
    const stream = client.subscribe(
      `subscription {
        queueLatency(queues: ["q"], minIntervalMs: 50, refreshMs: 250) {
          state latency oldestSince measuredAt stale throughput { enqueuedPerSecond }
        }
      }`,
    );
    const other = client.subscribe(subscription, { queues: ["q"] });
    for (const each of [stream, other]) expect(await rowsOf(each)).toMatchObject([{ stale: false }]);
    await redis.kill();
    let stale: Row | undefined;
    while (stale === undefined) {
      // Until it is stale, what is counted cannot be read: an error, since null would say that its source does not report it.
      const { data, errors = [] } = await next(stream);
      const [row] = data.queueLatency as readonly Row[];
      const isError = row?.throughput === null && !row.stale;
      expect(errors).toMatchObject(
        isError
          ? [{ path: ["queueLatency", 0, "throughput"], extensions: { code: "SERVICE_UNAVAILABLE" } }]
          : [],
      );
      if (row?.stale) stale = row;
    }
    expect(stale.latency).toBeCloseTo(
      (Date.parse(stale.measuredAt) - Date.parse(stale.oldestSince!)) / 1000,
      6,
    );
    // The other one gets a push when Redis has been away for a while.
    await rowThat(other, (row) => row.stale);
    await redis.restart();
    const fresh = await rowThat(stream, (row) => {
      // No message has come since: it does not grow.
      if (row.stale) expect(row).toEqual(stale);
      return !row.stale;
    });
    expect(fresh).toMatchObject({ state: "WAITING", oldestSince: stale.oldestSince });
    expect(fresh.latency).toBeGreaterThan(stale.latency);
  });

  it("pushes a page of queues, worst first, at once and when it changes, and says when Redis is away", async () => {
    await using redis = await startRedis({ appendonly: true });
    await using server = await startApp({ REDIS_URL: redis.url, MAX_SUBSCRIPTIONS: "1" });
    await record(server.url, { queue: "old", at: new Date(Date.now() - 60_000) }, { queue: "new" });
    await using client = connect(server.url);
    const pageOf = async (stream: Stream) => {
      const { data, errors } = await next(stream);
      expect(errors).toBeUndefined();
      counts = data.queues;
      return data.queues.nodes.map(({ node }: { readonly node: Row }) => node) as readonly Row[];
    };
    let counts: unknown;
    const countsOf = (total: number) => ({
      totalCount: total,
      healthCounts: [
        { count: 0 },
        { count: 0 },
        { count: 0 },
        { count: 0 },
        { health: "UNKNOWN", count: total },
      ],
    });
    const worst = `subscription { queues(orderBy: HEALTH, first: 2) {
      nodes: edges { node { queue state health latency measuredAt stale } }
      totalCount healthCounts { health count }
    } }`;
    const stream = client.subscribe(worst);
    const first = await pageOf(stream);
    expect(first).toMatchObject([
      { queue: "old", state: "WAITING", stale: false },
      { queue: "new", state: "WAITING", stale: false },
    ]);
    expect(counts, "too few samples of both").toMatchObject(countsOf(2));
    expect((await next(client.subscribe(worst))).errors).toMatchObject([
      { extensions: { code: "TOO_MANY_SUBSCRIPTIONS" } },
    ]);
    await record(server.url, { queue: "older", at: new Date(Date.now() - 90_000) });
    const until = async (isIt: (rows: readonly Row[]) => boolean) => {
      let rows = await pageOf(stream);
      while (!isIt(rows)) rows = await pageOf(stream);
      return rows;
    };
    expect(await until(([worst]) => worst?.queue === "older")).toMatchObject([{}, { queue: "old" }]);
    await redis.kill();
    const stale = await until(([worst]) => worst?.stale === true);
    expect(stale).toMatchObject([
      { queue: "older", health: "UNKNOWN" },
      { queue: "old", stale: true },
    ]);
    expect(counts).toMatchObject(countsOf(3));
    await redis.restart();
    const [fresh] = await until(([worst]) => worst?.stale === false);
    expect(fresh?.latency).toBeGreaterThan(stale[0]?.latency ?? Number.NaN);
    stream.abort();
    // The place is free again.
    await subscribeWhenFree(client, { queues: ["old"] });
  });

  it("receives what was recorded through another process on the same Redis, in both directions", async () => {
    const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() };
    await using one = await startServer(env);
    await using other = await startServer(env);
    await using clientOfOne = connect(one.url);
    await using clientOfOther = connect(other.url);
    const streams = [clientOfOne, clientOfOther].map((client) =>
      client.subscribe(subscription, { queues: ["from-one", "from-other"] }),
    );
    for (const stream of streams) expect(await rowsOf(stream)).toHaveLength(2);
    await record(one.url, { queue: "from-one" });
    for (const stream of streams) {
      expect(await rowsOf(stream)).toMatchObject([
        { queue: "from-one", depth: 1, latency: expect.any(Number) },
      ]);
    }
    await record(other.url, { queue: "from-other" });
    for (const stream of streams)
      expect(await rowsOf(stream)).toMatchObject([{ queue: "from-other", depth: 1 }]);
  });
});

describe("a client that breaks the protocol of WebSockets", () => {
  it("is closed with a code that says why, and leaves nothing in the log but lines of the log", async () => {
    await using server = await startServer({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
    const init = JSON.stringify({ type: "connection_init" });
    const offences: readonly { readonly send: readonly (string | Buffer)[]; readonly codes: number[] }[] = [
      { send: ["x".repeat(3_000_000)], codes: [1009] },
      // Bits that are set without an extension that uses them.
      { send: [Buffer.from([0xf1, 0x80, 0, 0, 0, 0])], codes: [1002] },
      { send: ["no JSON"], codes: [4400] },
      { send: [JSON.stringify({ id: "1", type: "subscribe", payload: { query: "{ a }" } })], codes: [4401] },
      { send: [init, init], codes: [4429] },
      // A message that only a server may send.
      { send: [init, JSON.stringify({ type: "connection_ack" })], codes: [4400, 4500] },
    ];
    for (const { send, codes } of offences) {
      expect(codes, String(send.at(-1)).slice(0, 50)).toContain(await closeCodeAfter(server.url, send));
    }
    await using client = websocketTransport(server.url);
    expect(await rowsOf(client.subscribe(subscription, { queues: ["q"] }))).toHaveLength(1);
    expect(await server.stop()).toBe(0);
    const unstructured = server
      .stderr()
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("{"));
    expect(unstructured).toEqual([]);
  });
});

describe("a subscription over HTTP that cannot be answered by a stream", () => {
  const operation = { query: subscription, variables: { queues: ["q"] } };
  it.each([
    { why: "the client accepts JSON only", body: operation, accept: "application/json", status: 406 },
    { why: "the client accepts multipart only", body: operation, accept: "multipart/mixed", status: 406 },
    { why: "it is part of a batch", body: [operation, operation], accept: "application/json", status: 400 },
    { why: "it is a batch of one", body: [operation], accept: "text/event-stream", status: 400 },
  ])("is refused, and holds no slot, when $why", async ({ body, accept, status }) => {
    await using server = await startTestApp({ MAX_SUBSCRIPTIONS: "1" });
    const response = await fetch(`${server.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", accept },
      body: JSON.stringify(body),
    });
    await response.text();
    await using client = sseTransport(server.url);
    await using free = await subscribeWhenFree(client, { queues: ["q"] });
    expect(free.isComplete).toBe(false);
    expect(response.status).toBe(status);
  });

  it("is answered by a stream over GET, as a browser's EventSource asks", async () => {
    await using server = await startTestApp();
    const query = encodeURIComponent(`subscription { queueLatency(queues: ["q"]) { queue } }`);
    const response = await fetch(`${server.url}/graphql?query=${query}`, {
      headers: { accept: "text/event-stream" },
    });
    expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
    let text = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (text.includes("data: ") && text.endsWith("\n\n")) break;
    }
    expect(text).toContain('{"data":{"queueLatency":[{"queue":"q"}]}');
  });
});

describe("when its process was stopped and goes on", () => {
  it.each([
    { while: "nothing was asked of Redis", pauseMs: 0, reason: "timers run before the changes are read" },
    {
      while: "Redis owed it an answer",
      pauseMs: 1_000,
      reason: "the timers of its connections have run out before the answer is read",
    },
  ])("pushes what is true first, stopped while $while", async ({ pauseMs }) => {
    await using redis = await startRedis();
    const prefix = uniquePrefix();
    await using server = await startServer({ REDIS_URL: redis.url, KEY_PREFIX: prefix });
    await using other = await openTracker(redis.url, { prefix });
    await using client = sseTransport(server.url);
    await other.tracker.record([eventOf({ queue: "q" })], null);
    const stream = client.subscribe(subscription, { queues: ["q"], refreshMs: 250 });
    await rowsOf(stream);
    if (pauseMs > 0) {
      await other.redis.call("CLIENT", "PAUSE", pauseMs, "ALL");
      // By then it has asked something: it looks every second whether it still receives changes.
      await delay(pauseMs - 50);
    }
    process.kill(server.pid, "SIGSTOP");
    await other.tracker.record([{ ...eventOf({ queue: "q" }), type: "DEQUEUED" }], null);
    // Longer than its connections wait for an answer: what it says then must not be what it knew.
    await delay(2_500);
    while (stream.hasMore) expect(await rowsOf(stream)).toMatchObject([{ state: "WAITING", stale: false }]);
    const resumedAtMs = Date.now();
    process.kill(server.pid, "SIGCONT");
    const [first] = await rowsOf(stream);
    expect(first).toMatchObject({ state: "EMPTY", depth: 0, stale: false });
    expect(Date.parse(first?.measuredAt ?? "")).toBeGreaterThanOrEqual(resumedAtMs);
  });
});

/** As long as names can be, and asked for many times in each push: such pushes soon fill the buffers of a socket. */
const longNames = Array.from({ length: 100 }, (_, i) => `${i}-`.padEnd(200, "x"));
const wideSubscription = `
  subscription ($queues: [String!]!) {
    queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 0) {
      queue depth ${Array.from({ length: 60 }, (_, i) => `copy${i}: queue`).join(" ")}
    }
  }`;

interface Row {
  readonly queue: string;
  readonly state: string;
  readonly latency: number;
  readonly oldestSince: string | null;
  readonly depth: number;
  readonly scheduled: number;
  readonly measuredAt: string;
  readonly stale: boolean;
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what it asked for
  readonly throughput?: any;
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what it asked for
  readonly waitTime?: any;
}

/** The app in this process, with keys of its own. */
async function startTestApp(env: Readonly<Record<string, string>> = {}) {
  const prefix = uniquePrefix();
  const app = await startApp({
    REDIS_URL: inject("redisUrl"),
    KEY_PREFIX: prefix,
    RATE_LIMIT_MAX: "1000000",
    ...env,
  });
  return { prefix, url: app.url, [Symbol.asyncDispose]: app.stop };
}

interface JobEvent {
  readonly queue: string;
  readonly type?: "ENQUEUED" | "DEQUEUED";
  readonly jobId?: string;
  readonly at?: Date;
  readonly availableAt?: Date;
}

async function record(url: string, ...events: readonly JobEvent[]): Promise<void> {
  const { body } = await ask(
    url,
    `mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }`,
    { events: events.map((event) => ({ type: "ENQUEUED", jobId: "job", ...event })) },
  );
  expect(body).toMatchObject({ data: { recordEvents: { accepted: events.length } } });
}

/** The same for a tracker. */
function eventOf({ queue, jobId = "job" }: JobEvent) {
  return { type: "ENQUEUED", queue, jobId, attempt: 0, atMs: null, availableAtMs: null } as const;
}

async function next(stream: Stream): Promise<Push> {
  const { done, value } = await stream.next();
  if (done) throw new Error("expected a push, but the stream has ended");
  return value;
}

async function take(
  stream: Stream,
): Promise<{ readonly rows: readonly Row[]; readonly arrivedAtMs: number }> {
  const { data, errors, arrivedAtMs } = await next(stream);
  if (errors !== undefined) throw new Error(`expected no errors, got ${JSON.stringify(errors)}`);
  return { rows: data.queueLatency, arrivedAtMs };
}

const rowsOf = async (stream: Stream): Promise<readonly Row[]> => (await take(stream)).rows;

/** The first row of the pushes to come that is it. */
async function rowThat(stream: Stream, isIt: (row: Row) => boolean): Promise<Row> {
  for (let pushes = 0; pushes < 200; pushes++) {
    const found = (await rowsOf(stream)).find(isIt);
    if (found !== undefined) return found;
  }
  throw new Error("none of 200 pushes was it");
}

/** When the first of its rows was measured, in ms. */
const instantOf = ({ rows }: { readonly rows: readonly Row[] }) => Date.parse(rows[0]!.measuredAt);

/** Opens a WebSocket and sends messages over it, or frames as they are; resolves with the code that it is closed with. */
async function closeCodeAfter(url: string, sent: readonly (string | Buffer)[]): Promise<number> {
  const { hostname, port } = new URL(url);
  const socket = new WebSocket(`ws://${hostname}:${port}/graphql`, "graphql-transport-ws", {
    perMessageDeflate: false,
  });
  let raw: Duplex | undefined;
  socket.on("upgrade", (response) => {
    raw = response.socket;
  });
  socket.on("error", () => {});
  await once(socket, "open");
  for (const each of sent) {
    if (typeof each === "string") socket.send(each);
    else raw?.write(each);
  }
  const [code] = await once(socket, "close");
  return code;
}

/** Lets Redis answer no client for a while; resolves when it has stopped, and `over` when it goes on. */
async function pauseRedis(url: string, forMs: number): Promise<{ readonly over: Promise<unknown> }> {
  const redis = new Redis(url);
  await redis.client("PAUSE", forMs, "ALL");
  return { over: redis.ping().finally(() => redis.disconnect()) };
}

/** Subscribes as soon as a slot is free: the server learns of the end of another stream a moment later than we. */
async function subscribeWhenFree(
  client: { subscribe(query: string, variables?: object): Stream },
  variables: object,
): Promise<Stream> {
  const deadline = performance.now() + hangsAfterMs;
  for (;;) {
    const stream = client.subscribe(subscription, variables);
    const { errors } = await next(stream);
    if (errors === undefined) return stream;
    expect(errors).toMatchObject([{ extensions: { code: "TOO_MANY_SUBSCRIPTIONS" } }]);
    if (performance.now() > deadline) throw new Error("no slot was free");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
