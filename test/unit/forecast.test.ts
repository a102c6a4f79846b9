import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Estimate, Forecast } from "../../src/core/health.ts";
import type { HistoryPoint } from "../../src/core/history.ts";
import { accuracies, type QueueSnapshot, queueStates } from "../../src/core/snapshot.ts";
import { forecastOf } from "../../src/health/forecast.ts";
import {
  createRandom,
  exponential,
  type SimulatedQueue,
  simulateQueue,
} from "../support/queue-simulation.ts";
import { nowMs, pointOf, type StepSketch, snapshotOf, stepsOf } from "../support/step-sketch.ts";

const random = createRandom(7);
/** Up to this number more or less, the same in each run. */
const give = Array.from({ length: 30 }, () => 2 * random() - 1);

/** 1,000 and more came before, 100 come in each step and 120 go, more or less. */
const draining = (step: number, _endsAt: number, rest: StepSketch = {}): StepSketch => ({
  depth: Math.round(1_600 - 20 * (step + 1) + 8 * give[step]!),
  ageSeconds: 160 - 2 * step,
  enqueued: Math.round(100 + 5 * give[step]!),
  dequeued: Math.round(120 - 5 * give[step]!),
  ...rest,
});
const drainingNow = snapshotOf(1_000, 100);
/** 100 come in each step and 80 go, more or less, and each second the head is 0.2 s older. */
const growing = (step: number, endsAt: number, rest: StepSketch = {}): StepSketch => ({
  depth: Math.round(400 + 20 * (step + 1) + 8 * give[step]!),
  ageSeconds: 40 + 0.2 * endsAt + 0.5 * give[step]!,
  enqueued: Math.round(100 + 5 * give[step]!),
  dequeued: Math.round(80 - 5 * give[step]!),
  ...rest,
});
const growingNow = snapshotOf(1_000, 100);

const zero: Estimate = { low: 0, likely: 0, high: 0 };
/** Nearly so, and the range about as wide as is known. */
const about = (likely: number, within: number, nearly = within / 2): Estimate => ({
  low: expect.toSatisfy((low: number) => low > likely - within && low < likely) as number,
  likely: expect.toSatisfy((value: number) => Math.abs(value - likely) < nearly) as number,
  high: expect.toSatisfy((high: number) => high > likely && high < likely + within) as number,
});

interface Row {
  readonly why: string;
  readonly points: readonly HistoryPoint[];
  readonly now: QueueSnapshot;
  readonly objective?: number;
  readonly expected: Partial<Forecast> | null;
}

