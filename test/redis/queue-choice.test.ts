import { describe, expect, inject, it } from "vitest";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import { createQueueChooser, rankOf } from "../../src/tracker/queue-choice.ts";
import { createQueueIndex } from "../../src/tracker/queue-index.ts";
import { silentLogger } from "../support/logger.ts";
import { openTracker, type TestTracker } from "../support/tracker.ts";

const start = 1_790_000_000_000;
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

function event(type: QueueEventType, queue: string): QueueEvent {
  return { type, queue, jobId: "a", attempt: 0, atMs: null, availableAtMs: null };
}

describe("of two queues", () => {
  const old = start - 30 * 24 * hourMs;
  const rows = [
    {
      first: { knownSinceMs: old, activeAtMs: start },
      second: { knownSinceMs: start, activeAtMs: start },
      why: "both are in use, and the second is new",
    },
    {
      first: { knownSinceMs: start, activeAtMs: start },
      second: { knownSinceMs: old, activeAtMs: start - hourMs - 1 },
      why: "nothing has happened in the second for an hour",
    },
    {
      first: { knownSinceMs: old, activeAtMs: start - hourMs + 1 },
      second: { knownSinceMs: start, activeAtMs: start },
      why: "a queue that is idle for less than an hour keeps its place",
    },
    {
      first: { knownSinceMs: start, activeAtMs: start - 2 * hourMs },
      second: { knownSinceMs: old, activeAtMs: start - 3 * hourMs },
      why: "of idle ones the first was in use more lately",
    },
    {
      first: { knownSinceMs: old, activeAtMs: start - 30 * 24 * hourMs },
      second: { knownSinceMs: 0, activeAtMs: 0 },
      why: "it is not known when the second was ever in use",
    },
    {
      first: { knownSinceMs: 0, activeAtMs: start },
      second: { knownSinceMs: old, activeAtMs: start },
      why: "an earlier version, or a job system, knew the first for longer than is known",
    },
    {
      first: { knownSinceMs: 0, activeAtMs: Number.POSITIVE_INFINITY },
      second: { knownSinceMs: start, activeAtMs: start },
      why: "the first cannot be read, and is not forgotten for that",
    },
  ];

  it.each(rows)("the first gets the place: $why", ({ first, second }) => {
    expect(rankOf(first, start)).toBeLessThan(rankOf(second, start));
  });
});

interface Chooser extends AsyncDisposable {
  nowMs: number;
  readonly opened: TestTracker;
  record(type: QueueEventType, ...queues: readonly string[]): Promise<void>;
  choose(max: number): Promise<readonly string[]>;
}

