import { describe, expect, it } from "vitest";
import { type QueueSnapshot, waitBoundsMs } from "../../src/core/snapshot.ts";
import { createQueueMetrics, labelsOf } from "../../src/exporters/queue-series.ts";

const atMs = 1_790_000_000_250;
const totals = {
  ...{ enqueued: 9, dequeued: 5, removed: 2, lost: 1, waitedMs: 31_500 },
  // One of at most 10 ms, three of at most 10 s, and one of more than the last bound.
  waits: [...waitBoundsMs.map((ms) => ({ 10: 1, 10000: 3 })[ms] ?? 0), 1],
};
const counted: QueueSnapshot = {
  ...{ queue: "mail", source: "events", state: "WAITING", accuracy: "EXACT", stale: false },
  ...{ oldestSinceMs: atMs - 4_500, latencyMs: 4_500, depth: 3, scheduled: 7, lost: 1, measuredAtMs: atMs },
  ...{ changesAtMs: null, clockSkewMs: null, throughput: {}, waitTime: {}, totals },
};
const { totals: _, ...uncounted } = counted;
const observed: QueueSnapshot = {
  ...uncounted,
  ...{
    queue: "faktory/mail",
    source: "faktory",
    scheduled: null,
    lost: null,
    throughput: null,
    waitTime: null,
  },
};

const objectivesMs: Readonly<Record<string, number>> = { "mail-within-500ms": 500, hourly: 3_600_000 };
const queueMetrics = createQueueMetrics((queue) => objectivesMs[queue] ?? null);

/** Value by series, without the labels that all of a queue have. */
function seriesOf(snapshot: QueueSnapshot): Readonly<Record<string, number>> {
  const labels = labelsOf(snapshot);
  const lines = queueMetrics.flatMap((metric) => metric.lines(snapshot, labels).split("\n"));
  const values = lines
    .filter((line) => line !== "")
    .map((line) => {
      const [, name, rest, value] = /^(\w+)\{(.*)\} (\S+)$/.exec(line.replace(labels, "")) ?? [];
      return [`${name}${rest}`, Number(value)] as const;
    });
  return Object.fromEntries(values);
}

const namesOf = (snapshot: QueueSnapshot) => [
  ...new Set(Object.keys(seriesOf(snapshot)).map((name) => name.replace(/,.*/, ""))),
];
const gauges = [
  "queue_oldest_job_age_seconds",
  "queue_depth",
  "queue_scheduled",
  "queue_lost",
  "queue_paused",
];
const always = ["queue_stale", "queue_accuracy_info", "queue_observed_timestamp_seconds"];
const totalNames = [
  ...[
    "queue_events_total",
    "queue_wait_seconds_bucket",
    "queue_wait_seconds_sum",
    "queue_wait_seconds_count",
  ],
];
const without = (...left: readonly string[]) =>
  [...gauges, ...always, ...totalNames].filter((name) => !left.includes(name));

