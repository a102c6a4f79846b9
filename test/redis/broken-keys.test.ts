import { describe, expect, inject, it, onTestFinished } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import { createStepStore } from "../../src/history/step-store.ts";
import type { RedisClient } from "../../src/redis/connect.ts";
import type { Keys } from "../../src/redis/keys.ts";
import { keptMs } from "../support/history.ts";
import { recordingLogger } from "../support/logger.ts";
import { ask, startApp } from "../support/server.ts";
import { allParts, openTracker } from "../support/tracker.ts";

const parts = { ...allParts, totals: true };

function event(queue: string, jobId = "a"): QueueEvent {
  return { type: "ENQUEUED", queue, jobId, attempt: 0, atMs: null, availableAtMs: null };
}

interface Row {
  readonly what: string;
  readonly queue: "recorded" | "faktory/observed";
  readonly breakIt: (redis: RedisClient, keys: Keys) => Promise<unknown>;
  /** What is still known. */
  readonly state: string;
  readonly source: string | null;
}

const q = "recorded";
const o = "faktory/observed";
const rows: readonly Row[] = [
  {
    what: "its state is a string",
    ...{ queue: q, breakIt: (redis, keys) => redis.set(keys.state(q), "garbage") },
    ...{ state: "WAITING", source: null },
  },
  {
    what: "its jobs are a list",
    ...{
      queue: q,
      breakIt: (redis, keys) => redis.multi().del(keys.waiting(q)).lpush(keys.waiting(q), "a").exec(),
    },
    ...{ state: "WAITING", source: "events" },
  },
  {
    what: "its counts are a string",
    ...{ queue: q, breakIt: (redis, keys) => redis.set(keys.recent(q), "garbage") },
    ...{ state: "WAITING", source: "events" },
  },
  {
    what: "its counts are garbage",
    queue: q,
    async breakIt(redis, keys) {
      const fields = await redis.hkeys(keys.recent(q));
      for (const slot of Array.from({ length: 21 }, (_, i) => `w60:${i}`).concat(fields)) {
        await redis.hset(keys.recent(q), slot, "\xff garbage");
      }
    },
    ...{ state: "WAITING", source: "events" },
  },
  {
    what: "one of its totals is garbage",
    ...{ queue: q, breakIt: (redis, keys) => redis.hset(keys.state(q), "enqueued", "garbage") },
    ...{ state: "WAITING", source: "events" },
  },
  {
    what: "what was observed lost its end",
    ...{ queue: o, breakIt: (redis, keys) => redis.hdel(keys.state(o), "freshUntil", "measuredAt") },
    ...{ state: "WAITING", source: "faktory" },
  },
  {
    what: "its observed head is garbage",
    ...{ queue: o, breakIt: (redis, keys) => redis.hset(keys.state(o), "since", "garbage") },
    ...{ state: "WAITING", source: "faktory" },
  },
  {
    what: "its accuracy is no word of ours",
    ...{
      queue: o,
      breakIt: (redis, keys) => redis.hset(keys.state(o), "accuracy", "CERTAIN", "paused", "1"),
    },
    ...{ state: "PAUSED", source: "faktory" },
  },
];

async function open() {
  const logger = recordingLogger();
  const opened = await openTracker(inject("redisUrl"), { logger });
  const { tracker } = opened;
  await tracker.record([event("sound"), event(q)], null);
  await tracker.observe({
    source: "faktory",
    queues: [
      {
        ...{ queue: "observed", headAgeMs: 5, depth: 1, uncertaintyMs: 0, scheduled: 0 },
        ...{ paused: false, accuracy: "EXACT", readAtMs: performance.now() },
      },
    ],
    freshForMs: 60_000,
  });
  return { ...opened, logger };
}

