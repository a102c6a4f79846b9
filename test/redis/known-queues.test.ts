import { describe, expect, inject, it, onTestFinished } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { keysWith, uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { openTracker, type TestTracker } from "../support/tracker.ts";

const redisUrl = inject("redisUrl");

function enqueued(queue: string, jobId = "a"): QueueEvent {
  return { type: "ENQUEUED", queue, jobId, attempt: 0, atMs: null, availableAtMs: null };
}

function enqueuedIn(...queues: readonly string[]): readonly QueueEvent[] {
  return queues.map((queue) => enqueued(queue));
}

const tooMany = { code: "TOO_MANY_KNOWN_QUEUES" };

describe("how many queues are recorded", () => {
  const rows = [
    { queues: ["a", "b"], isRecorded: true, why: "both are known" },
    { queues: ["c"], isRecorded: true, why: "one more may be" },
    { queues: ["c", "d"], isRecorded: false, why: "one of two new ones would be too many" },
    { queues: ["a", "c", "d"], isRecorded: false, why: "a known one does not let new ones in" },
    { queues: ["~1", "~2", "~3"], isRecorded: false, why: "names behind all others count as well" },
  ];

  it.each(rows)("is bounded: $queues, of which $why", async ({ queues, isRecorded }) => {
    // A second server: what the first one remembers of its own queues must not decide.
    const options = { prefix: uniquePrefix(), maxKnownQueues: 3, sources: () => ["faktory", "f"] };
    await using first = await openTracker(redisUrl, options);
    await using second = await openTracker(redisUrl, options);
    await first.tracker.record(enqueuedIn("a", "b"), null);
    const seen = { headAgeMs: 0, uncertaintyMs: 0, scheduled: 0, paused: false, accuracy: "EXACT" } as const;
    await first.tracker.observe({
      source: "faktory",
      queues: ["x", "y", "z"].map((queue) => ({
        ...{ queue, depth: 1, readAtMs: performance.now() },
        ...seen,
      })),
      freshForMs: 60_000,
    });
    for (const { tracker } of [first, second]) {
      const before = await keysWith(first.redis, first.prefix);
      const recorded = tracker.record(enqueuedIn(...queues), null);
      if (isRecorded) {
        expect(await recorded).toMatchObject({ accepted: expect.any(Number) });
        for (const queue of queues) expect(await tracker.list({ limit: 100 })).toContain(queue);
      } else {
        await expect(recorded).rejects.toMatchObject(tooMany);
        expect((await keysWith(first.redis, first.prefix)).sort()).toEqual(before.sort());
        expect(await tracker.count()).toBe(5);
      }
    }
  });

  it("says what the limit is, and what to do", async () => {
    await using opened = await openTracker(redisUrl, { maxKnownQueues: 2 });
    await opened.tracker.record(enqueuedIn("a", "b"), null);
    const refused = opened.tracker.record(enqueuedIn("b", "c"), null);
    await expect(refused).rejects.toMatchObject({ ...tooMany, details: { newQueues: ["c"] } });
    await expect(refused).rejects.toThrow(
      "too many queues: 1 of the batch are new, 2 are recorded, and the limit is 2 (MAX_KNOWN_QUEUES); nothing was recorded. Use fewer names, or remove queues with forgetQueue",
    );
    await opened.tracker.forget("a");
    expect(await opened.tracker.record(enqueuedIn("b", "c"), null)).toMatchObject({ accepted: 1 });
  });

  it("is a setting, and a refusal names the new queues", async () => {
    const app = await startApp({
      ...{ REDIS_URL: redisUrl, KEY_PREFIX: uniquePrefix(), HISTORY_MAX_QUEUES: "0", MAX_KNOWN_QUEUES: "1" },
    });
    onTestFinished(() => app.stop());
    const record = (queue: string) =>
      ask(
        app.url,
        `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "${queue}", jobId: 1 }]) { accepted } }`,
      );
    expect((await record("a")).body).toMatchObject({ data: { recordEvents: { accepted: 1 } } });
    expect((await record("b")).body).toMatchObject({
      errors: [{ extensions: { ...tooMany, newQueues: ["b"] } }],
    });
  });

  it("is never more, however many servers record new ones at once", async () => {
    const options = { prefix: uniquePrefix(), maxKnownQueues: 50 };
    await using first = await openTracker(redisUrl, options);
    await using second = await openTracker(redisUrl, options);
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) =>
        [first, second][i % 2]?.tracker.record(enqueuedIn(`${i}-1`, `${i}-2`), null),
      ),
    );
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(25);
    expect(await first.tracker.count()).toBe(50);
  });
});

