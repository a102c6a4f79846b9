import { describe, expect, test } from "vitest";
import { nextStep, type Step } from "../../src/alerts/alert-state-machine.ts";
import { evaluateCondition, type Verdict } from "../../src/alerts/evaluate-condition.ts";
import type { Condition } from "../../src/core/alert-rules.ts";
import type { Health } from "../../src/core/health.ts";
import type { QueueSnapshot, WaitTime } from "../../src/core/snapshot.ts";

const now = 1_790_000_000_000;
const snapshot: QueueSnapshot = {
  ...{ queue: "q", source: "events", state: "WAITING", oldestSinceMs: now - 60_000, latencyMs: 60_000 },
  ...{ depth: 5, scheduled: 0, lost: 0, accuracy: "EXACT", measuredAtMs: now, stale: false },
  ...{ changesAtMs: null, clockSkewMs: null, throughput: null, waitTime: null },
};
const waits = (of: Partial<WaitTime>) => ({
  FIVE_MINUTES: { count: 10, mean: 1, p50: 1, p95: 1, p99: 1, max: 1, ...of },
});
const late: Condition = { subject: "latency", above: 60, resolveBelow: 20 };
const deep: Condition = { subject: "depth", above: 4, resolveBelow: null };
const slow: Condition = { subject: "p95", above: 10, resolveBelow: 5 };
const lateInOrder: Condition = { subject: "in_order_latency", above: 30, resolveBelow: null };
const overtaken: Condition = { subject: "overtaken", above: 0, resolveBelow: null };
const ill: Condition = { subject: "health", among: ["STALLED", "SLOW"] };
const unknown: Condition = { subject: "unknown" };

