import { graphql } from "graphql";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { Context } from "../../src/api/context.ts";
import { schema } from "../../src/api/schema.ts";
import { AppError } from "../../src/core/errors.ts";
import type { HistoryPoint } from "../../src/core/history.ts";
import { ageSnapshot, type QueueSnapshot, type SnapshotParts } from "../../src/core/snapshot.ts";
import { createHealthReader, type HealthReader } from "../../src/health/health-reader.ts";
import { nowMs, pointOf, snapshotOf, stepsOf } from "../support/step-sketch.ts";

const stuck = stepsOf((step, endsAt) => ({ depth: 10 + step, ageSeconds: 100 + endsAt, enqueued: 1 }));
const stuckNow = snapshotOf(40, 400);

describe("the reader of health", () => {
  let points: Readonly<Record<string, HistoryPoint[]>>;
  let clockMs: number;
  let reader: HealthReader;
  const latest = vi.fn(async (queues: readonly string[], sinceMs: number, max?: number) =>
    queues.map((queue) =>
      (points[queue] ?? []).filter(({ atMs }) => atMs >= sinceMs).slice(-(max ?? Number.POSITIVE_INFINITY)),
    ),
  );

  beforeEach(() => {
    latest.mockClear();
    points = { mail: stuck };
    clockMs = 0;
    reader = createHealthReader({
      history: { latest },
      objectiveMsOf: (queue) => (queue === "mail" ? 30_000 : null),
      clock: { now: () => clockMs },
    });
  });

  test("computes health and forecast from one reading of the last five minutes", async () => {
    const [healths, forecast] = await Promise.all([reader.healthOf([stuckNow]), reader.forecastOf(stuckNow)]);
    expect(healths).toEqual(["STALLED"]);
    expect(forecast).toMatchObject({ unstable: true, drainSeconds: null });
    expect(latest.mock.calls).toEqual([[["mail"], nowMs - 300_000]]);
  });

  test("reads once in five seconds for all clients, and again after that", async () => {
    await reader.healthOf([stuckNow]);
    clockMs = 4_999;
    await reader.healthOf([stuckNow]);
    expect(latest).toHaveBeenCalledTimes(1);
    clockMs = 5_000;
    await reader.healthOf([stuckNow]);
    expect(latest).toHaveBeenCalledTimes(2);
  });

  test("reads again only what came since the last step that it knows", async () => {
    const [earlier, last] = [stuck.slice(0, -1), stuck.at(-1) ?? expect.unreachable()];
    points = { mail: earlier };
    await reader.healthOf([stuckNow]);
    points = { mail: stuck };
    clockMs = 5_000;
    expect(await reader.healthOf([stuckNow])).toEqual(["STALLED"]);
    expect(latest.mock.lastCall).toEqual([["mail"], earlier.at(-1)?.atMs]);
    // Forgotten, and known again: none of the steps before count any more.
    points = { mail: [{ ...last, atMs: last.atMs + 10_000 }] };
    clockMs = 10_000;
    expect(await reader.healthOf([stuckNow])).toEqual(["SLOW"]);
    expect(latest.mock.lastCall).toEqual([["mail"], nowMs - 300_000]);
  });

  test("keeps no steps for long that are not needed", async () => {
    await reader.healthOf([stuckNow]);
    clockMs = 60_000;
    await reader.healthOf([{ ...stuckNow, queue: "other" }, stuckNow]);
    expect(latest.mock.lastCall).toEqual([["mail"], nowMs - 300_000]);
  });

  test("answers in the order asked, each by its own objective and history", async () => {
    const late = snapshotOf(1, 100, { queue: "late" });
    const asked = [snapshotOf(1, 100), late, { ...late, queue: "mail", state: "EMPTY" as const }];
    points = {};
    expect(await reader.healthOf(asked)).toEqual(["SLOW", "UNKNOWN", "OK"]);
  });

  test("does not read what makes no difference", async () => {
    const asked = [
      snapshotOf(0, 0, { state: "MISSING", accuracy: "UNKNOWN" }),
      snapshotOf(0, 0),
      snapshotOf(4, 400, { state: "PAUSED" }),
      { ...stuckNow, stale: true },
    ];
    expect(await reader.healthOf(asked)).toEqual(["UNKNOWN", "OK", "OK", "UNKNOWN"]);
    expect(await reader.forecastOf({ ...stuckNow, stale: true })).toBeNull();
    expect(latest).not.toHaveBeenCalled();
  });

  test("reports no queue as worse than SLOW when the history cannot be read, and tries again at once", async () => {
    const away = new AppError("SERVICE_UNAVAILABLE", "Redis does not answer");
    latest.mockRejectedValueOnce(away).mockRejectedValueOnce(away);
    const other = { ...stuckNow, queue: "other" };
    expect(await reader.healthOf([stuckNow, other])).toEqual(["SLOW", "UNKNOWN"]);
    expect(await reader.healthOf([stuckNow])).toEqual(["STALLED"]);
  });

  test("does not hide what is no outage", async () => {
    latest.mockRejectedValueOnce(new Error("a mistake of ours"));
    await expect(reader.healthOf([stuckNow])).rejects.toThrow("a mistake of ours");
    latest.mockRejectedValueOnce(new AppError("BAD_USER_INPUT", "another one"));
    await expect(reader.healthOf([stuckNow])).rejects.toThrow("another one");
  });

  describe("of all queues", () => {
    const readingOf = (snapshots: readonly QueueSnapshot[], laterMs = 0) => ({
      snapshots,
      agedAt: (index: number) =>
        ageSnapshot(snapshots[index] ?? expect.unreachable(), stuckNow.measuredAtMs + laterMs),
    });
    const empty = snapshotOf(0, 0, { queue: "empty" });
    const other = snapshotOf(4, 20, { queue: "mail", oldestSinceMs: nowMs - 20_000 });
    /** The queues of which steps were read, and how many at most. */
    const readsOf = () => latest.mock.calls.splice(0).map(([[queue], , max]) => [queue, max]);
    const lively = stepsOf(() => ({ depth: 4, ageSeconds: 1, waiting: 6, enqueued: 10, dequeued: 10 }));

    test("is computed once for all who ask about the same reading", async () => {
      points = { mail: stuck, other: lively };
      const reading = readingOf([stuckNow, { ...stuckNow, queue: "other" }, empty]);
      const [first, second] = await Promise.all([reader.healthOfAll(reading), reader.healthOfAll(reading)]);
      expect(first).toEqual(["STALLED", "OK", "OK"]);
      expect(second).toBe(first);
      const newest = [
        ["mail", 3],
        ["other", 3],
      ];
      expect(readsOf(), "the steps before decide nothing of a queue that had no waiting job").toEqual([
        ...newest,
        ["mail", undefined],
      ]);
    });

    test("reads no history again within a step of a queue that did not change, and that of one that did", async () => {
      const unchanged = { ...stuckNow, queue: "unchanged" };
      points = { mail: stuck, unchanged: lively };
      await reader.healthOfAll(readingOf([stuckNow, unchanged]));
      latest.mockClear();
      clockMs = 6_000;
      await reader.healthOfAll(readingOf([{ ...stuckNow, depth: 41 }, unchanged], 6_000));
      expect(latest.mock.calls.map(([[queue]]) => queue)).toEqual(["mail"]);
      clockMs = 10_000;
      await reader.healthOfAll(readingOf([unchanged], 10_000));
      expect(latest.mock.calls.map(([[queue]]) => queue)).toEqual(["mail", "unchanged"]);
    });

    test("reads all steps of a queue as soon as the newest do not decide any more", async () => {
      const queue = "other";
      const busy = pointOf(0, { depth: 4, waiting: 10 });
      const steps = [
        ...lively,
        ...Array.from({ length: 11 }, (_, i) => ({ ...busy, atMs: nowMs + i * 10_000 })),
      ];
      const healthAt = async (laterMs: number) => {
        clockMs = laterMs;
        points = { other: steps.filter(({ atMs }) => atMs + 10_000 <= nowMs + laterMs) };
        const [health] = await reader.healthOfAll(readingOf([{ ...other, queue }], laterMs));
        return health;
      };
      expect(await healthAt(0)).toBe("OK");
      expect(readsOf()).toEqual([[queue, 3]]);
      expect(await healthAt(50_000), "a step of its last third still decides").toBe("OK");
      expect(readsOf(), "only what is new").toEqual([[queue, undefined]]);
      expect(await healthAt(100_000)).toBe("OK");
      expect(latest.mock.calls.map(([, sinceMs]) => sinceMs)).toEqual([
        steps.findLast(({ atMs }) => atMs < nowMs + 50_000)?.atMs,
        nowMs + 100_000 - 300_000,
      ]);
    });

    test("reads the steps that are missing when a forecast needs them, and keeps them for both", async () => {
      points = { mail: lively };
      const newest = Promise.withResolvers<HistoryPoint[][]>();
      latest.mockImplementationOnce(() => newest.promise);
      const healths = reader.healthOfAll(readingOf([other]));
      await vi.waitFor(() => expect(latest).toHaveBeenCalledOnce());
      const forecast = reader.forecastOf(other);
      newest.resolve([lively.slice(-3)]);
      expect(await healths).toEqual(["OK"]);
      await forecast;
      expect(readsOf()).toEqual([
        ["mail", 3],
        ["mail", undefined],
      ]);
      expect(await reader.healthOfAll(readingOf([{ ...other, depth: 5 }]))).toEqual(["OK"]);
      expect(await reader.forecastOf(other)).toEqual(await forecast);
      expect(readsOf()).toEqual([]);
    });

    test.each([2, 0])(
      "is not decided by %i steps where three were asked for: one may have been unreadable",
      async (count) => {
        points = { mail: stuck };
        latest.mockImplementationOnce(async () => [stuck.slice(stuck.length - count)]);
        expect(await reader.healthOfAll(readingOf([stuckNow]))).toEqual(["STALLED"]);
      },
    );

    test("is SLOW as soon as the head is older than the objective", async () => {
      points = {};
      expect(await reader.healthOfAll(readingOf([other]))).toEqual(["UNKNOWN"]);
      clockMs = 10_001;
      expect(await reader.healthOfAll(readingOf([other], 10_001))).toEqual(["SLOW"]);
    });

    test("lets the event loop turn between thousands of queues", async () => {
      const many = Array.from({ length: 5_000 }, (_, i) => ({ ...stuckNow, queue: `q${i}` }));
      points = Object.fromEntries(many.map(({ queue }) => [queue, stuck]));
      let turns = 0;
      let isOver = false;
      const turn = () => {
        turns++;
        if (!isOver) setImmediate(turn);
      };
      setImmediate(turn);
      const healths = await reader.healthOfAll(readingOf(many));
      isOver = true;
      expect(new Set(healths)).toEqual(new Set(["STALLED"]));
      expect(turns).toBeGreaterThan(10);
    });
  });

  describe("asked through the schema", () => {
    const read = vi.fn(
      async (queues: readonly string[], { depth }: SnapshotParts): Promise<QueueSnapshot[]> =>
        queues.map((queue) => ({ ...stuckNow, queue, depth: depth ? stuckNow.depth : 0 })),
    );
    async function ask(selection: string) {
      const context = {
        limits: { maxQueues: 10, maxEvents: 1, sources: [] },
        tracker: { read },
        health: reader,
      };
      const { data, errors } = await graphql({
        schema,
        source: `{ queueLatency(queues: ["mail", "other"]) { ${selection} } }`,
        contextValue: context as unknown as Context,
      });
      expect(errors).toBeUndefined();
      return (data as { readonly queueLatency: readonly unknown[] }).queueLatency;
    }

    test.each([
      { selection: "health", expected: [{ health: "STALLED" }, { health: "UNKNOWN" }] },
      { selection: "objective", expected: [{ objective: 30 }, { objective: null }] },
      {
        selection: "forecast { unstable drainSeconds { low } breachSeconds { low likely high } }",
        expected: [
          { forecast: { unstable: true, drainSeconds: null, breachSeconds: { low: 0, likely: 0, high: 0 } } },
          { forecast: { unstable: false, drainSeconds: null, breachSeconds: null } },
        ],
      },
    ])("$selection has its value, with the depth that it needs", async ({ selection, expected }) => {
      expect(await ask(selection)).toEqual(expected);
      expect(read.mock.lastCall?.[1].depth).toBe(selection !== "objective");
    });
  });
});
