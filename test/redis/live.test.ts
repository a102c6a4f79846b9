import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { describe, expect, it } from "vitest";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { createChangeFeed } from "../../src/live/change-feed.ts";
import { createLive, type Live } from "../../src/live/live.ts";
import type { Watch } from "../../src/live/watch.ts";
import { createRedis } from "../../src/redis/connect.ts";
import type { Tracker } from "../../src/tracker/tracker.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { silentLogger } from "../support/logger.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { allParts, openTracker } from "../support/tracker.ts";
import { hangsAfterMs } from "../support/until.ts";

const never = 0;

describe("a watch", () => {
  it("has every queue in its first push, in the order asked, and then only what changed", async () => {
    await using opened = await openLive();
    const watch = await opened.live.watch(["b", "missing", "a"], { minIntervalMs: 50, refreshMs: never });
    expect((await next(watch)).map(({ queue, state }) => [queue, state])).toEqual([
      ["b", "MISSING"],
      ["missing", "MISSING"],
      ["a", "MISSING"],
    ]);
    await opened.record("a", ["job"]);
    expect(await next(watch)).toMatchObject([{ queue: "a", state: "WAITING", depth: 1 }]);
  });

  it("has a lost job that was none after all, though nothing else changes", async () => {
    await using opened = await openLive();
    await opened.record("q", ["ghost"], { atMs: Date.now() - 8 * 86_400_000 });
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    expect(await next(watch)).toMatchObject([{ state: "EMPTY", lost: 1 }]);
    await opened.record("q", ["ghost"], { type: "DEQUEUED" });
    expect(await next(watch)).toMatchObject([{ state: "EMPTY", lost: 0 }]);
  });

  it("answers a next() that waits with done when it is returned, and every later one", async () => {
    await using opened = await openLive();
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    await next(watch);
    const waiting = [watch.next(), watch.next()];
    expect(await watch.return()).toEqual({ done: true, value: undefined });
    expect(await Promise.all(waiting)).toEqual([done, done]);
    expect(await watch.next()).toEqual(done);
    expect(await watch.return()).toEqual(done);
  });

  it("gives each of several next() at once a push of its own, in order", async () => {
    await using opened = await openLive();
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    const pushes = [next(watch), next(watch), next(watch)];
    expect(await pushes[0]).toMatchObject([{ depth: null }]);
    await opened.record("q", ["a"]);
    expect(await pushes[1]).toMatchObject([{ depth: 1 }]);
    await opened.record("q", ["b"]);
    expect(await pushes[2]).toMatchObject([{ depth: 2 }]);
  });

  it("ends when live stops", async () => {
    await using opened = await openLive();
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    await next(watch);
    const waiting = watch.next();
    await opened.live.stop();
    expect(await waiting).toEqual(done);
  });

  it("keeps its own pace beside a faster one of the same queue, and does not slow that one down", async () => {
    await using opened = await openLive();
    const fast = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    const slow = await opened.live.watch(["q"], { minIntervalMs: 500, refreshMs: never });
    const slowPushes: QueueSnapshot[] = await next(slow);
    const slowSinceMs = performance.now();
    await next(fast);
    const collecting = (async () => {
      for await (const push of slow) {
        slowPushes.push(...push);
        if (push[0]?.depth === 20) return;
      }
    })();
    for (let i = 1; i <= 20; i++) {
      await opened.record("q", [String(i)]);
      // The fast one sees every single change: the next is made when it has seen this one.
      expect(await next(fast)).toMatchObject([{ depth: i }]);
    }
    await collecting;
    expect(slowPushes.length).toBeLessThanOrEqual((performance.now() - slowSinceMs) / 500 + 2);
  });
});