/** A tracker and a chooser on a manual clock; each choice is made from a new ranking. */
async function openChooser(): Promise<Chooser> {
  const now = () => chooser.nowMs;
  const opened = await openTracker(inject("redisUrl"), { now });
  const { redis, keys, tracker } = opened;
  let clockMs = 0;
  const { choose } = createQueueChooser({
    ...{ redis, keys, now },
    index: createQueueIndex({ redis, keys, logger: silentLogger }),
    clock: { now: () => clockMs },
  });
  const chooser: Chooser = {
    nowMs: start,
    opened,
    async record(type, ...queues) {
      await tracker.record(
        queues.map((queue) => event(type, queue)),
        null,
      );
    },
    async choose(max) {
      clockMs += 10 * minuteMs;
      return (await choose(max)).names;
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
  return chooser;
}

const flood = Array.from({ length: 1_000 }, (_, i) => `!${String(i).padStart(4, "0")}`);

describe("places", () => {
  it("are given to all queues while there are enough, also to one that has just come", async () => {
    await using chooser = await openChooser();
    const { tracker } = chooser.opened;
    await chooser.record("ENQUEUED", "b", "a");
    expect(await tracker.choose(3)).toEqual({ names: ["a", "b"], known: 2 });
    await chooser.record("ENQUEUED", "é");
    expect(await tracker.choose(3)).toEqual({ names: ["a", "b", "é"], known: 3 });
    await chooser.record("ENQUEUED", "0");
    expect(await tracker.choose(0)).toEqual({ names: [], known: 4 });
  });

  it("stay with the queues in use when 1,000 new names come that stand before them", async () => {
    await using chooser = await openChooser();
    await chooser.record("ENQUEUED", "waiting", "done", "gone");
    await chooser.record("DEQUEUED", "done");
    const seen = { headAgeMs: 1, uncertaintyMs: 0, scheduled: 0, paused: false, accuracy: "EXACT" } as const;
    await chooser.opened.tracker.observe({
      source: "faktory",
      queues: [{ queue: "x", depth: 1, readAtMs: performance.now(), ...seen }],
      freshForMs: minuteMs,
    });
    const firstMs = chooser.nowMs;
    chooser.nowMs += minuteMs;
    await chooser.record("ENQUEUED", ...flood);
    // Which queues are older also decides which alerts are kept.
    const { knownSince } = chooser.opened.tracker;
    expect(await knownSince(["!0000", "done", "faktory/x", "nothing"])).toEqual([
      chooser.nowMs,
      firstMs,
      0,
      0,
    ]);
    const chosen = await chooser.choose(10);
    expect(chosen).toEqual([...flood.slice(0, 6), "done", "faktory/x", "gone", "waiting"]);
    expect((await chooser.opened.tracker.choose(10)).known).toBe(1_004);
  });

  it("go to other queues once nothing has happened for an hour, and come back", async () => {
    await using chooser = await openChooser();
    await chooser.record("ENQUEUED", "z");
    await chooser.record("DEQUEUED", "z");
    chooser.nowMs += minuteMs;
    await chooser.record("ENQUEUED", "a", "b");
    expect(await chooser.choose(2)).toEqual(["a", "z"]);
    // The counts of the last quarter of an hour expire by Redis's own clock.
    await chooser.opened.redis.del(chooser.opened.keys.recent("z"));
    chooser.nowMs += 50 * minuteMs;
    expect(await chooser.choose(2), "idle for less than an hour").toEqual(["a", "z"]);
    chooser.nowMs += 20 * minuteMs;
    expect(await chooser.choose(2)).toEqual(["a", "b"]);
    await chooser.record("DEQUEUED", "z");
    expect(await chooser.choose(2)).toEqual(["a", "z"]);
  });

  it("are not lost by a job system's queue that is empty at the moment", async () => {
    await using chooser = await openChooser();
    const observe = (headAgeMs: number | null, depth: number) =>
      chooser.opened.tracker.observe({
        source: "faktory",
        queues: [
          {
            ...{ queue: "x", headAgeMs, depth, uncertaintyMs: 0, scheduled: 0 },
            ...{ paused: false, accuracy: "EXACT", readAtMs: performance.now() },
          },
        ],
        freshForMs: minuteMs,
      });
    await observe(5, 1);
    await chooser.record("ENQUEUED", "a", "b");
    expect(await chooser.choose(1)).toEqual(["faktory/x"]);
    chooser.nowMs += minuteMs;
    await observe(null, 0);
    expect(await chooser.choose(1)).toEqual(["faktory/x"]);
    chooser.nowMs += 2 * hourMs;
    expect(await chooser.choose(1)).toEqual(["a"]);
  });

  it("are kept by a queue whose keys are broken", async () => {
    await using chooser = await openChooser();
    const { redis, keys } = chooser.opened;
    await chooser.record("ENQUEUED", "broken", "b", "c");
    await redis.set(keys.state("broken"), "not a hash");
    expect(await chooser.choose(2)).toEqual(["b", "broken"]);
  });

  it("are chosen again at most every five seconds", async () => {
    await using chooser = await openChooser();
    const { redis, keys, tracker } = chooser.opened;
    await chooser.record("ENQUEUED", "a", "b");
    const ranked = await tracker.choose(1);
    await redis.hset(keys.state("a"), "knownAt", chooser.nowMs + 1);
    expect(await tracker.choose(1)).toEqual(ranked);
  });
});
