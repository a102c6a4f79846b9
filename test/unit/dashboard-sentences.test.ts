import { describe, expect, test } from "vitest";
import { explainCondition, explainEnd, explainFacts } from "../../src/dashboard/alerts/explain-alert.ts";
import { explainStatus } from "../../src/dashboard/alerts/explain-status.ts";
import { formatTime } from "../../src/dashboard/format/instant.ts";
import { ApiError, advice } from "../../src/dashboard/graphql/api-error.ts";
import {
  type ExplainedQueue,
  explainForecast,
  explainHealth,
} from "../../src/dashboard/queue/explain-health.ts";
import { explainSigns } from "../../src/dashboard/queue/explain-signs.ts";

const measuredAt = "2026-11-23T12:00:00.000Z";
const forecast = { unstable: false, drainSeconds: null, breachSeconds: null, capacityRatio: null };
const queue: ExplainedQueue = {
  ...{ source: "events", state: "WAITING", accuracy: "EXACT", stale: false, health: "OK" },
  ...{ latency: 3, depth: 5, objective: 20, measuredAt, forecast },
  throughput: { enqueuedPerSecond: 6, dequeuedPerSecond: 4 },
};
const unknown = { health: "UNKNOWN", accuracy: "UNKNOWN", latency: null } as const;

describe("what to do about an error", () => {
  test.each([
    ["NETWORK", {}, "tries again by itself", "Try again when it does"],
    ["THROTTLED", { retryAfterSeconds: 2.1 }, "The dashboard asks again in 3 s", "Try again in 3 s"],
    ["SERVICE_UNAVAILABLE", {}, "The dashboard asks again in a moment", "Try again in a moment"],
  ])("%s: whether the dashboard asks again", (code, extensions, repeated, once) => {
    const error = new ApiError(code, "no answer", extensions);
    expect(advice(error, true)).toContain(repeated);
    expect(advice(error, false)).toContain(once);
    expect(advice(error, false)).not.toContain("dashboard");
  });
});

describe("the signs beside the numbers", () => {
  const waitTime = { count: 3, isUpperBound: false };
  const sql = { ...queue, waitTime, source: "sql" };
  test.each<[why: string, rest: Partial<Parameters<typeof explainSigns>[0]>, sentences: readonly RegExp[]]>([
    ["need no words where there are none", {}, []],
    [
      "are those of an age by another clock",
      { accuracy: "ESTIMATED" },
      [/^≈ about: .* clock that may be off/],
    ],
    [
      "are those of an age that may be higher",
      { accuracy: "LOWER_BOUND" },
      [/^≥ at least: sql does not say/],
    ],
    ["are those of a limit", { depthIsLowerBound: true }, [/^Depth, \+: .* up to a limit/]],
    [
      "are those of jobs that were not seen, by which rates are too low and waits too long",
      {
        throughput: { enqueuedPerSecond: 6, dequeuedPerSecond: 4, isLowerBound: true },
        waitTime: { count: 3, isUpperBound: true },
      },
      [/^In and out, \+: .* two readings of sql/, /^Wait, ≤: short waits/],
    ],
    ["are none where no job was taken", { waitTime: { count: 0, isUpperBound: true } }, []],
    ["are those of lost events", { accuracy: "INCOMPLETE" }, [/^± too high or too low: events were lost/]],
    [
      "are those of an age that is not known",
      { throughput: null, waitTime: null, accuracy: "UNKNOWN" },
      [/^\? not known: /],
    ],
    [
      "are none of a queue that the server does not know",
      { state: "MISSING", throughput: null, waitTime: null, accuracy: "UNKNOWN" },
      [],
    ],
  ])("%s", (_, rest, sentences) => {
    expect(explainSigns({ ...sql, ...rest })).toEqual(sentences.map((each) => expect.stringMatching(each)));
  });
});

