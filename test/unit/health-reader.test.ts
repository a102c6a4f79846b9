import { graphql } from "graphql";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { Context } from "../../src/api/context.ts";
import { schema } from "../../src/api/schema.ts";
import { AppError } from "../../src/core/errors.ts";
import type { HistoryPoint } from "../../src/core/history.ts";
import type { QueueSnapshot, SnapshotParts } from "../../src/core/snapshot.ts";
import { createHealthReader, type HealthReader } from "../../src/health/health-reader.ts";
import { nowMs, snapshotOf, stepsOf } from "../support/step-sketch.ts";

const stuck = stepsOf((step, endsAt) => ({ depth: 10 + step, ageSeconds: 100 + endsAt, enqueued: 1 }));
const stuckNow = snapshotOf(40, 400);

describe("the reader of health", () => {
  let points: Readonly<Record<string, HistoryPoint[]>>;
  let clockMs: number;
  let reader: HealthReader;
  const latest = vi.fn(async (queues: readonly string[], _sinceMs: number) =>
    queues.map((queue) => points[queue] ?? []),
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