describe("a rule says", () => {
  const rows: readonly {
    condition: Condition;
    of: Partial<QueueSnapshot>;
    health?: Health;
    verdict: Verdict;
    value?: number;
    why: string;
  }[] = [
    { condition: late, of: { latencyMs: 60_001 }, verdict: "TRUE", value: 60.001, why: "above is above" },
    {
      condition: late,
      of: {},
      verdict: "IN_HYSTERESIS",
      value: 60,
      why: "as much as the threshold is not above it",
    },
    {
      condition: late,
      of: { latencyMs: 20_000 },
      verdict: "IN_HYSTERESIS",
      value: 20,
      why: "as much as the lower one is not below it",
    },
    {
      condition: late,
      of: { latencyMs: 19_999 },
      verdict: "FALSE",
      value: 19.999,
      why: "below the lower one it is over",
    },
    { condition: deep, of: {}, verdict: "TRUE", value: 5, why: "jobs are counted" },
    {
      condition: deep,
      of: { depth: 4 },
      verdict: "FALSE",
      value: 4,
      why: "with no lower threshold, what is not above is over",
    },
    {
      condition: late,
      of: { state: "MISSING", accuracy: "UNKNOWN" },
      verdict: "QUEUE_MISSING",
      why: "a queue that is not there is neither late nor unknown",
    },
    {
      condition: unknown,
      of: { state: "MISSING", accuracy: "UNKNOWN" },
      verdict: "QUEUE_MISSING",
      why: "the same for the rule that is ours",
    },
    {
      condition: late,
      of: { latencyMs: 99_000, stale: true },
      verdict: "NO_DATA",
      why: "the last reading of a source that is silent proves nothing",
    },
    {
      condition: late,
      of: { latencyMs: 0, stale: true },
      verdict: "NO_DATA",
      why: "nor does it prove that all is well",
    },
    {
      condition: late,
      of: { latencyMs: null, accuracy: "UNKNOWN" },
      verdict: "NO_DATA",
      why: "the latency is not known",
    },
    {
      condition: deep,
      of: { depth: null },
      verdict: "NO_DATA",
      why: "the source does not report the depth",
    },
    {
      condition: deep,
      of: { accuracy: "UNKNOWN" },
      verdict: "NO_DATA",
      why: "events were missed, so the depth may be wrong, too",
    },
    {
      condition: late,
      of: { latencyMs: 99_000, accuracy: "ESTIMATED" },
      verdict: "TRUE",
      value: 99,
      why: "a clock that is a little off is good enough",
    },
    {
      condition: late,
      of: { latencyMs: 99_000, accuracy: "LOWER_BOUND" },
      verdict: "TRUE",
      value: 99,
      why: "at least as late is late",
    },
    {
      condition: deep,
      of: { depth: 3, depthIsLowerBound: true },
      verdict: "IN_HYSTERESIS",
      value: 3,
      why: "perhaps more jobs wait than were counted",
    },
    {
      condition: deep,
      of: { depth: 5, depthIsLowerBound: true },
      verdict: "TRUE",
      value: 5,
      why: "at least as deep is deep",
    },
    {
      condition: late,
      of: { latencyMs: 0, accuracy: "LOWER_BOUND" },
      verdict: "IN_HYSTERESIS",
      value: 0,
      why: "perhaps it is later than that",
    },
    {
      condition: late,
      of: { latencyMs: 99_000, accuracy: "INCOMPLETE" },
      verdict: "TRUE",
      value: 99,
      why: "after a loss a false alarm is better than none for as long as MAX_WAIT",
    },
    {
      condition: late,
      of: { latencyMs: 0, accuracy: "INCOMPLETE" },
      verdict: "IN_HYSTERESIS",
      value: 0,
      why: "a late job may wait that was lost",
    },
    {
      condition: late,
      of: { latencyMs: 99_000, state: "PAUSED" },
      verdict: "PAUSED",
      why: "it waits on purpose",
    },
    {
      condition: late,
      of: { state: "PAUSED", stale: true },
      verdict: "NO_DATA",
      why: "whether it is still paused is not known",
    },
    {
      condition: slow,
      of: { waitTime: waits({ p95: 11 }) },
      verdict: "TRUE",
      value: 11,
      why: "the percentile that is named",
    },
    {
      condition: slow,
      of: { waitTime: waits({ p95: 7, p99: 99 }) },
      verdict: "IN_HYSTERESIS",
      value: 7,
      why: "and no other",
    },
    {
      condition: slow,
      of: { waitTime: waits({ count: 0, p95: 0 }) },
      verdict: "NO_DATA",
      why: "nothing was dequeued though jobs wait: that is no good time",
    },
    {
      condition: slow,
      of: { state: "EMPTY", waitTime: waits({ count: 0, p95: 0 }) },
      verdict: "FALSE",
      value: 0,
      why: "nothing was dequeued, for no job waits",
    },
    { condition: slow, of: {}, verdict: "NO_DATA", why: "this source does not report it" },
    {
      condition: lateInOrder,
      of: { overtaken: 2, inOrderSinceMs: now - 31_000 },
      verdict: "TRUE",
      value: 31,
      why: "the jobs that are served in order are late",
    },
    {
      condition: lateInOrder,
      of: { overtaken: 2, inOrderSinceMs: now - 4_000 },
      verdict: "FALSE",
      value: 4,
      why: "only jobs that were overtaken are late",
    },
    {
      condition: lateInOrder,
      of: { overtaken: 5, inOrderSinceMs: null },
      verdict: "FALSE",
      value: 0,
      why: "no job waits but those that were overtaken",
    },
    {
      condition: lateInOrder,
      of: { overtaken: 0, inOrderSinceMs: now - 60_000 },
      verdict: "TRUE",
      value: 60,
      why: "with no job overtaken the head is the oldest in order",
    },
    {
      condition: lateInOrder,
      of: {},
      verdict: "TRUE",
      value: 60,
      why: "where that is not known, the head may be in order",
    },
    {
      condition: lateInOrder,
      of: { overtaken: 1, inOrderSinceMs: now, accuracy: "LOWER_BOUND" },
      verdict: "IN_HYSTERESIS",
      value: 0,
      why: "perhaps an older job is in order",
    },
    {
      condition: lateInOrder,
      of: { overtaken: 1, inOrderSinceMs: now - 99_000, stale: true },
      verdict: "NO_DATA",
      why: "how old it is now is not known",
    },
    {
      condition: overtaken,
      of: { overtaken: 1, inOrderSinceMs: null },
      verdict: "TRUE",
      value: 1,
      why: "one is left behind",
    },
    {
      condition: overtaken,
      of: { overtaken: 0, inOrderSinceMs: null },
      verdict: "FALSE",
      value: 0,
      why: "none is left behind",
    },
    { condition: overtaken, of: {}, verdict: "NO_DATA", why: "whether one is, this source does not report" },
    { condition: ill, of: {}, health: "SLOW", verdict: "TRUE", why: "any of those that are named" },
    {
      condition: ill,
      of: {},
      health: "FALLING_BEHIND",
      verdict: "FALSE",
      why: "another illness is not this one",
    },
    { condition: ill, of: {}, health: "UNKNOWN", verdict: "NO_DATA", why: "too little is known" },
    {
      condition: ill,
      of: { state: "PAUSED" },
      health: "OK",
      verdict: "PAUSED",
      why: "that it is not ill while it is paused resolves nothing",
    },
    { condition: unknown, of: { stale: true }, verdict: "TRUE", why: "silence is an alert of its own" },
    {
      condition: unknown,
      of: { accuracy: "UNKNOWN" },
      verdict: "TRUE",
      why: "so is a number that is not certain",
    },
    {
      condition: unknown,
      of: { accuracy: "UNKNOWN", state: "PAUSED" },
      verdict: "FALSE",
      why: "while it is paused it is not needed",
    },
    {
      condition: unknown,
      of: { stale: true, state: "PAUSED" },
      verdict: "TRUE",
      why: "but a source that is silent may not be paused any more",
    },
    { condition: unknown, of: { accuracy: "LOWER_BOUND" }, verdict: "FALSE", why: "something is known" },
  ];
  test.each(rows)("$verdict: $why", ({ condition, of, health = "OK", verdict, value = null }) => {
    expect(evaluateCondition(condition, { ...snapshot, ...of }, health)).toEqual({ verdict, value });
  });
});