describe("the reason for a health", () => {
  test("advises to remove overtaken jobs where the server can do that", () => {
    const overtaken = { ...queue, health: "SLOW", overtaken: 1, inOrderLatency: 0 } as const;
    expect(explainHealth(overtaken).advice).toContain("Remove those");
    expect(explainHealth({ ...overtaken, source: "bullmq" }).advice).not.toContain("Remove");
  });

  const cases: readonly [
    why: string,
    rest: Partial<ExplainedQueue>,
    reason: string,
    advice: string | null,
  ][] = [
    [
      "names latency and objective of one that is in time",
      {},
      "has waited 3.0 s; the objective is 20 s",
      null,
    ],
    ["says that there is no objective", { objective: null }, "no objective", null],
    ["says that no job waits", { state: "EMPTY", latency: 0 }, "No job waits.", null],
    [
      "names the objective that is missed",
      { health: "SLOW", latency: 42 },
      "42 s; the objective is 20 s",
      "add workers",
    ],
    [
      "says that one old job was left behind, and how long the others wait",
      { health: "SLOW", latency: 259_200, overtaken: 1, inOrderLatency: 4 },
      "1 job has been waiting, for up to 3 d, but jobs that came after it are taken. The oldest job that is taken in order has waited 4.0 s.",
      "left behind",
    ],
    [
      "says the same without an objective",
      { health: "SLOW", latency: 400, objective: null, overtaken: 2, inOrderLatency: 0 },
      "2 jobs have been waiting, for up to 6 m 40 s, but jobs that came after them are taken. No other job waits.",
      "Remove those",
    ],
    [
      "says the same while it is not too late",
      { latency: 100, objective: 3_600, overtaken: 1, inOrderLatency: 4 },
      "jobs that came after it are taken",
      "left behind",
    ],
    [
      "speaks of the objective where the other jobs miss it, too",
      { health: "SLOW", latency: 259_200, overtaken: 1, inOrderLatency: 40 },
      "the objective is 20 s",
      "add workers",
    ],
    [
      "says that none was taken where the others wait, too",
      { health: "STALLED", latency: 259_200, overtaken: 1, inOrderLatency: 400 },
      "none was taken",
      "workers run",
    ],
    [
      "calls a burst that is being drained a burst",
      {
        health: "SLOW",
        latency: 42,
        forecast: { ...forecast, drainSeconds: { low: 1, likely: 2, high: 3 } },
      },
      "42 s",
      "burst",
    ],
    [
      "says at least of a lower bound that is late",
      { health: "SLOW", latency: 42, accuracy: "LOWER_BOUND" },
      "has waited at least 42 s",
      "add workers",
    ],
    [
      "names the rates of one that falls behind",
      { health: "FALLING_BEHIND" },
      "6.0/s in, 4.0/s out",
      "Add workers",
    ],
    [
      "says how many workers are missing",
      {
        health: "FALLING_BEHIND",
        forecast: { ...forecast, capacityRatio: { low: 1.2, likely: 1.5, high: 1.8 } },
      },
      "older",
      "1.5 times",
    ],
    [
      "gives no number of workers that is not sure",
      {
        health: "FALLING_BEHIND",
        forecast: { ...forecast, capacityRatio: { low: 0.6, likely: 1.5, high: 3.9 } },
      },
      "older",
      "Add workers, or slow",
    ],
    [
      "says of a slow one that it never drains",
      { health: "SLOW", latency: 42, forecast: { ...forecast, unstable: true } },
      "42 s",
      "More jobs come than are taken",
    ],
    [
      "leaves out rates that are not known",
      { health: "FALLING_BEHIND", throughput: null },
      "have come than left, and",
      "Add",
    ],
    ["says that no job was taken", { health: "STALLED", latency: 400 }, "none was taken", "workers run"],
    [
      "says what is missing where samples are",
      { health: "UNKNOWN" },
      "five minutes of history",
      "HISTORY_MAX_QUEUES",
    ],
    [
      "says of an unknown queue that it is unknown, and no number",
      { ...unknown, state: "MISSING", source: null, depth: null },
      "does not know this queue",
      "spelling",
    ],
    [
      "says since when a stale queue is stale",
      { stale: true, health: "UNKNOWN" },
      formatTime(measuredAt),
      "Redis answers",
    ],
    [
      "names the job system that may not answer",
      { stale: true, source: "faktory" },
      "no reading",
      "faktory and Redis",
    ],
    [
      "says that a queue is paused, and that jobs wait",
      { state: "PAUSED", source: "sidekiq" },
      "5 jobs wait",
      "OK while",
    ],
    [
      "says that events were lost",
      { accuracy: "INCOMPLETE", health: "UNKNOWN" },
      "lost events",
      "trust the queue",
    ],
    ["says that an age is not known", { ...unknown }, "age of the oldest job is not known", "log"],
    [
      "says at least of the depth of a paused queue that was counted to a limit",
      { state: "PAUSED", source: "river", depth: 10_000, depthIsLowerBound: true },
      "10,000+ jobs wait",
      "paused",
    ],
    ["names the source of an age that is not known", { ...unknown, source: "bullmq" }, "not known", "bullmq"],
    [
      "says that it may be older",
      { accuracy: "LOWER_BOUND", health: "UNKNOWN" },
      "at least 3.0 s",
      "an index that is missing",
    ],
  ];
  test.each(cases)("%s", (_, rest, reason, advice) => {
    const explained = explainHealth({ ...queue, ...rest });
    expect(explained.reason).toContain(reason);
    if (advice === null) expect(explained.advice).toBe(null);
    else expect(explained.advice).toContain(advice);
  });
});