const rows: readonly Row[] = [
  // Nothing is known.
  {
    why: "it is not known",
    points: [],
    now: snapshotOf(0, 0, { state: "MISSING", accuracy: "UNKNOWN" }),
    expected: null,
  },
  {
    why: "what is stale is not the present",
    points: stepsOf(draining),
    now: { ...drainingNow, stale: true },
    expected: null,
  },
  {
    why: "what is INCOMPLETE is not known",
    points: stepsOf(draining),
    now: { ...drainingNow, accuracy: "INCOMPLETE" },
    expected: null,
  },
  {
    why: "what may be more is not known",
    points: stepsOf(draining),
    now: { ...drainingNow, accuracy: "LOWER_BOUND" },
    expected: null,
  },
  {
    why: "a number of jobs that may be greater cannot be seen to fall",
    points: stepsOf(draining),
    now: { ...drainingNow, depthIsLowerBound: true },
    expected: { drainSeconds: null, breachSeconds: null, unstable: false },
  },
  {
    why: "what is not reported is not known",
    points: stepsOf(draining),
    now: { ...drainingNow, accuracy: "UNKNOWN", latencyMs: null },
    expected: null,
  },
  // Until no job waits.
  {
    why: "no job waits",
    points: [],
    now: snapshotOf(0, 0),
    objective: 30,
    expected: { drainSeconds: zero, breachSeconds: null, capacityRatio: null, unstable: false },
  },
  {
    why: "1,000 wait, and each second there are 2 fewer",
    points: stepsOf(draining),
    now: drainingNow,
    expected: { drainSeconds: about(500, 80), unstable: false },
  },
  {
    why: "three steps in which something went wrong do not turn the slope",
    points: stepsOf((step, at) =>
      [8, 15, 22].includes(step)
        ? draining(step, at, { depth: 1_600 - 20 * (step + 1) + 60 })
        : draining(step, at),
    ),
    now: drainingNow,
    expected: { drainSeconds: about(500, 600, 5), unstable: false },
  },
  {
    why: "a source that reports no counts reports its depth",
    points: stepsOf((step, at) => draining(step, at, { isCounted: false })),
    now: drainingNow,
    expected: { drainSeconds: about(500, 80), capacityRatio: null, unstable: false },
  },
  {
    why: "before the burst no job waited, and that says nothing of how it drains",
    points: stepsOf((step, at) => (step < 15 ? { enqueued: 100, dequeued: 100 } : draining(step, at))),
    now: drainingNow,
    expected: { drainSeconds: about(500, 120), unstable: false },
  },
  {
    why: "it was paused until a few minutes ago",
    points: stepsOf((step, at) => (step < 10 ? growing(step, at, { paused: 10 }) : draining(step, at))),
    now: drainingNow,
    expected: { drainSeconds: about(500, 150), unstable: false },
  },
  {
    why: "gaps of two steps hide nothing",
    points: stepsOf((step, at) => (step % 5 < 2 ? null : draining(step, at))),
    now: drainingNow,
    expected: { drainSeconds: about(500, 120), unstable: false },
  },
  {
    why: "in a gap of a minute nothing may have waited, and since then less than a minute was seen",
    points: stepsOf((step, at) => (step >= 19 && step < 25 ? null : draining(step, at))),
    now: drainingNow,
    expected: { drainSeconds: null, unstable: false },
  },
  {
    why: "jobs have been waiting for 50 s without a break: that is no trend",
    points: stepsOf((step, at) => (step === 24 ? { waiting: 9, depth: 1 } : draining(step, at))),
    now: drainingNow,
    expected: { drainSeconds: null, unstable: false },
  },
  {
    why: "it would take an hour, and five minutes are known",
    points: stepsOf((step, at) => draining(step, at, { depth: 7_800 - 20 * (step + 1) })),
    now: snapshotOf(7_200, 100),
    expected: { drainSeconds: null, unstable: false },
  },
  {
    why: "it neither grows nor drains, as far as is known",
    points: stepsOf((step, at) => draining(step, at, { depth: 1_000 + Math.round(40 * give[step]!) })),
    now: drainingNow,
    objective: 400,
    expected: { drainSeconds: null, breachSeconds: null, unstable: false },
  },
  {
    why: "a pause ends when an operator ends it",
    points: stepsOf((step, at) => draining(step, at, { paused: 10 })),
    now: { ...drainingNow, state: "PAUSED" },
    objective: 400,
    expected: { drainSeconds: null, breachSeconds: null, capacityRatio: null, unstable: false },
  },
  {
    why: "it has just been paused, whatever it was doing before",
    points: stepsOf(draining),
    now: { ...drainingNow, state: "PAUSED" },
    objective: 400,
    expected: { drainSeconds: null, breachSeconds: null, unstable: false },
  },
  {
    why: "no worker takes from it: a drain time would be a lie",
    points: stepsOf((step, endsAt) => ({ depth: 10 + step, ageSeconds: 100 + endsAt, enqueued: 1 })),
    now: snapshotOf(40, 400),
    objective: 1_000,
    expected: {
      drainSeconds: null,
      breachSeconds: { low: 600, likely: 600, high: 600 },
      capacityRatio: null,
      unstable: true,
    },
  },
  {
    why: "its job system is read every five minutes: a line through two readings is no trend",
    points: stepsOf((step, at) => draining(step, at, { isCounted: false })),
    now: { ...drainingNow, source: "faktory", changesAtMs: nowMs + 600_000 },
    objective: 50,
    expected: { drainSeconds: null, breachSeconds: zero, unstable: false },
  },
  // Until the objective is broken.
  {
    why: "more comes than goes, and the head is 0.2 s older each second",
    points: stepsOf(growing),
    now: growingNow,
    objective: 160,
    expected: { drainSeconds: null, breachSeconds: about(300, 60), unstable: true },
  },
  {
    why: "there is no objective",
    points: stepsOf(growing),
    now: growingNow,
    expected: { breachSeconds: null },
  },
  {
    why: "it is too late already",
    points: stepsOf(draining),
    now: drainingNow,
    objective: 99,
    expected: { breachSeconds: zero },
  },
  {
    why: "it is too late already, and more than that needs no history, nor a worker",
    points: [],
    now: { ...growingNow, state: "PAUSED" },
    objective: 99,
    expected: { breachSeconds: zero },
  },
  {
    why: "the head becomes younger",
    points: stepsOf(draining),
    now: drainingNow,
    objective: 400,
    expected: { breachSeconds: null },
  },
  {
    why: "the head of a burst ages as fast as the clock, but not after it is drained",
    points: stepsOf((step, at) => draining(step, at, { ageSeconds: at })),
    now: snapshotOf(1_000, 300),
    objective: 900,
    expected: { drainSeconds: about(500, 80), breachSeconds: null },
  },
  {
    why: "the head of a burst ages as fast as the clock, and too long before it is drained",
    points: stepsOf((step, at) => draining(step, at, { ageSeconds: at })),
    now: snapshotOf(1_000, 300),
    objective: 350,
    expected: { breachSeconds: { low: 50, likely: 50, high: 50 } },
  },
  {
    why: "the head grows older in fits and starts, and yet never faster than the clock",
    points: stepsOf((step, at) => growing(step, at, { ageSeconds: 10 + 0.95 * at + 8 * give[step]! })),
    now: snapshotOf(1_000, 295),
    objective: 595,
    expected: {
      breachSeconds: { low: 300, likely: expect.any(Number) as number, high: expect.any(Number) as number },
    },
  },
  // How much capacity is needed.
  {
    why: "100 come where 120 could be taken",
    points: stepsOf(draining),
    now: drainingNow,
    expected: { capacityRatio: about(100 / 120, 0.05) },
  },
  {
    why: "100 come where 80 can be taken",
    points: stepsOf(growing),
    now: growingNow,
    expected: { capacityRatio: about(100 / 80, 0.05) },
  },
  {
    why: "workers that are idle now and then do not show what they can do",
    points: stepsOf((step, at) =>
      step % 2 === 0 ? draining(step, at) : { waiting: 3, depth: 0, enqueued: 100, dequeued: 60 },
    ),
    now: snapshotOf(0, 0),
    expected: { drainSeconds: zero, capacityRatio: about(0.82, 0.05) },
  },
  {
    why: "no worker was ever busy for as long as a step",
    points: stepsOf(() => ({ waiting: 3, enqueued: 100, dequeued: 100 })),
    now: snapshotOf(0, 0),
    expected: { capacityRatio: null },
  },
  {
    why: "nine jobs are too few for a rate",
    points: stepsOf((step, at) => draining(step, at, { enqueued: step < 9 ? 1 : 0 })),
    now: drainingNow,
    expected: { capacityRatio: null },
  },
];