describe("the list of queues", () => {
  it("has a queue again within ten seconds of recording when its entry was lost", async () => {
    await using opened = await openTracker(redisUrl);
    const { tracker, redis, keys, prefix } = opened;
    await tracker.record(enqueuedIn("q"), null);
    await redis.del(keys.index);
    await using other = await openTracker(redisUrl, { prefix });
    await other.tracker.record([enqueued("q", "b")], null);
    expect(await tracker.list({ limit: 10 })).toEqual(["q"]);
  });

  it.each<{ what: string; lose: (opened: TestTracker) => Promise<unknown> }>([
    { what: "was evicted", lose: ({ redis, keys }) => redis.del(keys.index) },
    {
      what: "was evicted, and has a new name",
      async lose({ redis, keys, tracker }) {
        await redis.del(keys.index);
        await tracker.record(enqueuedIn("c"), null);
      },
    },
    { what: "is a string", lose: ({ redis, keys }) => redis.set(keys.index, "garbage") },
    {
      what: "is a hash, and events come first",
      async lose({ redis, keys, tracker }) {
        await redis.multi().del(keys.index).hset(keys.index, "a", "b").exec();
        await tracker.record(enqueuedIn("c"), null);
      },
    },
  ])("has all queues in its first answer when the index $what", async ({ lose }) => {
    await using opened = await openTracker(redisUrl);
    const { tracker } = opened;
    await tracker.record(enqueuedIn("a", "b"), null);
    await tracker.list({ limit: 10 });
    await lose(opened);
    expect((await tracker.choose(10)).names.slice(0, 2)).toEqual(["a", "b"]);
    await lose(opened);
    expect((await tracker.list({ limit: 10 })).slice(0, 2)).toEqual(["a", "b"]);
  });

  it("has a queue that was forgotten and is recorded again at once", async () => {
    const prefix = uniquePrefix();
    await using opened = await openTracker(redisUrl, { prefix });
    await using other = await openTracker(redisUrl, { prefix });
    for (let i = 0; i < 3; i++) {
      await opened.tracker.record([enqueued("q", `${i}`)], null);
      expect(await opened.tracker.list({ limit: 10 }), `round ${i}`).toEqual(["q"]);
      await other.tracker.forget("q");
      expect(await opened.tracker.list({ limit: 10 })).toEqual([]);
    }
  });

  it("is not written for a queue that is recorded over and over", async () => {
    await using opened = await openTracker(redisUrl);
    const { tracker, redis, keys } = opened;
    await tracker.record(enqueuedIn("q"), null);
    await redis.del(keys.index);
    await tracker.record([enqueued("q", "b")], null);
    expect(await redis.exists(keys.index)).toBe(0);
  });

  it("loses names that have no state, and no others", async () => {
    const prefix = uniquePrefix();
    await using opened = await openTracker(redisUrl, { prefix });
    const { tracker, redis } = opened;
    await tracker.record(enqueuedIn("b"), null);
    await redis.zadd(createKeys(prefix).index, 0, "a", 0, "c");
    await tracker.unlist(["a", "b", "c"]);
    expect(await tracker.list({ limit: 10 })).toEqual(["b"]);
  });
});