describe("the forecast", () => {
  const estimate = { low: 60, likely: 90, high: 240 };
  const cases: readonly [why: string, rest: Partial<ExplainedQueue>, sentences: readonly string[]][] = [
    [
      "has the interval of the drain",
      { forecast: { ...forecast, drainSeconds: estimate } },
      ["It is empty in about 1 m 30 s (1 m to 4 m)."],
    ],
    [
      "says when the objective is missed",
      { forecast: { ...forecast, breachSeconds: estimate } },
      ["The objective is missed in about 1 m 30 s (1 m to 4 m)."],
    ],
    [
      "says that a queue never drains",
      { forecast: { ...forecast, unstable: true } },
      ["More jobs come than workers take: it never drains."],
    ],
    [
      "has the capacity that is missing",
      { forecast: { ...forecast, capacityRatio: { low: 1.25, likely: 1.5, high: 1.75 } } },
      ["The arrivals need 1.50 (1.25 to 1.75) times the capacity that was seen."],
    ],
    [
      "has the part of the capacity that is used",
      { forecast: { ...forecast, capacityRatio: { low: 0.4, likely: 0.5, high: 0.6 } } },
      ["The arrivals use 0.50 (0.40 to 0.60) of the capacity that was seen."],
    ],
    [
      "does not say of one that never drains that its capacity is enough",
      { forecast: { ...forecast, unstable: true, capacityRatio: { low: 0.7, likely: 0.9, high: 1.2 } } },
      ["More jobs come than workers take: it never drains."],
    ],
    ["says that nothing is sure", {}, ["No estimate is sure enough yet."]],
    ["has nothing to drain in an empty queue", { state: "EMPTY", latency: 0 }, ["No job waits."]],
    [
      "is none where the present is not known",
      { forecast: null },
      ["There is no forecast: the present is not known well enough."],
    ],
  ];
  test.each(cases)("%s", (_, rest, sentences) => {
    expect(explainForecast({ ...queue, ...rest })).toEqual(sentences);
  });
});

