import { encode } from "@msgpack/msgpack";
import { Redis } from "ioredis";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { createHealthReader } from "../../src/health/health-reader.ts";
import { encodeRecord, type StepRecord } from "../../src/history/step-record.ts";
import { createStepStore } from "../../src/history/step-store.ts";
import { createClient } from "../../src/redis/connect.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { countCommands } from "../support/commands.ts";
import { hourMs, keptMs, openHistory } from "../support/history.ts";
import { snapshot } from "../support/live.ts";
import { silentLogger } from "../support/logger.ts";
import { startRedis } from "../support/redis.ts";
import { startApp } from "../support/server.ts";
import { openTracker } from "../support/tracker.ts";

/** A whole number of hours. */
const start = 1_790_000_000_000 - (1_790_000_000_000 % hourMs);
const open = () => openHistory(inject("redisUrl"), start);
const stepMs = 10_000;

const plain: StepRecord = {
  ...{ samples: 10, waitingSamples: 3, pausedSamples: 1, incompleteSamples: 0 },
  ...{ maxLatencyMs: 9_000, sumLatencyMs: 45_000, lastLatencyMs: 8_000, maxDepth: 7, lastDepth: 2 },
  counts: { enqueued: 3, dequeued: 2, waits: 2, sumMs: 11, maxMs: 10, buckets: new Map([[4, 2]]) },
};
const bucketsOfMany = new Map(Array.from({ length: 200 }, (_, i) => [i, 1_000_000 + i]));