describe("what a watch costs Redis", () => {
  it("is the same for a thousand identical watches as for one, from the first read on", async () => {
    const changes = 5;
    // They are opened in one tick, so their first reads are one; opened one by one, each has a first read of its own.
    const costOf = async (count: number) => {
      await using opened = await openLive();
      await opened.record("q", ["known"]);
      await opened.resetCommandCounts();
      const watches = await Promise.all(
        Array.from({ length: count }, () =>
          opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never }),
        ),
      );
      await Promise.all(watches.map(next));
      for (let i = 0; i < changes; i++) {
        await opened.record("q", [String(i)]);
        for (const [push] of await Promise.all(watches.map(next))) expect(push?.depth).toBe(i + 2);
      }
      return await opened.commandCounts();
    };
    const ofOne = await costOf(1);
    // One script call to record each change and one to read it, and the first read.
    expect(ofOne.evalsha).toBe(2 * changes + 1);
    expect(await costOf(1000)).toEqual(ofOne);
  });

  it("is at most one read an interval, however many notices of a change come", async () => {
    await using opened = await openLive();
    const watch = await opened.live.watch(["q"], { minIntervalMs: 200, refreshMs: never });
    await next(watch);
    opened.reads.length = 0;
    const startedAt = performance.now();
    for (let i = 0; i < 100; i++) {
      await Promise.all(
        Array.from({ length: 100 }, () => opened.redis.publish(opened.tracked.keys.changes, "q")),
      );
    }
    await opened.record("q", ["job"]);
    expect(await until(watch, ({ depth }) => depth === 1)).toMatchObject({ queue: "q" });
    const elapsedMs = performance.now() - startedAt;
    expect(opened.reads.length).toBeGreaterThanOrEqual(1);
    expect(opened.reads.length).toBeLessThanOrEqual(elapsedMs / 200 + 2);
  });

  it("follows the pace of those that are left when the fastest has gone", async () => {
    await using opened = await openLive();
    const fast = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    const slow = await opened.live.watch(["q"], { minIntervalMs: 1_000, refreshMs: never });
    await next(fast);
    await next(slow);
    await fast.return();
    opened.reads.length = 0;
    const startedAt = performance.now();
    let recorded = 0;
    const pushed = until(slow, ({ depth }) => depth! > 0);
    const again = pushed.then(() => until(slow, ({ depth }) => depth! > 0));
    let isOver = false;
    again.then(
      () => (isOver = true),
      () => (isOver = true),
    );
    while (!isOver) await opened.record("q", [String(recorded++)]);
    await again;
    expect(recorded).toBeGreaterThan(opened.reads.length);
    expect(opened.reads.length).toBeLessThanOrEqual((performance.now() - startedAt) / 1_000 + 2);
  });

  it("is nothing any more when it has ended", async () => {
    await using opened = await openLive();
    const request = { minIntervalMs: 50, refreshMs: 250 };
    const watches = await Promise.all([
      opened.live.watch(["q", "r"], request),
      opened.live.watch(["q"], { ...request, minIntervalMs: 100 }),
    ]);
    await opened.record("q", ["scheduled"], { availableAtMs: Date.now() + 500 });
    await until(watches[0]!, ({ scheduled, depth }) => scheduled === 1 || depth === 1);
    for (const watch of watches) await watch.return();
    opened.reads.length = 0;
    for (let i = 0; i < 5; i++) await opened.record("q", [String(i)]);
    // Later than all of it, and also later than the scheduled job is due.
    const marker = await opened.live.watch(["marker"], request);
    await next(marker);
    await opened.record("marker", ["m"], { availableAtMs: Date.now() + 600 });
    await until(marker, ({ depth }) => depth === 1);
    await marker.return();
    expect(new Set(opened.reads)).toEqual(new Set(["marker"]));
  });
});

describe("the change feed", () => {
  it("makes up for what happened while its connection was cut", async () => {
    await using opened = await openLive({ graceMs: 30_000 });
    const watch = await opened.live.watch(["q", "other"], { minIntervalMs: 50, refreshMs: never });
    await next(watch);
    for (let depth = 1; depth <= 8; depth++) {
      await opened.killFeed();
      // Redis has cut the connection before it receives the job: no change is published.
      await opened.record("q", [String(depth)]);
      expect(await next(watch)).toMatchObject([{ queue: "q", depth, stale: false }]);
    }
  });

  it("makes up for a scheduled job that became due while its connection was cut", async () => {
    await using opened = await openLive({ graceMs: 30_000 });
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    await opened.record("q", ["job"], { availableAtMs: Date.now() + 150 });
    await opened.killFeed();
    expect(await until(watch, ({ depth }) => depth === 1)).toMatchObject({ state: "WAITING", scheduled: 0 });
  });

  it("takes no notice of messages that are no name of a watched queue, whatever they are", async () => {
    await using opened = await openLive();
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    await next(watch);
    await opened.resetCommandCounts();
    const messages: (string | Buffer)[] = [
      "",
      " q",
      "q ",
      "Q",
      "q\0",
      "*",
      "__proto__",
      "constructor",
      "toString",
      "null",
      '{"queue":"q"}',
      "x".repeat(1_000_000),
      Buffer.from([0xff, 0xfe, 0x00, 0x80]),
      ...Array.from({ length: 200 }, (_, i) => randomBytes(i)),
      ...Array.from({ length: 200 }, (_, i) => `not-watched-${i}`),
    ];
    for (const message of messages) await opened.redis.publish(opened.tracked.keys.changes, message);
    await opened.record("q", ["job"]);
    expect(await next(watch)).toMatchObject([{ queue: "q", depth: 1, stale: false }]);
    const { evalsha } = await opened.commandCounts();
    // The queue was listed before and after the job was recorded, and then read.
    expect(evalsha).toBe(4);
  });
});

