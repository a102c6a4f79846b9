import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { FollowSink } from "../../src/core/log-following.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { bullmqVersions, openQueue, quantile, recordWaits, type TestQueue } from "../support/bullmq.ts";
import { addAll, jobs, useBullmqSource } from "../support/bullmq-source.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { recordingLogger } from "../support/logger.ts";
import { startRedis } from "../support/redis.ts";
import { until } from "../support/until.ts";

const bullmqSource = useBullmqSource();
const { follow, snapshot, agree } = bullmqSource;

/** Until everything has been counted; then the queue is quiet, and the counts must be these. */
async function counted(queue: TestQueue, count: number, waits = count): Promise<QueueSnapshot> {
  await until(async () => {
    const read = await snapshot(queue);
    expect(perWindow(read.throughput?.FIVE_MINUTES?.dequeuedPerSecond)).toBeGreaterThanOrEqual(count);
  });
  const read = await agree(queue, { state: "EMPTY", accuracy: "EXACT" });
  expect(perWindow(read.throughput?.FIVE_MINUTES?.dequeuedPerSecond)).toBe(count);
  expect(perWindow(read.throughput?.FIVE_MINUTES?.enqueuedPerSecond)).toBe(count);
  expect(read.waitTime?.FIVE_MINUTES?.count).toBe(waits);
  return read;
}

/** As a producer whose clock is ahead by so much. */
async function withClock(aheadMs: number, add: () => Promise<unknown>): Promise<void> {
  const { now } = Date;
  const spy = vi.spyOn(Date, "now").mockImplementation(() => now() + aheadMs);
  await add().finally(() => spy.mockRestore());
}

const perWindow = (rate = 0) => Math.round(rate * 300);