describe("a forecast", () => {
  test.each(rows)("where $why", ({ points, now, objective, expected }) => {
    const forecast = forecastOf({
      points,
      now,
      objectiveMs: objective === undefined ? null : objective * 1000,
    });
    if (expected === null) expect(forecast).toBeNull();
    else expect(forecast).toMatchObject(expected);
  });

  const natural = (max: number) => fc.integer({ min: 0, max });
  const points = fc.uniqueArray(
    fc
      .record({
        step: fc.integer({ min: -35, max: 0 }),
        depth: natural(1e5),
        ageSeconds: natural(1e5),
        enqueued: natural(1e4),
        dequeued: natural(1e4),
        waiting: fc.constantFrom(10, 10, 10, 10, 3, 0),
        paused: fc.constantFrom(0, 0, 0, 0, 0, 10),
        isCounted: fc.boolean(),
      })
      .map(({ step, ...sketch }) => pointOf(nowMs + step * 10_000 + 3, sketch)),
    { maxLength: 36, selector: ({ atMs }) => atMs },
  );
  const rest = fc.record({
    state: fc.constantFrom(...queueStates, "WAITING" as const),
    accuracy: fc.constantFrom(...accuracies, "EXACT" as const),
    stale: fc.constantFrom(false, false, false, true),
  });
  const question = fc.record({
    points: fc.oneof(
      points,
      fc.constantFrom(...rows).map((row) => [...row.points]),
    ),
    now: fc
      .tuple(natural(1e5), natural(1e5), rest)
      .map(([depth, ageSeconds, more]) => snapshotOf(depth, ageSeconds, more)),
    objectiveMs: fc.option(natural(1e8)),
  });

  test("is made of finite numbers in their order, and has no drain time of what is unstable", () => {
    fc.assert(
      fc.property(question, (asked) => {
        const forecast = forecastOf(asked);
        if (forecast === null) return;
        const { drainSeconds, breachSeconds, capacityRatio, unstable } = forecast;
        for (const estimate of [drainSeconds, breachSeconds, capacityRatio]) {
          if (estimate === null) continue;
          const { low, likely, high } = estimate;
          expect([low, likely, high].every(Number.isFinite)).toBe(true);
          expect(low).toBeGreaterThanOrEqual(0);
          expect(likely).toBeGreaterThanOrEqual(low);
          expect(high).toBeGreaterThanOrEqual(likely);
        }
        if (unstable) expect(drainSeconds).toBeNull();
        // No head ages faster than the clock.
        if (breachSeconds !== null) {
          const left = Math.max(0, asked.objectiveMs! - asked.now.latencyMs!) / 1000;
          expect(breachSeconds.low).toBeGreaterThanOrEqual(left);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("is the same for a queue in which everything is as many times as much", () => {
    fc.assert(
      fc.property(question, fc.constantFrom(2, 4, 1_024), (asked, times) => {
        const larger = asked.points.map((each) => ({
          ...each,
          maxDepth: each.maxDepth * times,
          lastDepth: each.lastDepth * times,
        }));
        const now = { ...asked.now, depth: asked.now.depth! * times };
        // Powers of two, so that nothing is rounded.
        expect(forecastOf({ ...asked, points: larger, now })).toEqual(forecastOf(asked));
      }),
    );
  });
});

describe("replayed", () => {
  const hour = 3_600;
  const four = { workers: () => 4, serviceSeconds: exponential(0.8) };
  const objectiveMs = 120_000;

  interface Replayed extends Omit<SimulatedQueue, "seed"> {
    readonly what: string;
    /** In how many percent of the ranges the truth was at least, and of at least how many; null: there is hardly any. */
    readonly drain: readonly [percent: number, of: number] | null;
    readonly breach: readonly [percent: number, of: number];
  }

  /** Their workers take 5 jobs a second when there are four of them, unless it says something else. */
  const queues: readonly Replayed[] = [
    {
      what: "6 jobs a second",
      seconds: hour,
      arrivalsPerSecond: () => 6,
      ...four,
      drain: null,
      breach: [85, 50],
    },
    {
      what: "two bursts of minutes of work",
      seconds: hour,
      arrivalsPerSecond: () => 3,
      bursts: new Map([
        [300, 1_500],
        [1_800, 3_000],
      ]),
      ...four,
      drain: [80, 200],
      breach: [90, 20],
    },
    {
      what: "outages of all workers for five and for ten minutes",
      seconds: 2 * hour,
      arrivalsPerSecond: () => 3,
      ...four,
      workers: (at) => ((at > 600 && at < 1_200) || (at > 3_600 && at < 3_900) ? 0 : 4),
      drain: [80, 100],
      breach: [90, 20],
    },
    {
      what: "days of two hours, with more than can be taken at noon",
      seconds: 4 * hour,
      arrivalsPerSecond: (at) => 4.7 + 1.5 * Math.sin((2 * Math.PI * at) / (2 * hour)),
      ...four,
      drain: [70, 200],
      breach: [75, 100],
    },
    {
      what: "900 jobs at once every five minutes",
      seconds: 2 * hour,
      arrivalsPerSecond: () => 1,
      bursts: new Map(Array.from({ length: 24 }, (_, i) => [i * 300 + 30, 900])),
      ...four,
      drain: [85, 500],
      breach: [90, 200],
    },
    {
      what: "few jobs of 25 s each, and two bursts",
      seconds: 4 * hour,
      arrivalsPerSecond: () => 0.15,
      bursts: new Map([
        [600, 60],
        [7_200, 150],
      ]),
      workers: () => 5,
      serviceSeconds: exponential(25),
      drain: [60, 40],
      breach: [55, 25],
    },
    {
      what: "three workers and six, by turns of twenty minutes",
      seconds: 2 * hour,
      arrivalsPerSecond: () => 4.2,
      ...four,
      workers: (at) => (at % 2_400 < 1_200 ? 3 : 6),
      drain: null,
      breach: [50, 100],
    },
  ];

  /** Of all looks at a queue in which jobs waited: every half minute, of four histories. */
  function* looksAt(queue: Omit<SimulatedQueue, "seed">) {
    for (const seed of [1, 2, 3, 4]) {
      const history = simulateQueue({ ...queue, seed });
      for (let second = 300; second < queue.seconds; second += 30) {
        const { points, now } = history.at(second);
        if (now.state !== "WAITING") continue;
        const forecast = forecastOf({ points, now, objectiveMs });
        if (forecast !== null) yield { history, second, now, forecast };
      }
    }
  }

  interface Hits {
    given: number;
    hit: number;
    /** Of the ranges, as multiples of what they give as likely. */
    readonly widths: number[];
  }

  /** What was not seen until the end is a miss when it was to have happened by then, and else nothing. */
  function count(hits: Hits, estimate: Estimate | null, truth: number | null, left: number): void {
    if (estimate === null || (truth === null && estimate.high >= left)) return;
    hits.given += 1;
    hits.widths.push((estimate.high - estimate.low) / Math.max(1, estimate.likely));
    // Seen once a second.
    if (truth !== null && truth >= estimate.low - 1 && truth <= estimate.high + 1) hits.hit += 1;
  }

  function hitsOf(queue: Omit<SimulatedQueue, "seed">): { readonly drain: Hits; readonly breach: Hits } {
    const drain: Hits = { given: 0, hit: 0, widths: [] };
    const breach: Hits = { given: 0, hit: 0, widths: [] };
    for (const { history, second, now, forecast } of looksAt(queue)) {
      const left = queue.seconds - second;
      count(drain, forecast.drainSeconds, history.drainedAfter(second), left);
      if (now.latencyMs! <= objectiveMs) {
        count(breach, forecast.breachSeconds, history.olderAfter(second, objectiveMs), left);
      }
    }
    return { drain, breach };
  }

  function percentOf({ given, hit }: Hits): number {
    return (100 * hit) / given;
  }

  test.for(queues)(
    "$what: the truth is in the range as often as is promised",
    async (queue, { annotate }) => {
      const { drain, breach } = hitsOf(queue);
      await annotate(`drain ${drain.hit} of ${drain.given}, breach ${breach.hit} of ${breach.given}`);
      if (queue.drain === null) expect(drain.given).toBeLessThan(25);
      else {
        expect(drain.given).toBeGreaterThanOrEqual(queue.drain[1]);
        expect(percentOf(drain)).toBeGreaterThanOrEqual(queue.drain[0]);
      }
      expect(breach.given).toBeGreaterThanOrEqual(queue.breach[1]);
      expect(percentOf(breach)).toBeGreaterThanOrEqual(queue.breach[0]);
    },
  );

  test("all of them: the truth is in eight of ten ranges, of which half are narrow enough", async ({
    annotate,
  }) => {
    const found = queues.map(hitsOf);
    for (const kind of ["drain", "breach"] as const) {
      const given = found.reduce((sum, hits) => sum + hits[kind].given, 0);
      const hit = found.reduce((sum, hits) => sum + hits[kind].hit, 0);
      const widths = found.flatMap((hits) => hits[kind].widths).sort((a, b) => a - b);
      const width = widths[Math.floor(widths.length / 2)]!;
      const percent = percentOf({ given, hit, widths });
      await annotate(
        `${kind}: ${hit} of ${given} ranges, ${percent.toFixed(1)} %, width ${width.toFixed(2)}`,
      );
      expect(percent).toBeGreaterThanOrEqual(80);
      expect(width).toBeLessThan(1);
    }
  });

  test.each([
    { perSecond: 3, low: 0, high: 1, why: "workers that are idle for two of five seconds" },
    { perSecond: 4.75, low: 0, high: 5, why: "workers that just keep up" },
    { perSecond: 6, low: 95, high: 100, why: "workers that get a fifth more than they take" },
  ])(
    "$perSecond jobs a second are unstable in $low to $high % of all looks: $why",
    ({ perSecond, low, high }) => {
      const looks = [...looksAt({ seconds: hour, arrivalsPerSecond: () => perSecond, ...four })];
      const unstable = looks.filter(({ forecast }) => forecast.unstable).length;
      expect((100 * unstable) / looks.length).toBeGreaterThanOrEqual(low);
      expect((100 * unstable) / looks.length).toBeLessThanOrEqual(high);
    },
  );

  test.for([
    { perSecond: 4.75, ratio: 0.95 },
    { perSecond: 6, ratio: 1.2 },
    { perSecond: 10, ratio: 2 },
  ])(
    "$perSecond jobs a second need $ratio times the capacity, which is in the range in eight of ten looks",
    async ({ perSecond, ratio }, { annotate }) => {
      const looks = [...looksAt({ seconds: hour, arrivalsPerSecond: () => perSecond, ...four })];
      const given = looks.flatMap(({ forecast }) => forecast.capacityRatio ?? []);
      const hit = given.filter(({ low, high }) => low <= ratio && ratio <= high).length;
      await annotate(`capacityRatio: ${hit} of ${given.length} ranges`);
      expect(given.length).toBeGreaterThan(looks.length / 2);
      expect(hit / given.length).toBeGreaterThanOrEqual(0.8);
    },
  );
});