describe("the words of an alert", () => {
  const conditions: readonly [
    subject: Parameters<typeof explainCondition>[0]["subject"],
    value: number | null,
    threshold: number | null,
    text: string,
  ][] = [
    ["LATENCY", 42, 30, "latency 42 s; the rule allows 30 s"],
    ["DEPTH", 1_200, 1_000, "depth 1,200; the rule allows 1,000"],
    ["OVERTAKEN", 2, 0, "overtaken jobs 2; the rule allows 0"],
    ["IN_ORDER_LATENCY", 42, 30, "latency in order 42 s; the rule allows 30 s"],
    ["P95", 90, 60, "95th percentile of waits 1 m 30 s; the rule allows 1 m"],
    ["LATENCY", null, 30, "latency not known; the rule allows 30 s"],
    ["HEALTH", null, null, "health as the rule names it"],
    ["UNKNOWN", null, null, "the state of the queue is not known"],
    ["DROPPED_ALERTS", 12, 0, "12 alerts dropped: there are too many"],
  ];
  test.each(conditions)("have value and threshold of %s: %s, %s", (subject, value, threshold, text) => {
    expect(explainCondition({ subject, value, threshold, end: null })).toBe(text);
  });

  test("say why it ended, differently for each reason", () => {
    const words = (["RECOVERED", "QUEUE_GONE", "RULE_GONE", "DISPLACED"] as const).map(explainEnd);
    expect(new Set(words).size).toBe(4);
  });

  const facts = { latency: 42, depth: 120, accuracy: "EXACT", throughput: null, health: [] } as const;
  const rows: readonly [why: string, rest: object, sentences: readonly string[]][] = [
    ["have age and depth", {}, ["The oldest job had waited 42 s.", "120 jobs waited."]],
    [
      "say that an age was not known, and no 0",
      { latency: null, depth: null },
      ["The age of the oldest job was not known."],
    ],
    [
      "say that more jobs may have waited than were counted",
      { depth: 10_000, depthIsLowerBound: true },
      ["The oldest job had waited 42 s.", "At least 10,000 jobs waited."],
    ],
    [
      "say that jobs had been overtaken",
      { overtaken: 2, inOrderLatency: 4 },
      [
        "The oldest job had waited 42 s.",
        "120 jobs waited.",
        "2 jobs had been overtaken; in order the oldest job had waited 4.0 s.",
      ],
    ],
    [
      "say nothing of overtaken jobs where there were none",
      { overtaken: 0, inOrderLatency: 42 },
      ["The oldest job had waited 42 s.", "120 jobs waited."],
    ],
    ["say that no job waited", { latency: 0, depth: 0 }, ["No job waited."]],
    [
      "say how far the age was trusted",
      { depth: 1, accuracy: "LOWER_BOUND" },
      [
        "The oldest job had waited 42 s.",
        "1 job waited.",
        "The age was a lower bound: the job may have waited longer.",
      ],
    ],
    [
      "have rates, and the course of the health",
      {
        ...{ depth: null, throughput: { enqueuedPerSecond: 6, dequeuedPerSecond: 4 } },
        health: [{ health: "OK", since: measuredAt }],
      },
      [
        "The oldest job had waited 42 s.",
        "6.0/s came, 4.0/s left.",
        `Health: OK at ${formatTime(measuredAt)}.`,
      ],
    ],
  ];
  test.each(rows)("%s", (_, rest, sentences) => {
    expect(explainFacts({ ...facts, ...rest })).toEqual(sentences);
  });
});

describe("the state of rules and receivers", () => {
  const nowMs = Date.parse(measuredAt);
  const receiver = { receiver: "webhook", waiting: 0, failed: 0, dropped: 0 };
  const calm = { decidedAt: measuredAt, ignored: 0, unreadable: 0, receivers: [receiver] };
  const cases: readonly [why: string, rest: object, found: string | null][] = [
    ["has no problem when all is delivered", {}, null],
    ["has no problem with what is on its way", { receivers: [{ ...receiver, waiting: 1 }] }, null],
    ["says that rules were never evaluated", { decidedAt: null }, "No server has evaluated the rules:"],
    ["says for how long they were not", { decidedAt: "2026-11-23T11:59:00Z" }, "evaluated the rules for 1 m"],
    ["says that alerts were dropped", { ignored: 3 }, "3 alerts were dropped"],
    ["says that records are unreadable", { unreadable: 1 }, "not alerts"],
    [
      "names a receiver that fails",
      { receivers: [{ ...receiver, waiting: 2, failed: 5 }] },
      "webhook has not accepted 2",
    ],
    [
      "names a receiver that missed some",
      { receivers: [{ ...receiver, dropped: 4 }] },
      "webhook never accepted 4",
    ],
  ];
  test.each(cases)("%s", (_, rest, found) => {
    const problems = explainStatus({ ...calm, ...rest }, nowMs);
    if (found === null) expect(problems).toEqual([]);
    else expect(problems).toEqual([expect.stringContaining(found)]);
  });
});