describe.each(bullmqVersions)("the source of BullMQ $version", ({ bullmq }) => {
  async function newQueue(
    options: { readonly name?: string; readonly prefix?: string } = {},
  ): Promise<TestQueue> {
    const queue = await openQueue(bullmq, bullmqSource.watched, options);
    onTestFinished(() => queue[Symbol.asyncDispose]());
    return queue;
  }

  test("reports what the workers know: totals, and wait times within 5 %", async () => {
    await follow();
    const queue = await newQueue();
    const record = recordWaits();
    await addAll(queue, 1500);
    await addAll(queue, 300, { delay: 600 });
    await addAll(queue, 300, { priority: 5 });
    await addAll(queue, 200, { lifo: true });
    await addAll(queue, 100, { attempts: 2 });
    await addAll(queue, 100, { attempts: 2, backoff: { type: "fixed", delay: 300 } });
    await agree(queue, { accuracy: "EXACT" });

    const failing = async (job: { attemptsMade: number; opts: { attempts?: number | undefined } }) => {
      if ((job.opts.attempts ?? 1) > 1 && job.attemptsMade === 0) throw new Error("once more");
    };
    queue.work(record.timed(failing), { concurrency: 20 });
    await until(async () => expect(record.waitsMs).toHaveLength(2700));
    const waits = (await counted(queue, 2700)).waitTime?.FIVE_MINUTES;
    for (const [reported, q] of [
      [waits?.p50, 0.5],
      [waits?.p99, 0.99],
    ] as const) {
      const truth = quantile(record.waitsMs, q) / 1000;
      // What workers and producers know by their own clocks comes to Redis a while later.
      const allowed = 0.05 * truth + onThisMachine(20) / 1_000;
      expect(Math.abs((reported ?? 0) - truth), `p${q * 100}: ${reported} for ${truth}`).toBeLessThan(
        allowed,
      );
    }
  });

  test("knows the head within 50 ms, whatever its kind", async () => {
    await follow();
    const queue = await newQueue();
    const first = await queue.queue.add("job", {}, { priority: 3 });
    const second = await queue.queue.add("job", {}, { lifo: true });
    const delayed = await queue.queue.add("job", {}, { delay: 2_000 });
    const near = (atMs: number) => expect.toSatisfy((ms: number) => Math.abs(ms - atMs) <= onThisMachine(50));
    await agree(queue, { accuracy: "EXACT", oldestSinceMs: near(first.timestamp), depth: 2, scheduled: 1 });
    await first.remove();
    await agree(queue, { accuracy: "EXACT", oldestSinceMs: near(second.timestamp), depth: 1 });
    await second.remove();
    // Due, though no worker has promoted it.
    await until(async () =>
      expect(await snapshot(queue)).toMatchObject({
        accuracy: "EXACT",
        depth: 1,
        scheduled: 0,
        oldestSinceMs: near(delayed.timestamp + 2_000),
      }),
    );
    await delayed.promote();
    await agree(queue, { depth: 1, oldestSinceMs: near(delayed.timestamp + 2_000) });
    const early = await queue.queue.add("job", {}, { delay: 60_000 });
    await agree(queue, { depth: 1, scheduled: 1 });
    await delayed.remove();
    await early.promote();
    await agree(queue, { depth: 1, scheduled: 0, oldestSinceMs: near(Date.now()) });
  });

  test("says PAUSED, and EMPTY again after draining, cleaning and resuming", async () => {
    await follow();
    const queue = await newQueue();
    await queue.queue.addBulk(jobs(50));
    await queue.queue.addBulk(jobs(10, { priority: 2 }));
    await queue.queue.addBulk(jobs(10, { delay: 60_000 }));
    await agree(queue, { state: "WAITING", depth: 60, scheduled: 10 });
    await queue.queue.pause();
    await agree(queue, { state: "PAUSED", depth: 60 });
    await queue.queue.addBulk(jobs(5));
    await agree(queue, { state: "PAUSED", depth: 65 });
    await queue.queue.clean(0, 20, "prioritized");
    await agree(queue, { state: "PAUSED", depth: 55 });
    await queue.queue.resume();
    await agree(queue, { state: "WAITING", depth: 55 });
    await queue.queue.drain();
    await agree(queue, { state: "EMPTY", depth: 0, scheduled: 10, accuracy: "EXACT" });
    await queue.queue.drain(true);
    await agree(queue, { scheduled: 0, accuracy: "EXACT" });
  });

  test("measures how far a producer's clock is off", async () => {
    await follow();
    const queue = await newQueue();
    expect((await snapshot(queue)).clockSkewMs).toBeNull();
    for (const aheadMs of [90_000, -3_000]) {
      const addedAtMs = Date.now();
      await withClock(aheadMs, () => queue.queue.add("job", {}));
      // The job was on its way for no longer than this.
      const wayMs = Date.now() - addedAtMs + 2;
      await until(async () => {
        const { clockSkewMs } = await snapshot(queue);
        expect(clockSkewMs).toBeLessThanOrEqual(aheadMs + 1);
        expect(clockSkewMs).toBeGreaterThanOrEqual(aheadMs - wayMs);
      });
    }
    // A time that the job was given says nothing of its producer's clock.
    const before = (await snapshot(queue)).clockSkewMs;
    await queue.queue.add("job", {}, { timestamp: Date.now() - 3_600_000 });
    expect(await agree(queue, { depth: 3 })).toMatchObject({ clockSkewMs: before });
    // It waits since it came by Redis's clock, whatever its producer's clock says.
    expect((await agree(queue, { depth: 3 })).latencyMs).toBeLessThan(30_000);
  });

  test("counts a stalled job as waiting again, from when it was put back", async () => {
    await follow();
    const queue = await newQueue();
    const quick = { lockDuration: 300, stalledInterval: 300, drainDelay: 1 };
    const taken = Promise.withResolvers<void>();
    const dead = queue.work(
      () => {
        taken.resolve();
        return new Promise(() => {});
      },
      { ...quick, skipLockRenewal: true, skipStalledCheck: true },
    );
    await queue.queue.add("job", {});
    await taken.promise;
    await agree(queue, { state: "EMPTY" });
    const puttingBack = queue.work(async () => {}, { ...quick, autorun: false });
    await queue.queue.pause();
    await puttingBack.startStalledCheckTimer();
    const back = await agree(queue, { depth: 1, accuracy: "EXACT" });
    expect(back.latencyMs).toBeLessThan(10_000);
    await queue.queue.resume();
    void puttingBack.run();
    await counted(queue, 2);
    await dead.close(true);
  });

  test("forgets an obliterated queue, and finds it again", async () => {
    await follow();
    const queue = await newQueue();
    await queue.queue.addBulk(jobs(30));
    await agree(queue, { depth: 30 });
    await queue.queue.obliterate({ force: true });
    await until(async () => expect(await snapshot(queue)).toMatchObject({ state: "MISSING" }));
    await queue.queue.add("job", {});
    await agree(queue, { depth: 1 });
  });

  test("another reader goes on where one was stopped in the middle of traffic", async () => {
    const first = await follow();
    const queue = await newQueue();
    await agree(queue, { accuracy: "EXACT" });
    const record = recordWaits();
    queue.work(
      record.timed(async () => {}),
      { concurrency: 5 },
    );
    // Fewer events than BullMQ keeps, of which there are about 10,000: what it trims away cannot be counted.
    const adding = (async () => {
      for (let n = 0; n < 23; n++) {
        await queue.queue.addBulk(jobs(50));
        await queue.queue.addBulk(jobs(50, { priority: 1 }));
      }
    })();
    await until(async () => expect(record.waitsMs.length).toBeGreaterThan(500));
    await first.halt();
    await until(async () => expect(record.waitsMs.length).toBeGreaterThan(1300));
    await follow();
    await adding;
    await until(async () => expect(record.waitsMs).toHaveLength(2300));
    await counted(queue, 2300);
  });

  test("two readers at once count nothing twice", async () => {
    await follow();
    await follow();
    const queue = await newQueue();
    const record = recordWaits();
    queue.work(
      record.timed(async () => {}),
      { concurrency: 5 },
    );
    for (let n = 0; n < 10; n++) await queue.queue.addBulk(jobs(100));
    await until(async () => expect(record.waitsMs).toHaveLength(1000));
    await counted(queue, 1000);
  });

  test("notices a stream that was trimmed away under a reader that was gone", async () => {
    const first = await follow();
    const queue = await newQueue();
    await queue.queue.addBulk(jobs(300));
    await agree(queue, { depth: 300 });
    await first.halt();
    const record = recordWaits();
    const worker = queue.work(record.timed(async () => {}));
    await until(async () => expect(record.waitsMs.length).toBeGreaterThan(100));
    await worker.close();
    await queue.queue.addBulk(jobs(70, { priority: 4 }));
    await queue.queue.trimEvents(0);
    await queue.queue.addBulk(jobs(3));
    await follow();
    await agree(queue, { state: "WAITING" });
    await queue.queue.trimEvents(0);
    await queue.queue.addBulk(jobs(2));
    await agree(queue, { state: "WAITING" });
  });

  test("reads a backlog of 20,000 that came before it from the jobs themselves", async () => {
    const queue = await newQueue();
    const oldest = Date.now() - 3_600_000;
    await queue.queue.addBulk(jobs(500, { timestamp: oldest }));
    for (let n = 0; n < 19; n++) await queue.queue.addBulk(jobs(1000));
    await queue.queue.addBulk(jobs(400, { priority: 7 }));
    await queue.queue.addBulk(jobs(100, { delay: 60_000 }));
    await queue.queue.trimEvents(0);
    const client = new Redis(bullmqSource.watched.url);
    onTestFinished(() => client.disconnect());
    await client.config("RESETSTAT");
    const monitor = await client.duplicate().monitor();
    onTestFinished(() => monitor.disconnect());
    const ranges: number[] = [];
    monitor.on("monitor", (_: string, [command = "", , from, to]: string[]) => {
      if (/^[lz]range$/i.test(command)) ranges.push(Number(to) - Number(from));
    });
    await follow();
    const read = await agree(queue, { accuracy: "ESTIMATED", depth: 19_900, scheduled: 100 });
    expect(ranges.length).toBeGreaterThan(19_900 / 500);
    expect(Math.max(...ranges)).toBeLessThan(500);
    expect(Math.min(...ranges)).toBeGreaterThanOrEqual(0);
    expect(read.oldestSinceMs).toBeLessThanOrEqual(oldest + onThisMachine(50));
    expect(read.oldestSinceMs).toBeGreaterThanOrEqual(oldest - onThisMachine(50));
    const stats = await client.info("commandstats");
    expect(stats).not.toContain("cmdstat_keys:");
    const calls = /cmdstat_evalsha:calls=(\d+),usec=(\d+)/.exec(stats) ?? [];
    // On the average: a machine that is short of processor time stops Redis in the middle of some.
    expect(Number(calls[2]) / Number(calls[1])).toBeLessThan(onThisMachine(5_000));
    const record = recordWaits();
    queue.work(
      record.timed(async () => {}),
      { concurrency: 50 },
    );
    await until(async () => expect(record.waitsMs.length).toBeGreaterThan(1000));
    await queue.queue.drain();
    await queue.queue.add("job", {});
    await queue.queue.pause();
    await agree(queue, { accuracy: "EXACT" });
  });

  test("keeps queues of the same name under two prefixes apart", async () => {
    const queue = await newQueue();
    const other = await newQueue({ name: queue.name, prefix: "other[1]" });
    await queue.queue.addBulk(jobs(3));
    await other.queue.addBulk(jobs(5));
    await follow();
    await follow({ url: `${bullmqSource.watched.url}?prefix=other%5B1%5D`, source: "billing" });
    await agree(queue, { depth: 3, source: "bullmq" });
    await until(async () =>
      expect(await snapshot(other, "billing")).toMatchObject({ depth: 5, source: "billing" }),
    );
  });

  test("follows a parent that waits for its children, and a job that is added again", async () => {
    await follow();
    const queue = await newQueue();
    const flow = new bullmq.FlowProducer({
      connection: { host: "127.0.0.1", port: bullmqSource.watched.port },
    });
    onTestFinished(() => flow.close());
    const name = "job";
    await flow.add({ name, queueName: queue.name, children: [{ name, queueName: queue.name, data: {} }] });
    await agree(queue, { depth: 1 });
    const record = recordWaits();
    queue.work(record.timed(async () => {}));
    await until(async () => expect(record.waitsMs).toHaveLength(2));
    await agree(queue, { state: "EMPTY" });
    for (let n = 0; n < 3; n++) {
      await queue.queue.add("job", {}, { jobId: "again", removeOnComplete: true });
      await until(async () => expect(record.waitsMs).toHaveLength(3 + n));
    }
    await counted(queue, 5);
  });
});