describe("what health needs of steps", () => {
  test.each<{ what: string; record: StepRecord; why: string }>([
    { what: "a step of a few jobs", record: plain, why: "its list is short" },
    { what: "a step without counts", record: { ...plain, counts: null }, why: "null is not 0" },
    {
      what: "a step of many different waits",
      record: { ...plain, counts: { ...plain.counts!, buckets: bucketsOfMany } },
      why: "they are cut off",
    },
    {
      what: "a step of the greatest numbers",
      record: {
        ...plain,
        ...{ maxLatencyMs: 2 ** 50, sumLatencyMs: 2 ** 52, lastLatencyMs: 2 ** 50 },
        ...{ maxDepth: 2 ** 40, lastDepth: 2 ** 40 },
        counts: { ...plain.counts!, enqueued: 2 ** 40, dequeued: 2 ** 40, buckets: bucketsOfMany },
      },
      why: "all that is needed is longer, and is not cut off",
    },
    {
      what: "an incomplete step of many different waits",
      record: { ...plain, incompleteSamples: 4, counts: { ...plain.counts!, buckets: bucketsOfMany } },
      why: "how many samples were incomplete stands behind the waits",
    },
    {
      what: "a step of depths that were lower bounds, and of many different waits",
      record: {
        ...{ ...plain, incompleteSamples: 4, lowerBoundSamples: 300 },
        counts: { ...plain.counts!, buckets: bucketsOfMany },
      },
      why: "how many these were stands behind those that were incomplete",
    },
  ])("is read of $what: $why", async ({ record }) => {
    await using history = await open();
    await history.store.append("q", "TEN_SECONDS", { atMs: start, record });
    await history.store.append("q", "TEN_SECONDS", { atMs: start + stepMs, record: plain });
    const { maxLatencyMs, sumLatencyMs, lowerBoundSamples, counts, ...seen } = record;
    const { enqueued = 0, dequeued = 0 } = counts ?? {};
    const expected = { atMs: start, ...seen, counts: counts === null ? null : { enqueued, dequeued } };
    const [first, second, ...others] = await history.store.recent("q", start);
    expect(first).toEqual(expected);
    expect(second?.atMs).toBe(start + stepMs);
    expect(others).toEqual([]);
  });

  test("is read from an instant on, in the order of times", async () => {
    await using history = await open();
    for (let i = 0; i < 5; i++)
      await history.store.append("q", "TEN_SECONDS", { atMs: start + i * stepMs, record: plain });
    const times = async (fromMs: number) =>
      (await history.store.recent("q", fromMs)).map(({ atMs }) => (atMs - start) / stepMs);
    expect(await times(start + 3 * stepMs)).toEqual([3, 4]);
    expect(await times(start + 3 * stepMs + 1)).toEqual([4]);
    expect(await times(-1)).toEqual([0, 1, 2, 3, 4]);
    expect(await times(start + 5 * stepMs)).toEqual([]);
  });

  test("is read of the newest steps only, each queue as it is asked for", async () => {
    await using history = await open();
    for (let i = 0; i < 5; i++)
      await history.store.append("q", "TEN_SECONDS", { atMs: start + i * stepMs, record: plain });
    const times = async (fromMs: number, max?: number) =>
      (await history.store.recent("q", fromMs, max)).map(({ atMs }) => (atMs - start) / stepMs);
    const asked = [times(0, 2), times(0), times(0, 9), times(start + 4 * stepMs, 2), times(0, 1)];
    expect(await Promise.all(asked)).toEqual([[3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [4], [4]]);
  });

  test("is read of each of many queues, and of one that has none, or whose key is no history, there is none", async () => {
    await using history = await open();
    const { redis, keys } = history.opened;
    const queues = Array.from({ length: 60 }, (_, i) => `q${i}`);
    for (const [i, queue] of queues.entries())
      await history.store.append(queue, "TEN_SECONDS", { atMs: start + i * stepMs, record: plain });
    await redis.set(keys.history("text", "TEN_SECONDS"), "text");
    const asked = [...queues.slice(0, 30), "text", "missing", ...queues.slice(30)];
    const read = await Promise.all(asked.map((queue) => history.store.recent(queue, start)));
    const expected = asked.map((queue) =>
      queue.startsWith("q") ? [start + Number(queue.slice(1)) * stepMs] : [],
    );
    expect(read.map((steps) => steps.map(({ atMs }) => atMs))).toEqual(expected);
  });

  test("is not read of what is no step, which hides no other", async () => {
    await using history = await open();
    const { redis, keys } = history.opened;
    const long = Buffer.from(encodeRecord({ ...plain, incompleteSamples: 1 }));
    const nonsense: readonly (string | Uint8Array)[] = [
      ...["", "garbage", encode("text"), encode([1, 2, 3]), encode(["a", 2, 3, 4, 5, 6, 7, 8])],
      ...[encode([[1, 2], 3]), encode([1, 2, 3, 4, 5, 6, 7, Number.NaN]), encode([1, 2, 3, 4, 5, 6, 7, -8])],
      ...[long.subarray(0, -1), Buffer.from([0xdc]), Buffer.from([0x98, 1, 2, 3])],
      Buffer.concat([Buffer.from([0x92]), Buffer.alloc(70_000, 0x92)]),
    ];
    for (const [i, bytes] of nonsense.entries()) {
      await redis.xadd(keys.history("q", "TEN_SECONDS"), start + i, "step", Buffer.from(bytes));
    }
    await history.store.append("q", "TEN_SECONDS", { atMs: start + stepMs, record: plain });
    expect((await history.store.recent("q", start)).map(({ atMs }) => atMs)).toEqual([start + stepMs]);
  });
});

describe("the health of all queues", () => {
  test("takes a call of Redis for 25 queues in which a job waits, and none for the others", async () => {
    await using redis = await startRedis();
    // With nothing beside it that calls Redis.
    const client = createClient({ urls: [redis.url], name: "test", logger: silentLogger });
    onTestFinished(() => client.disconnect());
    await client.connect();
    const store = createStepStore({ redis: client, keys: createKeys("ql"), keptMs });
    // In its last sample, or the one before, no job waited.
    for (let i = 1; i < 1_000; i += 2)
      await store.append(`q${i}`, "TEN_SECONDS", { atMs: start, record: plain });
    const nowMs = start + 2 * stepMs;
    const waits = { state: "WAITING", depth: 1, oldestSinceMs: start, latencyMs: 2 * stepMs } as const;
    const snapshots = Array.from({ length: 1_000 }, (_, i) =>
      snapshot(`q${i}`, { measuredAtMs: nowMs, ...(i % 2 === 1 ? waits : {}) }),
    );
    const health = createHealthReader({
      history: {
        latest: (queues, sinceMs, max) =>
          Promise.all(queues.map((queue) => store.recent(queue, sinceMs, max))),
      },
      objectiveMsOf: () => null,
      clock: { now: () => 0 },
    });
    const control = new Redis(redis.url);
    onTestFinished(() => control.disconnect());
    const { reply, commands } = await countCommands(control, () =>
      health.healthOfAll({ snapshots, agedAt: (index) => snapshots[index]! }),
    );
    expect(reply).toEqual(snapshots.map(() => "OK"));
    // The first call has the text of the script.
    expect(commands).toEqual({ eval: 1, evalsha: 500 / 25 - 1, xrevrange: 500 });
  });

  test("is read when a server with a thousand queues starts, before a client asks", async () => {
    await using redis = await startRedis();
    await using opened = await openTracker(redis.url);
    const queues = Array.from({ length: 1_000 }, (_, i) => `q${i}`);
    for (let from = 0; from < queues.length; from += 250) {
      const events = queues.slice(from, from + 250).map((queue) => ({
        ...{ type: "ENQUEUED" as const, queue, jobId: "1", attempt: 0, atMs: null, availableAtMs: null },
      }));
      await opened.tracker.record(events, null);
    }
    const control = new Redis(redis.url);
    onTestFinished(() => control.disconnect());
    await control.config("RESETSTAT");
    // Nothing else reads histories then.
    const settings = { REDIS_URL: redis.url, KEY_PREFIX: opened.prefix, HISTORY_MAX_QUEUES: "0" };
    await using _ = await startApp(settings);
    await expect
      .poll(() => control.info("commandstats"), { timeout: onThisMachine(10_000), interval: 20 })
      .toMatch(/^cmdstat_xrevrange:calls=[1-9]/m);
  });
});
