import { encode } from "@msgpack/msgpack";
import fc from "fast-check";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import { type HistoryStep, historySteps, stepSeconds } from "../../src/core/history.ts";
import type { Lease } from "../../src/core/lease.ts";
import { createHistory } from "../../src/history/history.ts";
import { mergeRecords, type StepRecord } from "../../src/history/step-record.ts";
import { createLease } from "../../src/redis/lease.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { hourMs, keptMs, openHistory } from "../support/history.ts";
import { snapshot } from "../support/live.ts";
import { silentLogger } from "../support/logger.ts";
import { openTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

/** A whole number of hours. */
const start = 1_790_000_000_000 - (1_790_000_000_000 % hourMs);
const everything = { fromMs: 0, toMs: null };

function event(type: QueueEvent["type"], jobId: string, rest: Partial<QueueEvent> = {}): QueueEvent {
  return { type, queue: "q", jobId, attempt: 0, atMs: null, availableAtMs: null, ...rest };
}
const open = () => openHistory(inject("redisUrl"), start);

describe("a step of ten seconds", () => {
  test("has what was seen and counted in it, and is written when it is over", async () => {
    await using history = await open();
    const { tracker } = history.opened;
    await tracker.record([event("ENQUEUED", "1"), event("ENQUEUED", "2")], null);
    const writer = history.openWriter(["q"]);
    for (let second = 0; second < 10; second++) {
      history.nowMs = start + second * 1000;
      if (second === 4) await tracker.record([event("DEQUEUED", "1")], null);
      writer.sampler.changed("q");
      await writer.look();
    }
    expect(await history.store.range("q", "TEN_SECONDS", everything)).toEqual([]);
    history.nowMs = start + 10_000;
    await writer.look();
    const [step, ...others] = await history.store.range("q", "TEN_SECONDS", everything);
    expect(others).toEqual([]);
    expect(step).toEqual({
      atMs: start,
      record: {
        samples: 10,
        waitingSamples: 10,
        pausedSamples: 0,
        incompleteSamples: 0,
        maxLatencyMs: 9_000,
        sumLatencyMs: 45_000,
        lastLatencyMs: 9_000,
        maxDepth: 2,
        lastDepth: 1,
        counts: {
          enqueued: 2,
          dequeued: 1,
          waits: 1,
          sumMs: 4_000,
          maxMs: 4_000,
          buckets: expect.objectContaining({ size: 1 }),
        },
      } satisfies StepRecord,
    });
  });

  test("counts an event when it is received, so that a late one is in exactly one step", async () => {
    await using history = await open();
    const { tracker } = history.opened;
    await tracker.record([event("ENQUEUED", "0")], null);
    const writer = history.openWriter(["q"]);
    for (let step = 0; step < 3; step++) {
      history.nowMs = start + step * 10_000 + 5_000;
      // It happened a quarter of an hour ago, and longer ago than any window reaches.
      const late = [15, 60].map((minutes) => history.nowMs - minutes * 60_000);
      await tracker.record(
        late.map((atMs) => event("ENQUEUED", `${step}-${atMs}`, { atMs })),
        null,
      );
      await writer.look();
    }
    history.nowMs += 10_000;
    await writer.look();
    const steps = await history.store.range("q", "TEN_SECONDS", everything);
    expect(steps.map(({ record }) => record.counts?.enqueued)).toEqual([3, 2, 2]);
  });

  test("counts what came to a new queue before its first sample", async () => {
    await using history = await open();
    const { tracker } = history.opened;
    history.nowMs = start + 9_900;
    await tracker.record([event("ENQUEUED", "1"), event("ENQUEUED", "2")], null);
    const writer = history.openWriter(["q"]);
    for (const second of [10, 11, 20, 30]) {
      history.nowMs = start + second * 1000;
      if (second === 11) await tracker.record([event("ENQUEUED", "3"), event("DEQUEUED", "1")], null);
      await writer.look();
    }
    const steps = await history.store.range("q", "TEN_SECONDS", everything);
    expect(steps.map(({ record }) => record.counts)).toMatchObject([
      { enqueued: 3, dequeued: 1, waits: 1 },
      { enqueued: 0, dequeued: 0, waits: 0 },
    ]);
    // The next leader knows that it is not new: what came without a leader stays a gap.
    history.nowMs = start + 39_000;
    await tracker.record([event("ENQUEUED", "4")], null);
    const other = history.openWriter(["q"]);
    for (const second of [40, 50]) {
      history.nowMs = start + second * 1000;
      await other.look();
    }
    const [, , last] = await history.store.range("q", "TEN_SECONDS", everything);
    expect(last).toMatchObject({ atMs: start + 40_000, record: { counts: { enqueued: 0 } } });
  });

  test("is written as soon as it is over, also when the queue cannot be read any more", async () => {
    await using history = await open();
    const { tracker, redis, keys } = history.opened;
    await tracker.record([event("ENQUEUED", "1")], null);
    const writer = history.openWriter(["q"]);
    await writer.look();
    await redis.set(keys.state("q"), "of another type");
    for (const second of [5, 10]) {
      history.nowMs = start + second * 1000;
      await writer.look();
    }
    const steps = await history.store.range("q", "TEN_SECONDS", everything);
    expect(steps).toMatchObject([{ atMs: start, record: { samples: 1, counts: { enqueued: 1 } } }]);
  });

  test("is a gap when its process slept until what was counted in it has expired", async () => {
    await using history = await open();
    await history.opened.tracker.record([event("ENQUEUED", "1")], null);
    const writer = history.openWriter(["q"]);
    for (const second of [0, 1_800, 1_810]) {
      history.nowMs = start + second * 1000;
      await writer.look();
    }
    const steps = await history.store.range("q", "TEN_SECONDS", everything);
    expect(steps.map(({ atMs }) => (atMs - start) / 1000)).toEqual([1_800]);
  });

  test("is none of a queue that was forgotten in it", async () => {
    await using history = await open();
    const { tracker } = history.opened;
    await tracker.record([event("ENQUEUED", "1")], null);
    const writer = history.openWriter(["q"]);
    await writer.look();
    await tracker.forget("q");
    await history.store.forget("q");
    for (const second of [5, 10, 11]) {
      history.nowMs = start + second * 1000;
      await writer.look();
    }
    expect(await history.store.range("q", "TEN_SECONDS", everything)).toEqual([]);
  });

  test("is written again when Redis's clock was ahead and is set right, by the same process and by the next one", async () => {
    await using history = await open();
    const { tracker } = history.opened;
    await tracker.record([event("ENQUEUED", "1")], null);
    const writer = history.openWriter(["q"]);
    const lookFor = async (by: typeof writer, fromMs: number, seconds: number) => {
      for (let second = 0; second <= seconds; second += 5) {
        history.nowMs = fromMs + second * 1000;
        await by.look();
      }
    };
    await lookFor(writer, start, 130);
    await lookFor(writer, start + 30 * 24 * hourMs, 130);
    await lookFor(writer, start + 180_000, 130);
    await lookFor(history.openWriter(["q"]), start + 360_000, 130);
    const atSeconds = async (step: HistoryStep) =>
      (await history.store.range("q", step, everything)).map(({ atMs }) => (atMs - start) / 1000);
    const tens = [0, 180, 360].flatMap((from) => Array.from({ length: 13 }, (_, i) => from + 10 * i));
    expect(await atSeconds("TEN_SECONDS")).toEqual(tens);
    expect(await atSeconds("ONE_MINUTE")).toEqual([0, 60, 120, 180, 240, 300, 360, 420]);
  });

  test("that cannot be read is left out", async () => {
    await using history = await open();
    const { tracker, redis, keys } = history.opened;
    await tracker.record([event("ENQUEUED", "1")], null);
    const writer = history.openWriter(["q"]);
    const nonsense = ["garbage", encode("text"), encode([1, 2, 3]), encode(["a", 2, 3, 4, 5, 6, 7, 8])];
    for (const [i, bytes] of nonsense.entries()) {
      await redis.xadd(keys.history("q", "TEN_SECONDS"), start - 50_000 + i, "step", Buffer.from(bytes));
    }
    await redis.xadd(keys.history("q", "TEN_SECONDS"), start - 10_000, "of", "another writer");
    for (let second = 0; second <= 70; second += 5) {
      history.nowMs = start + second * 1000;
      await writer.look();
    }
    const counted = async (step: HistoryStep) => (await history.store.range("q", step, everything)).length;
    expect(await counted("TEN_SECONDS")).toBe(7);
    expect(await counted("ONE_MINUTE")).toBe(1);
  });

  test("without a sample is left out", async () => {
    await using history = await open();
    await history.opened.tracker.record([event("ENQUEUED", "1")], null);
    const writer = history.openWriter(["q"]);
    for (const second of [0, 30, 40, 50]) {
      history.nowMs = start + second * 1000;
      await writer.look();
    }
    const steps = await history.store.range("q", "TEN_SECONDS", everything);
    expect(steps.map(({ atMs }) => (atMs - start) / 1000)).toEqual([0, 30, 40]);
  });

  test("has no sample of a queue that cannot be read", async () => {
    await using history = await open();
    const { tracker, redis, keys } = history.opened;
    await tracker.record([event("ENQUEUED", "1"), event("ENQUEUED", "1", { queue: "other" })], null);
    const writer = history.openWriter(["q", "other", "missing"]);
    const state = await redis.dumpBuffer(keys.state("q"));
    for (const second of [0, 2, 6, 7, 12]) {
      history.nowMs = start + second * 1000;
      if (second === 2) await redis.set(keys.state("q"), "of another type");
      if (second === 7 && state !== null) await redis.restore(keys.state("q"), 0, state, "REPLACE");
      await writer.look();
    }
    const samples = async (queue: string) =>
      (await history.store.range(queue, "TEN_SECONDS", everything)).map(({ record }) => record.samples);
    expect(await samples("q")).toEqual([2]);
    expect(await samples("other")).toEqual([4]);
    expect(await samples("missing")).toEqual([]);
  });

  test("says how many of its samples were INCOMPLETE", async () => {
    await using history = await open();
    const { tracker, redis, keys } = history.opened;
    await tracker.record([event("ENQUEUED", "1")], null);
    const writer = history.openWriter(["q"]);
    for (const second of [0, 1, 2, 3, 12, 23]) {
      history.nowMs = start + second * 1000;
      // As Redis evicts it.
      if (second === 2) await redis.del(keys.waiting("q"));
      if (second === 12) await tracker.trust("q");
      if (second === 2 || second === 12) writer.sampler.changed("q");
      await writer.look();
    }
    const steps = await history.store.range("q", "TEN_SECONDS", everything);
    const counts = steps.map(({ record: { samples, incompleteSamples } }) => [samples, incompleteSamples]);
    expect(counts).toEqual([
      [4, 2],
      [1, 0],
    ]);
  });

  test("of a job system has no counts, and no sample that is stale or UNKNOWN", async () => {
    await using history = await open();
    const { tracker } = history.opened;
    const observe = (accuracy: "EXACT" | "UNKNOWN", depth: number) =>
      tracker.observe({
        source: "faktory",
        freshForMs: 3_000,
        queues: [
          {
            queue: "q",
            headAgeMs: 5_000,
            uncertaintyMs: 0,
            depth,
            depthIsLowerBound: depth === 8,
            scheduled: 0,
            paused: depth === 8,
            accuracy,
            readAtMs: monotonicClock.now(),
          },
        ],
      });
    const writer = history.openWriter(["faktory/q"]);
    await observe("EXACT", 7);
    for (const second of [0, 1, 4, 5, 6, 7, 12]) {
      history.nowMs = start + second * 1000;
      if (second === 5) await observe("EXACT", 8);
      if (second === 6) await observe("UNKNOWN", 9);
      if (second === 12) await observe("EXACT", 1);
      await writer.look();
    }
    history.nowMs = start + 20_000;
    await observe("EXACT", 1);
    await writer.look();
    const [first] = await history.store.range("faktory/q", "TEN_SECONDS", everything);
    expect(first?.record).toMatchObject({
      samples: 3,
      pausedSamples: 1,
      incompleteSamples: 0,
      lowerBoundSamples: 1,
      maxDepth: 8,
      lastDepth: 8,
      counts: null,
    });
  });

  test("is read again only when it may have changed", async () => {
    await using history = await open();
    const { tracker } = history.opened;
    await tracker.record([event("ENQUEUED", "1")], null);
    const writer = history.openWriter(["q"]);
    writer.sampler.setFeedLive(true);
    await writer.look();
    // No message said so: what is seen is what was known, only older.
    await tracker.record([event("ENQUEUED", "2")], null);
    history.nowMs += 1_000;
    await writer.look();
    writer.sampler.changed("q");
    history.nowMs += 1_000;
    await writer.look();
    await tracker.record([event("ENQUEUED", "3")], null);
    // Now no message comes any more, so everything is read.
    writer.sampler.setFeedLive(false);
    history.nowMs += 1_000;
    await writer.look();
    history.nowMs += 10_000;
    await writer.look();
    const [step] = await history.store.range("q", "TEN_SECONDS", everything);
    expect(step?.record).toMatchObject({ samples: 4, maxLatencyMs: 3_000, maxDepth: 3 });
  });
});

describe("the history", () => {
  test("writes what it could not write while Redis was away, in order", async () => {
    await using opened = await openTracker(inject("redisUrl"));
    const { redis, keys } = opened;
    let isAway = true;
    const failing = new Proxy(redis, {
      get(target, name) {
        if (name === "hmgetBuffer" && isAway) return () => Promise.reject(new Error("Connection is closed."));
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    // Each look, once a second, is in another step.
    let looks = 0;
    const read = async () => [snapshot("q", { state: "WAITING", measuredAtMs: start + looks++ * 10_000 })];
    const history = createHistory({
      ...{
        redis: failing,
        keys,
        choose: async () => ({ names: ["q"], known: 1 }),
        read,
        keptMs,
        maxQueues: 1,
        logger: silentLogger,
      },
      lease: createLease({ redis, keys, name: "/history", logger: silentLogger }),
    });
    await history.start();
    onTestFinished(history.stop);
    await until(() => expect(looks).toBeGreaterThan(3));
    isAway = false;
    const range = { queue: "q", step: "TEN_SECONDS", fromMs: start, toMs: start + hourMs } as const;
    const atSeconds = async () => (await history.read(range)).map(({ atMs }) => (atMs - start) / 1000);
    await expect.poll(async () => (await atSeconds()).length).toBeGreaterThan(3);
    expect((await atSeconds()).slice(0, 4)).toEqual([0, 10, 20, 30]);
  });
});

describe("the history of a process that loses its lease for a moment", () => {
  test("goes on with the step that it was in", async () => {
    await using opened = await openTracker(inject("redisUrl"));
    const { redis, keys } = opened;
    const holds = Array.from({ length: 2 }, () => new AbortController());
    let held = 0;
    const lease: Lease = {
      async acquire() {
        const { signal } = holds[held++] as AbortController;
        return {
          ...{ fence: held, ended: signal, isHeld: () => !signal.aborted },
          ...{ supersede() {}, release: async () => {} },
        };
      },
    };
    let looks = 0;
    const read = async () => {
      looks += 1;
      if (looks === 2) holds[0]?.abort();
      return [
        snapshot("q", { state: "WAITING", measuredAtMs: start + (looks < 4 ? looks : 10_000 * looks) }),
      ];
    };
    const history = createHistory({
      ...{
        redis,
        keys,
        choose: async () => ({ names: ["q"], known: 1 }),
        read,
        keptMs,
        maxQueues: 1,
        logger: silentLogger,
      },
      lease,
    });
    await history.start();
    onTestFinished(history.stop);
    const range = { queue: "q", step: "TEN_SECONDS", fromMs: start, toMs: start + 10_000 } as const;
    await expect.poll(() => history.read(range)).toMatchObject([{ atMs: start, samples: 3 }]);
  });
});

describe("longer steps", () => {
  test("are the sum of the shorter ones, whichever process died in between and wherever there are gaps", async () => {
    const minuteArb = fc.record({
      jobs: fc.array(fc.nat(9), { maxLength: 4 }),
      isSeen: fc.boolean(),
      isTakenOver: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(minuteArb, { minLength: 125, maxLength: 140 }), async (minutes) => {
        await using history = await open();
        const { tracker } = history.opened;
        let writer = history.openWriter(["q"]);
        let serial = 0;
        for (const [minute, { jobs, isSeen, isTakenOver }] of minutes.entries()) {
          history.nowMs = start + minute * 60_000;
          const come = jobs.map(() => `${++serial}`);
          await tracker.record(
            [event("ENQUEUED", `head-${minute}`), ...come.map((id) => event("ENQUEUED", id))],
            null,
          );
          for (const second of isSeen ? [3, 17, 42] : [17]) {
            history.nowMs = start + minute * 60_000 + second * 1000;
            if (second === 17)
              await tracker.record(
                come.map((id) => event("DEQUEUED", id)),
                null,
              );
            writer.sampler.changed("q");
            if (isSeen) await writer.look();
          }
          if (isTakenOver) writer = history.openWriter(["q"]);
        }
        for (let step = 1; step <= 7; step++) {
          history.nowMs = start + minutes.length * 60_000 + step * 10_000;
          await writer.look();
        }
        const steps = async (step: HistoryStep) => history.store.range("q", step, everything);
        for (const [shorter, longer] of [
          ["TEN_SECONDS", "ONE_MINUTE"],
          ["ONE_MINUTE", "ONE_HOUR"],
        ] as const) {
          const longerMs = stepSeconds[longer] * 1000;
          const end = history.nowMs - 10_000 - ((history.nowMs - 10_000) % longerMs);
          const over = (await steps(shorter)).filter(({ atMs }) => atMs < end);
          const expected = [...Map.groupBy(over, ({ atMs }) => atMs - (atMs % longerMs))].map(
            ([atMs, merged]) => ({ atMs, record: mergeRecords(merged.map(({ record }) => record)) }),
          );
          expect(await steps(longer)).toEqual(expected);
        }
        const hours = await steps("ONE_HOUR");
        expect(hours.length).toBe(2);
      }),
      { numRuns: 5 },
    );
  });
});

describe("what is kept", () => {
  test("of each length of step is dropped when its time is over", async () => {
    await using history = await open();
    const { store, opened } = history;
    const record: StepRecord = {
      samples: 1,
      waitingSamples: 0,
      pausedSamples: 0,
      incompleteSamples: 0,
      maxLatencyMs: 0,
      sumLatencyMs: 0,
      lastLatencyMs: 0,
      maxDepth: 0,
      lastDepth: 0,
      counts: null,
    };
    for (const [step, keeps] of [
      ["TEN_SECONDS", 2_160],
      ["ONE_MINUTE", 2_880],
      ["ONE_HOUR", 2_160],
    ] as const) {
      for (let from = 0; from < 5_000; from += 500) {
        await Promise.all(
          Array.from({ length: 500 }, (_, i) =>
            store.append("q", step, { atMs: start + (from + i) * stepSeconds[step] * 1000, record }),
          ),
        );
      }
      const kept = await store.range("q", step, everything);
      // Redis evicts blocks of a hundred at once.
      expect(kept.length).toBeGreaterThanOrEqual(keeps);
      expect(kept.length).toBeLessThanOrEqual(keeps + 101);
      expect(kept.at(-1)?.atMs).toBe(start + 4_999 * stepSeconds[step] * 1000);
      const ttl = await opened.redis.pttl(opened.keys.history("q", step));
      expect(ttl).toBeGreaterThan(keeps * stepSeconds[step] * 1000 - 60_000);
    }
  });

  test("is what was written first", async () => {
    await using history = await open();
    const record = (samples: number): StepRecord => ({
      samples,
      waitingSamples: 0,
      pausedSamples: 0,
      incompleteSamples: 0,
      maxLatencyMs: 0,
      sumLatencyMs: 0,
      lastLatencyMs: 0,
      maxDepth: 0,
      lastDepth: 0,
      counts: null,
    });
    await history.store.append("q", "TEN_SECONDS", { atMs: start, record: record(10) });
    await history.store.append("q", "TEN_SECONDS", { atMs: start, record: record(3) });
    await history.store.append("q", "TEN_SECONDS", { atMs: start - 10_000, record: record(3) });
    const steps = await history.store.range("q", "TEN_SECONDS", everything);
    expect(steps).toEqual([{ atMs: start, record: record(10) }]);
  });

  test("can be forgotten, all of it and of one queue only", async () => {
    await using history = await open();
    const { tracker } = history.opened;
    const queues = ["q", "other"];
    await tracker.record(
      queues.map((queue) => event("ENQUEUED", "1", { queue })),
      null,
    );
    const writer = history.openWriter(queues);
    for (let step = 0; step <= 361; step += 1) {
      history.nowMs = start + step * 10_000;
      await writer.look();
    }
    const lengths = (queue: string) =>
      Promise.all(
        historySteps.map(async (step) => (await history.store.range(queue, step, everything)).length),
      );
    expect(await lengths("q")).toEqual([361, 60, 1]);
    await history.store.forget("q");
    expect(await lengths("q")).toEqual([0, 0, 0]);
    expect(await lengths("other")).toEqual([361, 60, 1]);
  });
});
