import { beforeEach, describe, expect, inject, onTestFinished, test } from "vitest";
import { LeaseLostError } from "../../src/core/lease.ts";
import type { FollowedQueue, FollowSink } from "../../src/core/log-following.ts";
import type { Observation, ObservedSource } from "../../src/core/observation.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import type { Service } from "../../src/runtime/service.ts";
import { createLeaderOnlySource } from "../../src/sources/leader-only-source.ts";
import { openContender } from "../support/lease.ts";
import { recordingLogger } from "../support/logger.ts";
import { uniquePrefix } from "../support/redis.ts";
import { openTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const timing = { ttlMs: 3_000, renewEveryMs: 200 };
const nothing: ObservedSource = { source: "faktory", queues: [], freshForMs: 1_000 };
let prefix: string;
/** In order: who began to read, and who ended. */
let story: string[];
/** With what fence the sink was called. */
let fences: (number | undefined)[];

beforeEach(() => {
  prefix = uniquePrefix();
  story = [];
  fences = [];
});

const sink: FollowSink = {
  observe: async (_, fence) => void fences.push(fence),
  follow: (_, fence) => {
    fences.push(fence);
    throw new Error("no server listens");
  },
  gone: async (_source, _queue, fence) => void fences.push(fence),
  cursors: async () => new Map(),
  notes: async () => new Map(),
};

/** A reader with a connection of its own, in place of a server process; by default its source reports its name only. */
async function reader(
  name: string,
  source: (sink: FollowSink) => Partial<Service> = () => ({}),
  to: FollowSink = sink,
) {
  const logger = recordingLogger();
  const contender = await openContender(inject("redisUrl"), prefix, { ...timing, logger });
  const service = createLeaderOnlySource({
    lease: contender.lease,
    sink: to,
    source: "faktory",
    logger,
    retryMs: 20,
    create: (handed) => {
      const { start = async () => {}, stop = async () => {} } = source(handed);
      return {
        async start() {
          story.push(`${name} starts`);
          await start();
        },
        async stop() {
          await stop();
          story.push(`${name} ends`);
        },
      };
    },
  });
  await service.start();
  let stopped: Promise<void> | undefined;
  const stop = () => (stopped ??= service.stop());
  onTestFinished(stop);
  const said = (level: string) => logger.lines.filter((line) => line.level === level);
  return { stop, die: contender.die, redis: contender.redis, said };
}

describe("of several processes", () => {
  test("one reads, and when it stops another goes on, but not before its source has ended", async () => {
    const released = Promise.withResolvers<void>();
    const first = await reader("first", () => ({ stop: () => released.promise }));
    await until(() => expect(story).toEqual(["first starts"]));
    const second = await reader("second");
    const third = await reader("third");
    const stopping = first.stop();
    await third.redis.ping();
    // Longer than it would take to take over, were it free.
    const over = performance.now() + 3 * timing.renewEveryMs;
    while (performance.now() < over) await third.redis.ping();
    expect(story).toEqual(["first starts"]);
    released.resolve();
    await stopping;
    await until(() => expect(story).toHaveLength(3));
    const heir = story[2] === "second starts" ? second : third;
    await heir.stop();
    await until(() => expect(story).toHaveLength(5));
    expect(story.map((line) => line.split(" ")[1])).toEqual(["starts", "ends", "starts", "ends", "starts"]);
    expect(new Set(story.map((line) => line.split(" ")[0])).size).toBe(3);
  });

  test("each reports with a fence of its own, which grows", async () => {
    const report = (handed: FollowSink) => ({ start: () => handed.observe(nothing) });
    for (const [index, name] of ["first", "second", "third"].entries()) {
      const one = await reader(name, report);
      await until(() => expect(fences).toHaveLength(index + 1));
      await one.stop();
    }
    for (const [i, fence] of fences.slice(1).entries()) expect(fence).toBeGreaterThan(fences[i]!);
  });

  test("one that loses its lease ends its source, and starts it anew when it has the lease again", async () => {
    const first = await reader("first");
    await until(() => expect(story).toEqual(["first starts"]));
    const [holder] = createKeys(prefix).lease("faktory");
    await first.redis.set(holder, "another holder", "PX", 600);
    await until(() => expect(first.said("info")).toHaveLength(2));
    expect(story).toEqual(["first starts", "first ends", "first starts"]);
    const [before, after] = first.said("info").map(({ fields }) => Number(fields.fence));
    expect(after).toBeGreaterThan(before!);
  });

  test("one that cannot reach Redis any more ends its source, and the others go on", async () => {
    const first = await reader("first");
    await until(() => expect(story).toEqual(["first starts"]));
    await reader("second");
    first.die();
    await until(() => expect(story.toSorted()).toEqual(["first ends", "first starts", "second starts"]));
  });
});

const observation: Observation = {
  ...{ queue: "q", headAgeMs: 1_000, uncertaintyMs: 0, depth: 1, scheduled: 0 },
  ...{ paused: false, accuracy: "EXACT", readAtMs: monotonicClock.now() },
};
const followed: FollowedQueue = {
  ...{ source: "faktory", queue: "q", fromCursor: null, toCursor: "1", events: [], paused: null },
  ...{ sourceNowMs: Date.now(), readAtMs: monotonicClock.now(), uncertaintyMs: 0, freshForMs: 60_000 },
  ...{ repair: null, expected: [], missedUntilMs: null, clockSkewMs: null },
};

describe("a reader whose fencing token is too small, as after a failover", () => {
  // What the tracker has stored, on another node than the lease, and by a clock that was ahead.
  const aheadMs = 3_600_000;
  const reports: readonly {
    readonly how: string;
    readonly report: (sink: FollowSink) => Promise<unknown>;
  }[] = [
    {
      how: "observes",
      report: (to) => to.observe({ source: "faktory", queues: [observation], freshForMs: 60_000 }),
    },
    { how: "follows", report: (to) => to.follow(followed) },
    { how: "removes a queue", report: (to) => to.gone("faktory", "q") },
  ];

  test.each(reports)("a reader that $how gets a larger token and continues", async ({ report }) => {
    const opened = await openTracker(inject("redisUrl"), { prefix });
    onTestFinished(() => opened[Symbol.asyncDispose]());
    const { tracker } = opened;
    const ahead = Date.now() + aheadMs;
    await tracker.observe({ source: "faktory", queues: [observation], freshForMs: 60_000 }, ahead);
    const results: unknown[] = [];
    const one = await reader(
      "one",
      (handed) => ({
        start: async () => void results.push(await report(handed).catch((error: unknown) => error)),
      }),
      tracker,
    );
    await until(() => expect(results).toHaveLength(2));
    expect(results[0]).toMatchObject({ name: "LeaseLostError", newerFence: ahead });
    expect(results[1]).not.toBeInstanceOf(Error);
    expect(one.said("warn").map(({ message, fields }) => [message, fields.reason])).toEqual([
      ["lost lease", "a newer fencing token is stored"],
    ]);
    await until(() => expect(one.said("info").at(-1)?.fields.fence).toBe(ahead + 1));
  });
});

describe("the sink that a source is handed", () => {
  test("adds the fence to every word", async () => {
    await reader("one", (handed) => ({
      start: async () => {
        await handed.observe(nothing);
        await handed.gone("faktory", "q");
        await handed.follow({} as Parameters<FollowSink["follow"]>[0]).catch(() => {});
      },
    }));
    await until(() => expect(fences).toHaveLength(3));
    expect(fences[0]).toBeGreaterThan(0);
    expect(new Set(fences).size).toBe(1);
  });

  test("refuses everything once the lease has been lost, and passes nothing on", async () => {
    const handed = Promise.withResolvers<FollowSink>();
    const first = await reader("first", (given) => {
      handed.resolve(given);
      return {};
    });
    const given = await handed.promise;
    await first.stop();
    await expect(given.observe(nothing)).rejects.toThrow(LeaseLostError);
    await expect(given.gone("faktory", "q")).rejects.toThrow(LeaseLostError);
    await expect(given.follow({} as Parameters<FollowSink["follow"]>[0])).rejects.toThrow(LeaseLostError);
    expect(fences).toEqual([]);
  });

  test("still takes what a source says while it stops", async () => {
    const one = await reader("one", (handed) => ({ stop: () => handed.observe(nothing) }));
    await until(() => expect(story).toEqual(["one starts"]));
    await one.stop();
    expect(fences).toEqual([expect.any(Number)]);
  });
});

describe("a source", () => {
  test.each([
    { how: "cannot be built", at: "create" },
    { how: "does not start", at: "start" },
  ])("that $how is tried again, and one line says why", async ({ at }) => {
    let attempts = 0;
    const fail = () => {
      if (++attempts < 4) throw new Error("not today");
    };
    const one = await reader("one", () => {
      if (at === "create") fail();
      return { start: async () => (at === "start" ? fail() : undefined) };
    });
    await until(() => expect(one.said("info")).toHaveLength(1));
    expect(attempts).toBe(4);
    expect(one.said("error")).toMatchObject([
      { fields: { source: "faktory", err: { message: "not today" } } },
    ]);
    // A source that has not started has been stopped all the same.
    if (at === "start") expect(story.filter((line) => line === "one ends")).toHaveLength(3);
  });

  test("that does not start in one process is read by another", async () => {
    await reader("broken", () => ({ start: () => Promise.reject(new Error("not here")) }));
    await until(() => expect(story).toContain("broken ends"));
    await reader("sound");
    await until(() => expect(story.at(-1)).toBe("sound starts"));
  });

  test("that never finishes its start can be stopped", async () => {
    const one = await reader("one", () => ({ start: () => new Promise(() => {}) }));
    await until(() => expect(story).toEqual(["one starts"]));
    await one.stop();
    expect(story).toEqual(["one starts", "one ends"]);
  });

  test("that does not stop cleanly is logged, and the lease is given back all the same", async () => {
    const one = await reader("one", () => ({ stop: () => Promise.reject(new Error("stuck")) }));
    await until(() => expect(story).toEqual(["one starts"]));
    await one.stop();
    expect(one.said("warn")).toMatchObject([{ fields: { source: "faktory", err: { message: "stuck" } } }]);
    expect(await one.redis.exists(createKeys(prefix).lease("faktory")[0])).toBe(0);
  });
});