describe("the series of a queue", () => {
  it("have it in seconds", () => {
    expect(seriesOf(counted)).toMatchObject({
      queue_oldest_job_age_seconds: 4.5,
      queue_depth: 3,
      queue_scheduled: 7,
      queue_lost: 1,
      queue_paused: 0,
      queue_stale: 0,
      'queue_accuracy_info,accuracy="exact"': 1,
      queue_observed_timestamp_seconds: atMs / 1_000,
      'queue_events_total,type="enqueued"': 9,
      'queue_events_total,type="dequeued"': 5,
      'queue_events_total,type="removed"': 2,
      'queue_events_total,type="lost"': 1,
    });
  });

  it("have a histogram that adds up from bound to bound, to all there are", () => {
    const series = seriesOf(counted);
    const below = (le: string) => series[`queue_wait_seconds_bucket,le="${le}"`];
    expect([below("0.01"), below("5"), below("10"), below("43200"), below("+Inf")]).toEqual([1, 1, 4, 4, 5]);
    expect(series).toMatchObject({ queue_wait_seconds_count: 5, queue_wait_seconds_sum: 31.5 });
  });

  it("have the jobs that were overtaken, and the age of the oldest of the others, while the queue is not stale", () => {
    const overtaken = { ...counted, overtaken: 1, inOrderSinceMs: atMs - 1_500 };
    expect(seriesOf(overtaken)).toMatchObject({
      queue_oldest_job_age_seconds: 4.5,
      queue_overtaken_jobs: 1,
      queue_in_order_job_age_seconds: 1.5,
    });
    const age = (rest: Partial<QueueSnapshot>) =>
      seriesOf({ ...overtaken, ...rest }).queue_in_order_job_age_seconds;
    expect(age({ inOrderSinceMs: null })).toBe(0);
    expect(age({ overtaken: 0, inOrderSinceMs: atMs - 4_500 })).toBe(4.5);
    expect(age({ stale: true })).toBe(undefined);
    expect(seriesOf(counted)).not.toHaveProperty("queue_overtaken_jobs");
  });

  it.each<{ what: string; snapshot: QueueSnapshot; names: readonly string[]; why: string }>([
    { what: "counted", snapshot: counted, names: without(), why: "all is known" },
    {
      what: "observed",
      snapshot: observed,
      names: without("queue_scheduled", "queue_lost", ...totalNames),
      why: "the job system does not report the rest, and that is not 0",
    },
    {
      what: "followed",
      snapshot: { ...counted, source: "bullmq", lost: null, totals: { ...totals, lost: null } },
      names: without("queue_lost"),
      why: "nothing is given up of a job system's",
    },
    {
      what: "stale",
      snapshot: { ...counted, stale: true },
      names: ["queue_stale", "queue_observed_timestamp_seconds"],
      why: "what was true a while ago is no number of now",
    },
    {
      what: "of UNKNOWN accuracy",
      snapshot: { ...counted, accuracy: "UNKNOWN", latencyMs: null },
      names: without("queue_oldest_job_age_seconds"),
      why: "it is not known how old the head is",
    },
    {
      what: "without a depth",
      snapshot: { ...observed, depth: null },
      names: without("queue_depth", "queue_scheduled", "queue_lost", ...totalNames),
      why: "the job system does not report it",
    },
    {
      what: "with jobs in flight",
      snapshot: { ...observed, inFlight: 2, inFlightSinceMs: atMs - 3_000 },
      names: [
        ...without("queue_scheduled", "queue_lost", ...totalNames),
        "queue_in_flight",
        "queue_in_flight_idle_seconds",
      ],
      why: "the job system reports both",
    },
    {
      what: "with no job in flight",
      snapshot: { ...observed, inFlight: 0, inFlightSinceMs: null },
      names: [...without("queue_scheduled", "queue_lost", ...totalNames), "queue_in_flight"],
      why: "0 is a number, and there is none that has been so for a time",
    },
    {
      what: "counted up to a limit",
      snapshot: { ...counted, depthIsLowerBound: true },
      names: [...without(), "queue_depth_is_lower_bound"],
      why: "more jobs may wait",
    },
    {
      what: "of LOWER_BOUND accuracy",
      snapshot: { ...counted, accuracy: "LOWER_BOUND" },
      names: without(),
      why: "it has waited at least so long, and no event was lost",
    },
    {
      what: "of INCOMPLETE accuracy",
      snapshot: { ...counted, accuracy: "INCOMPLETE" },
      names: without(...totalNames),
      why: "totals have fallen back, which rate() takes for a restart",
    },
  ])("of a queue that is $what are there where $why", ({ snapshot, names }) => {
    expect(namesOf(snapshot).sort()).toEqual([...names].sort());
  });

  it.each([
    { what: "in parts of a second", snapshot: { ...counted, queue: "mail-within-500ms" }, seconds: 0.5 },
    { what: "of an hour", snapshot: { ...counted, queue: "hourly" }, seconds: 3_600 },
    {
      what: "while it is stale, since a setting does not age",
      snapshot: { ...counted, queue: "hourly", stale: true },
      seconds: 3_600,
    },
    { what: "not where none is set", snapshot: counted, seconds: undefined },
  ])("have its objective: $what", ({ snapshot, seconds }) => {
    expect(seriesOf(snapshot).queue_objective_seconds).toBe(seconds);
  });

  it("count lost jobs only where any can be lost", () => {
    const followed = { ...counted, source: "bullmq", totals: { ...totals, lost: null } };
    expect(seriesOf(followed)).not.toHaveProperty(['queue_events_total,type="lost"']);
  });

  it("say that it is stale, or paused, and how sure its age is", () => {
    expect(seriesOf({ ...counted, stale: true })).toEqual({
      queue_stale: 1,
      queue_observed_timestamp_seconds: atMs / 1_000,
    });
    expect(seriesOf({ ...counted, state: "PAUSED" })).toMatchObject({ queue_paused: 1 });
    expect(seriesOf({ ...counted, accuracy: "ESTIMATED" })).toMatchObject({
      'queue_accuracy_info,accuracy="estimated"': 1,
    });
  });

  it.each([
    { name: 'a"b', label: 'a\\"b' },
    { name: "a\\b", label: "a\\\\b" },
    { name: 'a\\"} 1\n', label: 'a\\\\\\"} 1\\n' },
    { name: "{a=b},le=1", label: "{a=b},le=1" },
    { name: "日本 🚀", label: "日本 🚀" },
  ])("name a queue $name so that it ends no label", ({ name, label }) => {
    expect(labelsOf({ ...counted, queue: name })).toBe(`queue="${label}",source="events"`);
  });
});