describe("while Redis is away", () => {
  it("pushes the last reading as stale, once and frozen, and a fresh state within 5 seconds of its return", async () => {
    await using opened = await openLive({ appendonly: true, graceMs: 500 });
    const request = { minIntervalMs: 50, refreshMs: 250 };
    const watch = await opened.live.watch(["waits", "empty"], request);
    await opened.record("waits", ["job"]);
    const waiting = await until(watch, ({ depth }) => depth === 1);
    const seldom = await opened.live.watch(["waits"], { minIntervalMs: 1_500, refreshMs: 1_500 });
    await next(seldom);

    const beforeKillMs = Date.now();
    await opened.server.kill();
    const afterKillMs = Date.now();
    const stale = await nextThat(watch, (push) => push.some((snapshot) => snapshot.stale));
    expect(stale).toMatchObject([
      { queue: "waits", state: "WAITING", depth: 1, oldestSinceMs: waiting.oldestSinceMs, stale: true },
      { queue: "empty", state: "MISSING", stale: true },
    ]);
    for (const { measuredAtMs } of stale) {
      expect(measuredAtMs).toBeGreaterThanOrEqual(beforeKillMs - 5);
      expect(measuredAtMs).toBeLessThanOrEqual(afterKillMs + onThisMachine(200));
    }
    expect(stale[0]?.latencyMs).toBe(stale[0]!.measuredAtMs - waiting.oldestSinceMs!);

    const pending = next(watch);
    // A watch whose pushes are far apart gets one as soon as it is due: a second after the other.
    expect(await nextThat(seldom, ([snapshot]) => snapshot?.stale === true)).toEqual([stale[0]]);
    await expect(opened.live.watch(["waits"], request)).rejects.toMatchObject({
      code: "SERVICE_UNAVAILABLE",
    });
    await opened.server.restart();
    const restartedAt = performance.now();
    // The next push after the stale one: nothing was pushed in between.
    const fresh = new Map((await pending).map((snapshot) => [snapshot.queue, snapshot]));
    while (fresh.size < 2) for (const snapshot of await next(watch)) fresh.set(snapshot.queue, snapshot);
    expect(performance.now() - restartedAt).toBeLessThan(onThisMachine(5_000));
    const waitingAgain = fresh.get("waits")!;
    expect(waitingAgain).toMatchObject({
      ...{ state: "WAITING", depth: 1, oldestSinceMs: waiting.oldestSinceMs, stale: false },
      latencyMs: waitingAgain.measuredAtMs - waiting.oldestSinceMs!,
    });
    expect(waitingAgain.latencyMs).toBeGreaterThan(stale[0]!.latencyMs! + 400);
    expect(fresh.get("empty")).toMatchObject({ state: "MISSING", stale: false });

    await eventually(() => opened.record("empty", ["job"]));
    expect(await until(watch, ({ queue, depth }) => queue === "empty" && depth === 1)).toMatchObject({
      stale: false,
    });
  });

  it("notices a Redis that is there but answers nothing any more, and that it answers again", async () => {
    await using opened = await openLive({ graceMs: 100, pingEveryMs: 1_000 });
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    await opened.record("q", ["job"]);
    await until(watch, ({ depth }) => depth === 1);
    process.kill(opened.server.pid, "SIGSTOP");
    try {
      expect(await next(watch)).toMatchObject([{ depth: 1, stale: true }]);
    } finally {
      process.kill(opened.server.pid, "SIGCONT");
    }
    const continuedAt = performance.now();
    expect(await next(watch)).toMatchObject([{ depth: 1, stale: false }]);
    expect(performance.now() - continuedAt).toBeLessThan(onThisMachine(5_000));
  });

  it("takes a replica that has lost its master for one that says nothing of changes", async () => {
    await using opened = await openLive({ graceMs: 100, pingEveryMs: 100 });
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    await opened.record("q", ["job"]);
    await until(watch, ({ depth }) => depth === 1);
    await opened.redis.replicaof("127.0.0.1", "1");
    expect(await next(watch)).toMatchObject([{ depth: 1, stale: true }]);
    await opened.redis.replicaof("NO", "ONE");
    expect(await next(watch)).toMatchObject([{ depth: 1, stale: false }]);
  });

  it("does not say of a head that it has grown older since, while it is not called stale yet", async () => {
    await using opened = await openLive({ graceMs: 1_500 });
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: 250 });
    await opened.record("q", ["job"]);
    await until(watch, ({ depth }) => depth === 1);
    await opened.server.kill();
    const killedAtMs = Date.now();
    const pushed: QueueSnapshot[] = [];
    do pushed.push(...(await next(watch)));
    while (pushed.at(-1)?.stale !== true);
    const latest = Math.max(...pushed.map(({ measuredAtMs }) => measuredAtMs));
    // Of the time until the connection was seen to be closed.
    expect(latest - killedAtMs).toBeLessThan(onThisMachine(375));
    expect(pushed.at(-1)?.measuredAtMs).toBe(latest);
  });

  it("says nothing of an outage that is shorter than the grace, and what was lost in it is pushed", async () => {
    await using opened = await openLive({ graceMs: 30_000 });
    const watch = await opened.live.watch(["q"], { minIntervalMs: 50, refreshMs: never });
    await opened.record("q", ["job"]);
    await until(watch, ({ depth }) => depth === 1);
    await opened.server.kill();
    // Without an append-only file: it comes back with nothing.
    await opened.server.restart();
    expect(await next(watch)).toMatchObject([{ queue: "q", state: "MISSING", stale: false }]);
  });
});