describe("a queue whose keys are not what was written", () => {
  it.each(rows)(
    "is UNKNOWN alone, and can be forgotten: $what",
    async ({ queue, breakIt, state, source }) => {
      await using opened = await open();
      const { tracker, redis, keys, logger } = opened;
      await breakIt(redis, keys);
      const others = [q, o, "sound"].filter((name) => name !== queue);
      for (let i = 0; i < 2; i++) {
        const [broken, ...sound] = await tracker.read([queue, ...others], parts);
        expect(broken).toMatchObject({
          ...{ queue, state, source, accuracy: "UNKNOWN", unreadable: true, stale: false },
          ...{ latencyMs: null, depth: null, scheduled: null, oldestSinceMs: null },
        });
        expect(broken?.changesAtMs).toBe((broken?.measuredAtMs ?? 0) + 5_000);
        expect(sound).toMatchObject(others.map((name) => ({ queue: name, accuracy: "EXACT", depth: 1 })));
      }
      expect(logger.lines.filter(({ level }) => level === "error")).toMatchObject([{ fields: { queue } }]);

      expect(await tracker.forget(queue)).toBe(true);
      expect(await tracker.read([queue], parts)).toMatchObject([{ state: "MISSING" }]);
      expect(logger.lines.at(-1)).toMatchObject({ message: "queue is readable again", fields: { queue } });
      if (queue !== q) return;
      await tracker.record([event(q)], null);
      expect(await tracker.read([q], parts)).toMatchObject([{ state: "WAITING", depth: 1 }]);
    },
  );

  it("can be forgotten when what is remembered of its jobs is of another type", async () => {
    await using opened = await open();
    const { tracker, redis, keys } = opened;
    for (const key of keys.departed(q)) await redis.set(key, "garbage");
    expect(await tracker.read(["sound"], parts)).toMatchObject([{ accuracy: "EXACT" }]);
    expect(await tracker.read([q], parts)).toMatchObject([{ queue: q }]);
    expect(await tracker.forget(q)).toBe(true);
    expect(await redis.exists(...keys.departed(q))).toBeLessThanOrEqual(1);
    await tracker.record([event(q)], null);
    expect(await tracker.read([q], parts)).toMatchObject([{ state: "WAITING", depth: 1 }]);
  });

  it("costs other queues nothing in a list, a query, a subscription and a scrape", async () => {
    await using opened = await open();
    const { redis, keys, prefix } = opened;
    const app = await startApp({
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: prefix,
      HISTORY_MAX_QUEUES: "0",
    });
    onTestFinished(() => app.stop());
    await redis.set(keys.state(q), "garbage");
    const fields = "queue state accuracy latency depth throughput { enqueuedPerSecond }";
    const broken = { queue: q, accuracy: "UNKNOWN", latency: null, depth: null, throughput: null };
    const sound = { queue: "sound", accuracy: "EXACT", depth: 1 };
    const list = await ask(app.url, `{ queues { edges { node { ${fields} } } } }`);
    expect(list.body).toMatchObject({
      data: { queues: { edges: [{ node: { queue: o } }, { node: broken }, { node: sound }] } },
    });
    const query = await ask(app.url, `{ queueLatency(queues: ["sound", "${q}"]) { ${fields} } }`);
    expect(query.body).toMatchObject({ data: { queueLatency: [sound, broken] } });
    const scrape = await (await fetch(`${app.url}/metrics`)).text();
    expect(scrape).toContain('queue_depth{queue="sound",source="events"} 1\n');
    expect(scrape).toContain("queue_latency_unreadable_queues 1\n");
    expect(scrape).not.toContain(`queue="${q}"`);
  });

  it("has a history without steps where that is of another type", async () => {
    await using opened = await open();
    const { redis, keys } = opened;
    const store = createStepStore({ redis, keys, keptMs });
    await redis.set(keys.history(q, "TEN_SECONDS"), "garbage");
    expect(await store.range(q, "TEN_SECONDS", { fromMs: 0, toMs: null })).toEqual([]);
    expect(await store.newest(q, "TEN_SECONDS", Date.now())).toBeNull();
  });
});