describe("the source of BullMQ", () => {
  test("is stale while its Redis is away, warns once, and is back by itself", async () => {
    await using own = await startRedis({ appendonly: true });
    const logger = recordingLogger();
    const queue = await openQueue(bullmqVersions[0]!.bullmq, own);
    await queue.queue.addBulk(jobs(5));
    await follow({ url: own.url, logger });
    await agree(queue, { depth: 5 });
    await queue[Symbol.asyncDispose]();
    await own.kill();
    await until(async () => expect(await snapshot(queue)).toMatchObject({ stale: true, depth: 5 }));
    await own.restart();
    await until(async () => expect(await snapshot(queue)).toMatchObject({ stale: false, depth: 5 }));
    expect(logger.lines.filter(({ level }) => level !== "debug").map(({ message }) => message)).toEqual([
      "source unavailable",
      "source available again",
    ]);
  });

  test("stops at once while its Redis is away", async () => {
    const own = await startRedis();
    const logger = recordingLogger();
    const source = await follow({ url: own.url, logger });
    await own.stop();
    await until(async () => expect(logger.lines).not.toEqual([]));
    const startedAt = performance.now();
    await source.halt();
    expect(performance.now() - startedAt).toBeLessThan(onThisMachine(500));
  });

  test("never logs a password, and stops at once while it cannot read", async () => {
    await using own = await startRedis({ args: ["--requirepass", "secret"] });
    const logger = recordingLogger();
    const source = await follow({ url: own.url.replace("//", "//:wrong-one@"), logger });
    await until(async () => expect(logger.lines.length).toBeGreaterThan(1));
    const startedAt = performance.now();
    await source.halt();
    expect(performance.now() - startedAt).toBeLessThan(onThisMachine(500));
    expect(JSON.stringify(logger.lines)).not.toContain("wrong-one");
    expect(logger.lines[0]?.fields).toMatchObject({ err: expect.stringMatching(/WRONGPASS|NOAUTH/) });
  });

  test("reports again what could not be stored", async () => {
    const queue = await openQueue(bullmqVersions[1]!.bullmq, bullmqSource.watched);
    onTestFinished(() => queue[Symbol.asyncDispose]());
    let failing = true;
    const sink: FollowSink = {
      ...bullmqSource.tracker,
      async follow(followed) {
        const result = await bullmqSource.tracker.follow(followed);
        // Applied, and no answer comes.
        if (failing && Math.random() < 0.5) throw new Error("no answer");
        return result;
      },
    };
    await follow({ sink });
    const record = recordWaits();
    queue.work(record.timed(async () => {}));
    for (let n = 0; n < 5; n++) await queue.queue.addBulk(jobs(40));
    await until(async () => expect(record.waitsMs).toHaveLength(200));
    failing = false;
    await counted(queue, 200);
  });
});