describe("an alert", () => {
  const forMs = 30_000;
  const pending = (agoMs: number) => ({ state: "PENDING" as const, sinceMs: now - agoMs });
  const firing = { state: "FIRING" as const, sinceMs: now - 60_000 };
  const rows: readonly { from: Parameters<typeof nextStep>[0]; verdict: Verdict; step: Step; why: string }[] =
    [
      { from: null, verdict: "TRUE", step: "BEGIN", why: "the condition was seen for the first time" },
      {
        from: null,
        verdict: "IN_HYSTERESIS",
        step: "STAY",
        why: "the lower threshold only keeps what fires",
      },
      { from: null, verdict: "NO_DATA", step: "STAY", why: "nothing begins on stale data" },
      { from: null, verdict: "PAUSED", step: "STAY", why: "nor while it is paused" },
      { from: null, verdict: "QUEUE_MISSING", step: "STAY", why: "nor of a queue that is not there" },
      { from: pending(29_999), verdict: "TRUE", step: "STAY", why: "not for long enough" },
      { from: pending(30_000), verdict: "TRUE", step: "FIRE", why: "for as long as the rule says" },
      { from: pending(-5_000), verdict: "TRUE", step: "STAY", why: "Redis's clock was set back" },
      { from: pending(29_999), verdict: "FALSE", step: "END", why: "it was over before it fired" },
      {
        from: pending(30_000),
        verdict: "IN_HYSTERESIS",
        step: "END",
        why: "it is not above its threshold any more",
      },
      {
        from: pending(99_000),
        verdict: "NO_DATA",
        step: "STAY",
        why: "nothing fires on stale data, and nothing is forgotten for it",
      },
      {
        from: pending(99_000),
        verdict: "PAUSED",
        step: "END",
        why: "it has its whole time again after the pause",
      },
      { from: pending(99_000), verdict: "QUEUE_MISSING", step: "END", why: "there is no queue to be late" },
      { from: firing, verdict: "TRUE", step: "STAY", why: "it is sent once" },
      { from: firing, verdict: "IN_HYSTERESIS", step: "STAY", why: "it is not below the lower threshold" },
      { from: firing, verdict: "FALSE", step: "RESOLVE", why: "it is over" },
      { from: firing, verdict: "NO_DATA", step: "STAY", why: "stale data resolves nothing" },
      { from: firing, verdict: "PAUSED", step: "STAY", why: "a pause mends nothing" },
      {
        from: firing,
        verdict: "QUEUE_MISSING",
        step: "RESOLVE",
        why: "no job waits in a queue that is gone",
      },
    ];
  test.each(rows)("$from.state with $verdict: $step, for $why", ({ from, verdict, step }) => {
    expect(nextStep(from, verdict, forMs, now)).toBe(step);
  });

  test("of a rule with no `for` fires as soon as it was seen to be pending", () => {
    expect(nextStep({ state: "PENDING", sinceMs: now }, "TRUE", 0, now)).toBe("FIRE");
  });
});