describe("a queue that cannot be read, though Redis answers", () => {
  it("is UNKNOWN, spoils no other queue, and recovers", async () => {
    await using opened = await openLive();
    const request = { minIntervalMs: 50, refreshMs: never };
    const broken = await opened.live.watch(["broken"], request);
    const sound = await opened.live.watch(["sound"], request);
    await next(sound);
    await opened.record("broken", ["job"]);
    await until(broken, ({ depth }) => depth === 1);

    // Another program has put a key of another type in the place of ours.
    const { changes, state } = opened.tracked.keys;
    await opened.redis.set(state("broken"), "not a hash");
    await opened.redis.publish(changes, "broken");
    expect(await next(broken)).toMatchObject([
      { queue: "broken", accuracy: "UNKNOWN", latencyMs: null, depth: null, stale: false },
    ]);
    await opened.record("sound", ["job"]);
    expect(await next(sound)).toMatchObject([{ queue: "sound", depth: 1, stale: false }]);

    await opened.redis.del(state("broken"));
    await opened.redis.publish(changes, "broken");
    // The job is still there, but what else was known of the queue is lost.
    expect(await next(broken)).toMatchObject([
      { queue: "broken", depth: 1, accuracy: "INCOMPLETE", stale: false },
    ]);
  });
});

const done = { done: true, value: undefined } as const;

interface OpenLive extends AsyncDisposable {
  readonly live: Live;
  /** Names of the queues that live has read, one for each read; a test may empty it. */
  readonly reads: string[];
  readonly tracked: Awaited<ReturnType<typeof openTracker>>;
  readonly server: TestRedis;
  /** A client that nothing under test uses. */
  readonly redis: Redis;
  record(queue: string, jobIds: readonly string[], rest?: Partial<QueueEvent>): ReturnType<Tracker["record"]>;
  /** Resolves when Redis has cut the connection of the feed. */
  killFeed(): Promise<void>;
  resetCommandCounts(): Promise<void>;
  /** Calls of each command since then, also those that scripts made. */
  commandCounts(): Promise<Readonly<Record<string, number>>>;
}

