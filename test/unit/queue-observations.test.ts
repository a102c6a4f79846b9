import { expect, test, vi } from "vitest";
import { createQueueObservations } from "../../src/alerts/queue-observations.ts";
import type { AlertRule } from "../../src/core/alert-rules.ts";
import type { QueueSnapshot, SnapshotParts } from "../../src/core/snapshot.ts";
import { parseAlertRules } from "../../src/settings/parse-alert-rules.ts";
import { snapshot } from "../support/live.ts";
import { recordingLogger } from "../support/logger.ts";

const rules = parseAlertRules(`rules:
  - { name: Late, queues: "*", latency_above: 1 }
  - { name: Slow, queues: "*", p95_above: 1 }
  - { name: Ill, queues: "*", health: SLOW }
  - { name: Behind, queues: "*", overtaken_above: 0 }`);
const [late, slow, ill, behind] = rules as unknown as readonly [AlertRule, AlertRule, AlertRule, AlertRule];

function open(rest: Partial<QueueSnapshot> = {}) {
  const read = vi.fn(async ([queue = ""]: readonly string[], _parts: SnapshotParts) => [
    snapshot(queue, { state: "WAITING", ...rest }),
  ]);
  const healthOf = vi.fn(async (snapshots: readonly QueueSnapshot[]) => snapshots.map(() => "SLOW" as const));
  const logger = recordingLogger();
  return {
    ...createQueueObservations({ read, healthOf }, logger),
    read,
    healthOf,
    logger,
  };
}

test("reads no more of a queue than its rules need", async () => {
  const { observe, read, healthOf } = open();
  const queues = [late, slow, ill].map((rule) => ({ queue: rule.name, rules: [rule] }));
  const seen = await observe(queues, ({ queue }) => queue === "Slow", 1);
  const waitsOf = (queue: string) => [...read.mock.calls.find(([[name]]) => name === queue)![1].waitTime];
  expect(["Late", "Slow", "Ill"].map(waitsOf)).toEqual([[], ["FIVE_MINUTES"], []]);
  expect(read.mock.calls.every(([, { throughput, scheduled }]) => throughput.size === 0 && !scheduled)).toBe(
    true,
  );
  const asked = healthOf.mock.calls.flatMap(([snapshots]) => snapshots.map(({ queue }) => queue));
  expect(asked).toEqual(["Slow", "Ill"]);
  expect(seen.map(({ health }) => health)).toEqual(["UNKNOWN", "SLOW", "SLOW"]);
});

test("warns once for each source that reports no wait times, since a rule can never fire there", async () => {
  const { observe, evaluate, logger } = open({ source: "faktory", waitTime: null });
  for (const nowMs of [0, 120_000, 240_000]) {
    for (const seen of await observe(
      [
        { queue: "a", rules: [slow, late] },
        { queue: "b", rules: [slow] },
      ],
      () => false,
      1,
    )) {
      for (const rule of seen.rules) evaluate(seen, rule, nowMs);
    }
  }
  expect(logger.lines).toMatchObject([{ level: "warn", fields: { rule: "Slow", source: "faktory" } }]);
});

test.each<{ of: Partial<QueueSnapshot>; warnings: number; why: string }>([
  { of: {}, warnings: 1, why: "the source never reports them" },
  { of: { overtaken: 0, inOrderSinceMs: null }, warnings: 0, why: "it reports that there are none" },
  { of: { accuracy: "UNKNOWN", latencyMs: null }, warnings: 0, why: "it may report them later" },
  { of: { source: null, state: "MISSING", accuracy: "UNKNOWN" }, warnings: 0, why: "there is no source" },
])("warns $warnings times of a rule about overtaken jobs: $why", async ({ of, warnings }) => {
  const { observe, evaluate, logger } = open({ source: "sidekiq", ...of });
  for (const [queue, nowMs] of [
    ["a", 0],
    ["b", 120_000],
  ] as const) {
    for (const seen of await observe([{ queue, rules: [behind] }], () => false, 1))
      evaluate(seen, behind, nowMs);
  }
  expect(logger.lines.filter(({ level }) => level === "warn")).toHaveLength(warnings);
});

const reported: Partial<QueueSnapshot> = { overtaken: 0, inOrderSinceMs: null };
const unknown: Partial<QueueSnapshot> = { accuracy: "UNKNOWN", latencyMs: null };

test.each<{
  seen: readonly (readonly [atMs: number, of: Partial<QueueSnapshot>])[];
  why: string;
  warnings: number;
}>([
  {
    seen: [
      [0, {}],
      [119_999, {}],
    ],
    warnings: 0,
    why: "the source has not been read often enough",
  },
  {
    seen: [
      [0, {}],
      [60_000, reported],
      [120_000, {}],
    ],
    warnings: 0,
    why: "the source reported them meanwhile",
  },
  {
    seen: [
      [0, {}],
      [60_000, unknown],
      [120_000, {}],
    ],
    warnings: 1,
    why: "it was not known meanwhile",
  },
  {
    seen: [
      [0, {}],
      [120_000, {}],
      [240_000, {}],
    ],
    warnings: 1,
    why: "once is enough",
  },
])("warns $warnings times of what a source reports late or not at all: $why", async ({ seen, warnings }) => {
  const { evaluate, logger } = open();
  for (const [atMs, of] of seen) {
    const one = snapshot("a", { state: "WAITING", source: "postgres", ...of });
    evaluate({ queue: "a", rules: [behind], snapshot: one, health: "UNKNOWN" }, behind, atMs);
  }
  expect(logger.lines.filter(({ level }) => level === "warn")).toHaveLength(warnings);
});

test("a queue whose health cannot be determined is UNKNOWN, and the others are not", async () => {
  const { observe, healthOf } = open();
  healthOf.mockImplementation(async (snapshots) => {
    if (snapshots.some(({ queue }) => queue === "a"))
      throw new Error("a foreign key is in the place of its history");
    return snapshots.map(() => "SLOW");
  });
  const queues = ["a", "b"].map((queue) => ({ queue, rules: [ill] }));
  const seen = await observe(queues, () => false, 1);
  expect(seen.map(({ health }) => health)).toEqual(["UNKNOWN", "SLOW"]);
});