/** Live on a Redis of its own, wired as the app wires it, with another process's tracker for the changes. */
async function openLive(
  options: { readonly graceMs?: number; readonly pingEveryMs?: number; readonly appendonly?: boolean } = {},
): Promise<OpenLive> {
  const server = await startRedis({ appendonly: options.appendonly ?? false });
  const tracked = await openTracker(server.url);
  const writer = await openTracker(server.url, { prefix: tracked.keys.index.replace(/:queues$/, "") });
  const feedRedis = createRedis({ url: server.url, name: "changes", logger: silentLogger });
  const redis = new Redis(server.url, { retryStrategy: () => 50 });
  redis.on("error", () => {});
  await feedRedis.connect();
  const feed = createChangeFeed({
    redis: feedRedis,
    channel: tracked.keys.changes,
    ...(options.pingEveryMs === undefined ? {} : { pingEveryMs: options.pingEveryMs }),
  });
  const reads: string[] = [];
  const live = createLive({
    feed,
    read(queues, parts) {
      reads.push(...queues);
      return tracked.tracker.read(queues, parts);
    },
    logger: silentLogger,
    ...(options.graceMs === undefined ? {} : { graceMs: options.graceMs }),
  });
  await live.start();
  // Redis learns a script when it is first called, by other commands.
  await writer.tracker.record([event("ENQUEUED", "warm-up", "job", {})], null);
  await tracked.tracker.read(["warm-up"], allParts);
  return {
    live,
    reads,
    tracked,
    server,
    redis,
    record: (queue, jobIds, rest = {}) =>
      writer.tracker.record(
        jobIds.map((jobId) => event("ENQUEUED", queue, jobId, rest)),
        null,
      ),
    async killFeed() {
      const clients = String(await redis.client("LIST"));
      const [, id] = /^id=(\d+) .*\bname=queue-latency-changes /m.exec(clients) ?? [];
      // Cut already, and not connected again: that is as good.
      if (id !== undefined) await redis.client("KILL", "ID", id);
    },
    async resetCommandCounts() {
      await redis.config("RESETSTAT");
    },
    async commandCounts() {
      const stats = await redis.info("commandstats");
      const calls = [...stats.matchAll(/^cmdstat_(\S+?):calls=(\d+)/gm)];
      const counts = calls.map(([, name, count]) => [name, Number(count)] as const);
      // What measuring itself does, and what depends on time alone.
      const others = ["info", "ping", "config|resetstat", "publish"];
      return Object.fromEntries(counts.filter(([name]) => !others.includes(name ?? "")));
    },
    async [Symbol.asyncDispose]() {
      await live.stop();
      feedRedis.disconnect();
      redis.disconnect();
      await writer[Symbol.asyncDispose]();
      await tracked[Symbol.asyncDispose]();
      await server.stop();
    },
  };
}

function event(type: QueueEventType, queue: string, jobId: string, rest: Partial<QueueEvent>): QueueEvent {
  return { type, queue, jobId, attempt: 0, atMs: null, availableAtMs: null, ...rest };
}

async function next(watch: Watch): Promise<QueueSnapshot[]> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing was pushed for ${hangsAfterMs} ms`)), hangsAfterMs);
  });
  const result = await Promise.race([watch.next(), timeout]).finally(() => clearTimeout(timer));
  if (result.done) throw new Error("expected a push, but the watch has ended");
  return result.value;
}

async function nextThat(
  watch: Watch,
  isIt: (push: readonly QueueSnapshot[]) => boolean,
): Promise<QueueSnapshot[]> {
  for (let pushes = 0; pushes < 500; pushes++) {
    const push = await next(watch);
    if (isIt(push)) return push;
  }
  throw new Error("none of 500 pushes was it");
}

async function until(watch: Watch, isIt: (snapshot: QueueSnapshot) => boolean): Promise<QueueSnapshot> {
  return (await nextThat(watch, (push) => push.some(isIt))).find(isIt)!;
}

/** Until it succeeds: connections come back at their own pace. */
async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + hangsAfterMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

describe("feeds that share a connection", () => {
  it("receive their own channel only, and one continues when the other stops", async () => {
    await using redis = await startRedis();
    await using connection = await open(redis.url);
    await using publisher = await open(redis.url);
    const feeds = ["a", "b"].map((channel) => {
      const feed = createChangeFeed({ redis: connection.redis, channel });
      const received: string[] = [];
      feed.listen({ onChange: (text) => received.push(text), onConnected() {}, onDisconnected() {} });
      return { ...feed, received };
    });
    const [a, b] = feeds as [(typeof feeds)[number], (typeof feeds)[number]];
    await Promise.all([a.start(), b.start()]);
    await publisher.redis.publish("a", "1");
    await publisher.redis.publish("b", "2");
    await expect.poll(() => [a.received, b.received]).toEqual([["1"], ["2"]]);
    await a.stop();
    await publisher.redis.publish("b", "3");
    await expect.poll(() => b.received).toEqual(["2", "3"]);
    await b.stop();
  });

  async function open(url: string) {
    const redis = createRedis({ url, name: "shared", logger: silentLogger });
    await redis.connect();
    return { redis, [Symbol.asyncDispose]: async () => redis.disconnect() };
  }
});
