import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Health, healths } from "../../src/core/health.ts";
import { accuracies, queueStates } from "../../src/core/snapshot.ts";
import { type HealthQuestion, healthOf, isDecidedBy } from "../../src/health/health.ts";
import { exponential, type SimulatedQueue, simulateQueue } from "../support/queue-simulation.ts";
import { nowMs, pointOf, type StepSketch, snapshotOf, stepsOf } from "../support/step-sketch.ts";

interface Row extends Omit<HealthQuestion, "objectiveMs"> {
  readonly health: Health;
  readonly why: string;
  readonly objective?: number;
}

/** No worker: the head came before the window, and one job more comes in each step. */
const stuck = (step: number, endsAt: number, rest: StepSketch = {}): StepSketch => ({
  depth: 10 + step,
  ageSeconds: 100 + endsAt,
  enqueued: 1,
  ...rest,
});
/** Each step 100 jobs come and 80 go. */
const growing = (step: number, endsAt: number, rest: StepSketch = {}): StepSketch => ({
  depth: 500 + 20 * step,
  ageSeconds: 50 + 0.2 * endsAt,
  enqueued: 100,
  dequeued: 80,
  ...rest,
});
/** Each step 100 jobs come and go, and all but at once. */
const steady = (rest: StepSketch = {}): StepSketch => ({
  depth: 5,
  ageSeconds: 1,
  enqueued: 100,
  dequeued: 100,
  ...rest,
});
const stuckNow = snapshotOf(40, 400);
const grownNow = snapshotOf(1_100, 110);
const steadyNow = snapshotOf(5, 1);

const rows: readonly Row[] = [
  // What is not known.
  {
    health: "UNKNOWN",
    why: "it is not known",
    points: [],
    now: snapshotOf(0, 0, { state: "MISSING", accuracy: "UNKNOWN" }),
  },
  {
    health: "UNKNOWN",
    why: "the last reading of a source that has gone is no news, however late it was",
    points: stepsOf(stuck),
    now: { ...stuckNow, stale: true },
    objective: 30,
  },
  {
    health: "UNKNOWN",
    why: "a pause that was reported by a source which has gone may be over",
    points: [],
    now: snapshotOf(1, 1, { state: "PAUSED", stale: true }),
  },
  {
    health: "UNKNOWN",
    why: "what latency cannot be trusted is not acted on",
    points: stepsOf(stuck),
    now: { ...stuckNow, accuracy: "UNKNOWN", latencyMs: null },
    objective: 30,
  },
  {
    health: "UNKNOWN",
    why: "Redis has lost events: the old head may have been dequeued",
    points: stepsOf(stuck),
    now: { ...stuckNow, accuracy: "INCOMPLETE" },
    objective: 30,
  },
  {
    health: "UNKNOWN",
    why: "Redis has lost events: jobs may wait that are not counted",
    points: [],
    now: snapshotOf(0, 0, { accuracy: "INCOMPLETE" }),
  },
  {
    health: "SLOW",
    why: "a job system's head has waited at least so long, and that is too long",
    points: [],
    now: { ...stuckNow, source: "bullmq", accuracy: "LOWER_BOUND" },
    objective: 30,
  },
  {
    health: "UNKNOWN",
    why: "a job system's head has waited at least so long, perhaps too long",
    points: stepsOf(() => steady()),
    now: { ...steadyNow, source: "bullmq", accuracy: "LOWER_BOUND" },
    objective: 30,
  },
  // What is well.
  {
    health: "OK",
    why: "no job waits, whatever was",
    points: stepsOf(growing),
    now: snapshotOf(0, 0),
    objective: 30,
  },
  { health: "OK", why: "no job waits, and nothing more is asked", points: [], now: snapshotOf(0, 0) },
  {
    health: "OK",
    why: "nothing is dequeued on purpose, however long that takes",
    points: stepsOf((step, at) => stuck(step, at, { paused: 10 })),
    now: { ...stuckNow, state: "PAUSED" },
    objective: 30,
  },
  {
    health: "OK",
    why: "its job system says that it is paused, and that needs no clock",
    points: [],
    now: { ...stuckNow, state: "PAUSED", accuracy: "UNKNOWN" },
  },
  {
    health: "OK",
    why: "as many go as come",
    points: stepsOf(() => steady()),
    now: steadyNow,
    objective: 30,
  },
  {
    health: "OK",
    why: "it keeps up behind a backlog, and there is no objective for which this is too late",
    points: stepsOf(() => steady({ depth: 9_000, ageSeconds: 900 })),
    now: snapshotOf(9_000, 900),
  },
  {
    health: "OK",
    why: "no job waited a few seconds ago: a first job that waits is no backlog, though little was seen",
    points: [pointOf(nowMs - 10_000, {})],
    now: steadyNow,
    objective: 30,
  },
  // Too little to say.
  { health: "UNKNOWN", why: "a job waits, and there was no reading before", points: [], now: steadyNow },
  {
    health: "UNKNOWN",
    why: "four minutes of standing still may be one long job: five are asked for",
    points: stepsOf((step, at) => (step < 6 ? null : stuck(step, at))),
    now: stuckNow,
  },
  {
    health: "UNKNOWN",
    why: "in a gap of a minute and a half it may have caught up, and fallen back",
    points: stepsOf((step, at) => (step >= 10 && step < 19 ? null : growing(step, at))),
    now: grownNow,
  },
  {
    health: "UNKNOWN",
    why: "there was no reading in the last minutes, even when no job waited before",
    points: stepsOf((step) => (step < 12 ? {} : null)),
    now: snapshotOf(800, 20),
  },
  {
    health: "UNKNOWN",
    why: "what is older than five minutes is not asked",
    points: stepsOf(stuck).map((point) => ({ ...point, atMs: point.atMs - 300_000 })),
    now: stuckNow,
  },
  {
    health: "UNKNOWN",
    why: "its job system is read every five minutes: that the head stays is what one reading said, repeated over and over",
    points: stepsOf((step, at) => stuck(step, at, { depth: 10, isCounted: false })),
    now: { ...stuckNow, depth: 10, source: "faktory", changesAtMs: nowMs + 600_000 },
  },
  {
    health: "SLOW",
    why: "its job system is read every five minutes, and what it said is late already",
    points: stepsOf((step, at) => stuck(step, at, { depth: 10, isCounted: false })),
    now: { ...stuckNow, depth: 10, source: "faktory", changesAtMs: nowMs + 600_000 },
    objective: 30,
  },
  {
    health: "STALLED",
    why: "its job system is read every minute, and five times said the same",
    points: stepsOf((step, at) => stuck(step, at, { depth: 10, isCounted: false })),
    now: { ...stuckNow, depth: 10, source: "faktory", changesAtMs: nowMs + 180_000 },
  },
  {
    health: "STALLED",
    why: "recorded events are all received, and a ghost in days does not say how often",
    points: stepsOf(stuck),
    now: { ...stuckNow, changesAtMs: nowMs + 600_000 },
  },
  // SLOW
  {
    health: "SLOW",
    why: "later than its objective: one look is enough",
    points: [],
    now: snapshotOf(1, 31),
    objective: 30,
  },
  {
    health: "OK",
    why: "exactly in time is in time",
    points: stepsOf(() => steady()),
    now: snapshotOf(1, 30),
    objective: 30,
  },
  {
    health: "SLOW",
    why: "a backlog that is being drained is late all the same",
    points: stepsOf((step, at) => ({
      depth: 4_000 - 100 * step,
      ageSeconds: 300 + at,
      enqueued: 0,
      dequeued: 100,
    })),
    now: snapshotOf(1_000, 600),
    objective: 60,
  },
  {
    health: "SLOW",
    why: "a clock that may be off says so, and nothing speaks against it",
    points: stepsOf(() => steady({ depth: 50, ageSeconds: 60 })),
    now: snapshotOf(50, 60, { accuracy: "ESTIMATED" }),
    objective: 30,
  },
  {
    health: "OK",
    why: "a producer's clock is minutes off: no job waited 10 s ago, so the head cannot be older than that",
    points: stepsOf(() => steady({ waiting: 4, ageSeconds: 180 })),
    now: snapshotOf(5, 180, { accuracy: "ESTIMATED" }),
    objective: 30,
  },
  {
    health: "SLOW",
    why: "the clock may be off, but the queue was last seen empty longer ago than the objective allows",
    points: stepsOf((step) => steady({ waiting: step < 20 ? 4 : 10, ageSeconds: 180 })),
    now: snapshotOf(5, 180, { accuracy: "ESTIMATED" }),
    objective: 30,
  },
  // STALLED
  {
    health: "STALLED",
    why: "jobs come, none goes, and the head of five minutes ago is the head of now",
    points: stepsOf(stuck),
    now: stuckNow,
  },
  {
    health: "STALLED",
    why: "one job is enough, and nothing has come since",
    points: stepsOf((_, endsAt) => ({ depth: 1, ageSeconds: endsAt })),
    now: snapshotOf(1, 300),
  },
  {
    health: "STALLED",
    why: "it says more than SLOW does",
    points: stepsOf(stuck),
    now: stuckNow,
    objective: 30,
  },
  {
    health: "STALLED",
    why: "a gap of half a minute, in which the head stayed, hides nothing",
    points: stepsOf((step, at) => (step >= 10 && step < 13 ? null : stuck(step, at))),
    now: stuckNow,
  },
  {
    health: "STALLED",
    why: "the clock may be off, but it goes as fast as ours",
    points: stepsOf((step, at) => stuck(step, at, { isCounted: false })),
    now: { ...stuckNow, source: "sidekiq", accuracy: "ESTIMATED" },
  },
  {
    health: "OK",
    why: "one worker, four minutes a job: the last one left within the window",
    points: stepsOf((step, at) =>
      step < 5
        ? { depth: 6, ageSeconds: 190 + at }
        : { depth: 5, ageSeconds: 90 + at, dequeued: step === 5 ? 1 : 0 },
    ),
    now: snapshotOf(5, 390),
  },
  {
    health: "OK",
    why: "the same, of a source that reports no counts",
    points: stepsOf((step, at) =>
      step < 5
        ? { depth: 6, ageSeconds: 190 + at, isCounted: false }
        : { depth: 5, ageSeconds: 90 + at, isCounted: false },
    ),
    now: snapshotOf(5, 390),
  },
  {
    health: "OK",
    why: "a thousand came in the same second before, and are being taken: the head's age alone looks stuck",
    points: stepsOf((step, at) => ({ depth: 1_000 - 10 * step, ageSeconds: 60 + at, dequeued: 10 })),
    now: snapshotOf(700, 360),
  },
  {
    health: "OK",
    why: "the same, of a source that reports no counts: the depth falls",
    points: stepsOf((step, at) => ({ depth: 1_000 - 10 * step, ageSeconds: 60 + at, isCounted: false })),
    now: snapshotOf(700, 360),
  },
  {
    health: "OK",
    why: "the same, while as many come: within a step there were more than at its end",
    points: stepsOf((_, at) => ({ depth: 1_000, maxDepth: 1_003, ageSeconds: 60 + at, isCounted: false })),
    now: snapshotOf(1_000, 360),
  },
  {
    health: "OK",
    why: "producers' clocks differ: a head that looks older than the one before it is another one, so that one has left",
    points: stepsOf((step, at) =>
      stuck(step, at, { depth: 10, ageSeconds: (step < 15 ? 40 : 100) + at, isCounted: false }),
    ),
    now: { ...stuckNow, depth: 10, source: "sidekiq", accuracy: "ESTIMATED" },
  },
  {
    health: "OK",
    why: "unpaused two minutes ago: until then it stood still on purpose",
    points: stepsOf((step, at) => stuck(step, at, { paused: step < 18 ? 10 : 0 })),
    now: stuckNow,
  },
  {
    health: "OK",
    why: "no job waited at first",
    points: stepsOf((step, at) => (step < 2 ? {} : { depth: 1, ageSeconds: at - 25 })),
    now: snapshotOf(1, 275),
  },
  {
    health: "UNKNOWN",
    why: "no dequeue is reported, and yet the head changes: given up, removed, or the dequeues are not reported to us",
    points: stepsOf(() => ({ depth: 600, ageSeconds: 600, enqueued: 10 })),
    now: snapshotOf(600, 600),
  },
  // Overtaken jobs
  {
    health: "SLOW",
    why: "jobs that came after the head are served, and there is no objective: five minutes are too long",
    points: stepsOf((_, at) => steady({ ageSeconds: at })),
    now: snapshotOf(5, 301, { overtaken: 1, inOrderSinceMs: nowMs - 1_000 }),
  },
  {
    health: "SLOW",
    why: "one snapshot is enough",
    points: [],
    now: snapshotOf(5, 300_000, { overtaken: 1, inOrderSinceMs: nowMs - 1_000 }),
  },
  {
    health: "OK",
    why: "its age is by a producer's clock, and 20 s ago no job waited",
    points: stepsOf((step) => (step < 28 ? { depth: 0, ageSeconds: 0 } : steady())),
    now: snapshotOf(5, 600, { overtaken: 1, inOrderSinceMs: nowMs - 1_000, accuracy: "ESTIMATED" }),
  },
  {
    health: "OK",
    why: "a head that was overtaken five minutes ago or less may only have a low priority",
    points: stepsOf(() => steady()),
    now: snapshotOf(5, 300, { overtaken: 1, inOrderSinceMs: nowMs - 1_000 }),
  },
  {
    health: "OK",
    why: "an hour is allowed",
    points: stepsOf((_, at) => steady({ ageSeconds: 300 + at })),
    now: snapshotOf(5, 600, { overtaken: 1, inOrderSinceMs: nowMs - 1_000 }),
    objective: 3_600,
  },
  {
    health: "SLOW",
    why: "an overtaken head is later than its objective",
    points: stepsOf(() => steady()),
    now: snapshotOf(5, 120, { overtaken: 1, inOrderSinceMs: nowMs - 1_000 }),
    objective: 60,
  },
  {
    health: "SLOW",
    why: "an orphan alone in a queue to which no jobs come at night is no outage",
    points: stepsOf((_, at) => ({ depth: 1, ageSeconds: 86_400 + at })),
    now: snapshotOf(1, 86_700, { overtaken: 1, inOrderSinceMs: null }),
  },
  {
    health: "OK",
    why: "the same, and it may wait for a week",
    points: stepsOf((_, at) => ({ depth: 1, ageSeconds: 86_400 + at })),
    now: snapshotOf(1, 86_700, { overtaken: 1, inOrderSinceMs: null }),
    objective: 604_800,
  },
  {
    health: "SLOW",
    why: "the same, of a source that reports no counts",
    points: stepsOf((_, at) => ({ depth: 1, ageSeconds: 86_400 + at, isCounted: false })),
    now: snapshotOf(1, 86_700, { overtaken: 1, inOrderSinceMs: null }),
  },
  {
    health: "SLOW",
    why: "no job came for a long time behind the orphan, and one comes now: it has not waited for five minutes",
    points: stepsOf((_, at) => ({ depth: 1, ageSeconds: 86_400 + at })),
    now: snapshotOf(2, 86_700, { overtaken: 1, inOrderSinceMs: nowMs - 20_000 }),
  },
  {
    health: "STALLED",
    why: "the jobs behind the orphan have waited for five minutes, too, and none left",
    points: stepsOf((step, at) => stuck(step, at, { ageSeconds: 86_400 + at })),
    now: snapshotOf(40, 86_700, { overtaken: 1, inOrderSinceMs: nowMs - 300_000 }),
  },
  {
    health: "SLOW",
    why: "behind the orphan there was no job, until one was recorded that had been claimable for six minutes then",
    points: stepsOf((_, at) => ({ depth: 1, ageSeconds: 86_400 + at })),
    now: snapshotOf(2, 86_700, { overtaken: 1, inOrderSinceMs: nowMs - 360_000 }),
  },
  {
    health: "STALLED",
    why: "eleven overtaken jobs are a kind of job that has no worker, not orphans",
    points: stepsOf((_, at) => ({ depth: 11, ageSeconds: 86_400 + at })),
    now: snapshotOf(11, 86_700, { overtaken: 11, inOrderSinceMs: null }),
  },
  {
    health: "SLOW",
    why: "ten are orphans",
    points: stepsOf((_, at) => ({ depth: 10, ageSeconds: 86_400 + at })),
    now: snapshotOf(10, 86_700, { overtaken: 10, inOrderSinceMs: null }),
  },
  {
    health: "FALLING_BEHIND",
    why: "the jobs behind the orphan become more, and the oldest of them has waited all through the window",
    points: stepsOf((step, at) => growing(step, at, { ageSeconds: 86_400 + at })),
    now: snapshotOf(1_100, 86_700, { overtaken: 1, inOrderSinceMs: nowMs - 300_000 }),
  },
  {
    health: "SLOW",
    why: "only the orphan is seen to grow older: that there are more jobs now is no backlog when they wait as long as ever",
    points: stepsOf((step, at) => growing(step, at, { ageSeconds: 86_400 + at })),
    now: snapshotOf(1_100, 86_700, { overtaken: 1, inOrderSinceMs: nowMs - 60_000 }),
  },
  {
    health: "UNKNOWN",
    why: "that no job waits in order is no news of a source that has gone",
    points: [],
    now: snapshotOf(1, 86_700, { overtaken: 1, inOrderSinceMs: null, stale: true }),
  },
  // FALLING_BEHIND
  {
    health: "UNKNOWN",
    why: "the head stays, and three large jobs are as many as are counted: whether others left is not known",
    points: stepsOf((step, at) => stuck(step, at, { depth: 3, isCounted: false })),
    now: { ...snapshotOf(3, 400), depthIsLowerBound: true },
  },
  {
    health: "UNKNOWN",
    why: "the head changes and grows older; that three are counted at most does not show a backlog, nor that there is none",
    points: stepsOf((step, at) => growing(step, at, { depth: 3, isCounted: false })),
    now: { ...snapshotOf(3, 110), depthIsLowerBound: true },
  },
  {
    health: "OK",
    why: "no head has waited for long, however many jobs there are",
    points: stepsOf(() => steady({ depth: 3, isCounted: false })),
    now: { ...snapshotOf(3, 1), depthIsLowerBound: true },
  },
  {
    health: "FALLING_BEHIND",
    why: "the head grows older, and more jobs wait than are counted: their number is always the limit",
    points: stepsOf((step, at) => growing(step, at, { depth: 10_000, isCounted: false })),
    now: { ...snapshotOf(10_000, 110), depthIsLowerBound: true },
  },
  {
    health: "FALLING_BEHIND",
    why: "the head stays, but jobs may leave of which more wait than are counted",
    points: stepsOf((step, at) => stuck(step, at, { depth: 10_000, isCounted: false })),
    now: { ...snapshotOf(10_000, 400), depthIsLowerBound: true },
  },
  {
    health: "FALLING_BEHIND",
    why: "each step 100 come and 80 go, and the head grows older",
    points: stepsOf(growing),
    now: grownNow,
  },
  {
    health: "FALLING_BEHIND",
    why: "it says more than SLOW does",
    points: stepsOf(growing),
    now: grownNow,
    objective: 30,
  },
  {
    health: "FALLING_BEHIND",
    why: "the depth shows it where there are no counts",
    points: stepsOf((step, at) => growing(step, at, { isCounted: false })),
    now: grownNow,
  },
  {
    health: "FALLING_BEHIND",
    why: "a few steps that were not read change nothing about it",
    points: stepsOf((step, at) => (step % 5 === 0 ? null : growing(step, at))),
    now: grownNow,
  },
  {
    health: "FALLING_BEHIND",
    why: "100 come every minute and 80 are taken meanwhile: each trough is higher than the one before",
    points: stepsOf((step, at) => ({
      depth: 600 + 20 * Math.floor(step / 6) + 100 - 13 * (step % 6),
      ageSeconds: 100 + 0.2 * at + 3 * (step % 6),
      enqueued: step % 6 === 0 ? 100 : 0,
      dequeued: 13,
    })),
    now: snapshotOf(730, 175),
  },
  {
    health: "OK",
    why: "3 came and 1 went: chance does that",
    points: stepsOf((step, at) => ({
      depth: 4 + Math.floor(step / 10),
      ageSeconds: 100 + 0.5 * at,
      enqueued: step % 10 === 0 ? 1 : 0,
      dequeued: step === 5 ? 1 : 0,
    })),
    now: snapshotOf(7, 250),
  },
  {
    health: "OK",
    why: "a thousand came at once and are being drained, though their age grows",
    points: stepsOf((step, at) =>
      step < 12
        ? steady()
        : steady({
            depth: 1_000 - 20 * (step - 12),
            ageSeconds: at - 120,
            enqueued: step === 12 ? 1_100 : 100,
            dequeued: 120,
          }),
    ),
    now: snapshotOf(640, 180),
  },
  {
    health: "OK",
    why: "a thousand have just come: it is not known yet whether they will be drained",
    points: stepsOf((step, at) =>
      step < 27
        ? steady()
        : steady({ depth: 1_000, ageSeconds: at - 270, enqueued: step === 27 ? 1_100 : 100 }),
    ),
    now: snapshotOf(1_000, 30),
  },
  {
    health: "OK",
    why: "it grew for four minutes and more workers have come: it is being drained",
    points: stepsOf((step, at) =>
      step < 22 ? growing(step, at) : growing(step, at, { depth: 920 - 70 * (step - 22), dequeued: 170 }),
    ),
    now: snapshotOf(400, 105),
  },
  {
    health: "OK",
    why: "jobs for tomorrow count as enqueued and do not wait",
    points: stepsOf((step, at) => growing(step, at, { depth: 500 })),
    now: snapshotOf(500, 110),
  },
  {
    health: "OK",
    why: "more come and go, and each of them as fast as before: the head grows no older",
    points: stepsOf((step, at) => growing(step, at, { ageSeconds: 50 })),
    now: snapshotOf(1_100, 50),
  },
  {
    health: "UNKNOWN",
    why: "events were lost until an operator trusted it a minute ago: what was recorded before is uncertain",
    points: stepsOf((step, at) => growing(step, at, { incomplete: step < 24 ? 1 : 0 })),
    now: grownNow,
  },
  {
    health: "OK",
    why: "unpaused a minute ago: it grew on purpose",
    points: stepsOf((step, at) => growing(step, at, { paused: step < 24 ? 10 : 0 })),
    now: grownNow,
  },
  {
    health: "OK",
    why: "producers' clocks differ, so the head jumps back and forth, and as many go as come",
    points: stepsOf((step) => steady({ depth: 50, ageSeconds: step % 2 === 0 ? 5 : 95 })),
    now: snapshotOf(50, 95, { accuracy: "ESTIMATED" }),
  },
];

describe("a queue is", () => {
  test.each(rows)("$health: $why", ({ health, points, now, objective }) => {
    const objectiveMs = objective === undefined ? null : objective * 1000;
    expect(healthOf({ points, now, objectiveMs })).toBe(health);
  });
});

describe("health", () => {
  const natural = (max: number) => fc.integer({ min: 0, max });
  const point = fc.record({
    atMs: fc.integer({ min: -40, max: 5 }).map((step) => nowMs + step * 10_000),
    samples: fc.integer({ min: 1, max: 10 }),
    waitingSamples: natural(10),
    pausedSamples: fc.constantFrom(0, 0, 0, 1, 10),
    incompleteSamples: fc.constantFrom(0, 0, 0, 1, 10),
    maxLatencyMs: natural(1e6),
    meanLatencyMs: natural(1e6),
    lastLatencyMs: natural(1e6),
    maxDepth: natural(1e4),
    lastDepth: natural(1e4),
    counts: fc.option(
      fc.record({
        enqueued: natural(1e4),
        dequeued: fc.constantFrom(0, 1, 1e4),
        waitTime: fc.constant({ count: 0, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 }),
      }),
    ),
  });
  const now = fc.record({ depth: natural(1e4), ageSeconds: natural(1_000) }).chain(({ depth, ageSeconds }) =>
    fc
      .record({
        source: fc.constantFrom("events", "sidekiq", null),
        state: fc.constantFrom(...queueStates),
        accuracy: fc.constantFrom(...accuracies),
        stale: fc.boolean(),
        overtaken: fc.constantFrom(0, 0, 1, 10, 11),
        inOrderSinceMs: fc.option(natural(1_000).map((seconds) => nowMs - seconds * 1_000)),
      })
      .map((rest) => snapshotOf(depth, ageSeconds, rest)),
  );
  /** Anything at all, and what is ill for sure. */
  const question: fc.Arbitrary<HealthQuestion> = fc.oneof(
    fc.record({
      points: fc.array(point, { maxLength: 40 }),
      now,
      objectiveMs: fc.option(natural(1e6)),
    }),
    fc.constantFrom(...rows).map(({ points, now, objective = null }) => ({
      points,
      now,
      objectiveMs: objective === null ? null : objective * 1000,
    })),
  );

  test("is one of five, whatever is asked, and asking changes nothing", () => {
    fc.assert(
      fc.property(question, (asked) => {
        const before = structuredClone(asked);
        expect(healths).toContain(healthOf(asked));
        expect(asked).toEqual(before);
      }),
    );
  });

  test("does not hang on when it is asked, nor on the order of the steps", () => {
    fc.assert(
      fc.property(question, natural(1e5), ({ points, now, objectiveMs }, minutes) => {
        const later = (atMs: number) => atMs + minutes * 60_000;
        const moved = points.map((each) => ({ ...each, atMs: later(each.atMs) })).reverse();
        const laterIf = (atMs: number | null) => (atMs === null ? null : later(atMs));
        const nowThen = {
          ...now,
          measuredAtMs: later(now.measuredAtMs),
          oldestSinceMs: laterIf(now.oldestSinceMs),
          changesAtMs: laterIf(now.changesAtMs),
          inOrderSinceMs: laterIf(now.inOrderSinceMs ?? null),
        };
        // Two steps at the same time are none that a history has.
        fc.pre(new Set(points.map(({ atMs }) => atMs)).size === points.length);
        expect(healthOf({ points: moved, now: nowThen, objectiveMs })).toBe(
          healthOf({ points, now, objectiveMs }),
        );
      }),
    );
  });

  test("is what the newest steps say where they decide it, whatever was before them", () => {
    let decided = 0;
    fc.assert(
      fc.property(question, fc.integer({ min: 1, max: 5 }), ({ points, now, objectiveMs }, count) => {
        fc.pre(new Set(points.map(({ atMs }) => atMs)).size === points.length);
        const newest = points.toSorted((a, b) => a.atMs - b.atMs).slice(-count);
        if (!isDecidedBy(newest, now)) return;
        decided += 1;
        expect(healthOf({ points: newest, now, objectiveMs })).toBe(healthOf({ points, now, objectiveMs }));
      }),
      { numRuns: 1_000 },
    );
    expect(decided).toBeGreaterThan(0);
  });

  test("is never worse for a later objective, nor for none unless jobs were overtaken", () => {
    fc.assert(
      fc.property(question, natural(1e6), (asked, moreMs) => {
        const earlier = healthOf(asked);
        const laterMs = asked.objectiveMs === null ? null : asked.objectiveMs + moreMs;
        const hasOvertaken = (asked.now.overtaken ?? 0) > 0;
        for (const objectiveMs of hasOvertaken ? [laterMs] : [laterMs, null]) {
          const later = healthOf({ ...asked, objectiveMs });
          expect(later === "SLOW" && earlier !== "SLOW").toBe(false);
          if (earlier !== "SLOW") expect(later).toBe(earlier);
        }
      }),
    );
  });

  test("is as bad for a queue in which everything is ten times as much: only noise becomes less", () => {
    fc.assert(
      fc.property(
        question,
        fc.integer({ min: 1, max: 100 }),
        ({ points, now: anyNow, objectiveMs }, times) => {
          // Orphans are few by their number, not by their share.
          const now = { ...anyNow, overtaken: 0 };
          const larger = points.map((each) => ({
            ...each,
            maxDepth: each.maxDepth * times,
            lastDepth: each.lastDepth * times,
            counts: each.counts && {
              ...each.counts,
              enqueued: each.counts.enqueued * times,
              dequeued: each.counts.dequeued * times,
            },
          }));
          const before = healthOf({ points, now, objectiveMs });
          const after = healthOf({ points: larger, now: { ...now, depth: now.depth! * times }, objectiveMs });
          if (after !== "FALLING_BEHIND") expect(after).toBe(before);
        },
      ),
    );
  });

  test("reports no queue as unhealthy without samples and overtaken jobs", () => {
    fc.assert(
      fc.property(now, (snapshot) => {
        const health = healthOf({ points: [], now: { ...snapshot, overtaken: 0 }, objectiveMs: null });
        expect(["OK", "UNKNOWN"]).toContain(health);
      }),
    );
  });
});

describe("of simulated queues", () => {
  /** How often of a hundred looks, 20 s apart, a queue was found to be so. */
  function percentOf(health: Health, queue: Omit<SimulatedQueue, "seed" | "seconds">): number {
    let looks = 0;
    let found = 0;
    for (const seed of [1, 2, 3, 4]) {
      const history = simulateQueue({ ...queue, seed, seconds: 2_400 });
      for (let second = 300; second <= 2_400; second += 20) {
        looks += 1;
        if (healthOf({ ...history.at(second), objectiveMs: null }) === health) found += 1;
      }
    }
    return (100 * found) / looks;
  }
  const loaded = (perSecond: number) => ({
    arrivalsPerSecond: () => perSecond,
    workers: () => 4,
    serviceSeconds: exponential(0.8),
  });

  test.each([
    { perSecond: 2.5, why: "half of what they can" },
    { perSecond: 4.5, why: "nine tenths" },
    { perSecond: 4.9, why: "all but nothing left" },
  ])(
    "four workers that take $perSecond of 5 jobs a second, $why, fall behind in less than 2 % of all looks",
    ({ perSecond }) => {
      expect(percentOf("FALLING_BEHIND", loaded(perSecond))).toBeLessThan(2);
      expect(percentOf("FALLING_BEHIND", { ...loaded(perSecond), isCounted: false })).toBeLessThan(2);
      expect(percentOf("STALLED", loaded(perSecond))).toBe(0);
    },
  );

  test("those that get 6.5 in place of 5 fall behind in more than 95 %, whether or not they are counted", () => {
    expect(percentOf("FALLING_BEHIND", loaded(6.5))).toBeGreaterThan(95);
    expect(percentOf("FALLING_BEHIND", { ...loaded(6.5), isCounted: false })).toBeGreaterThan(95);
  });

  test("one worker with jobs of four minutes is never ill", () => {
    const slow = {
      arrivalsPerSecond: () => 0.0038,
      workers: () => 1,
      serviceSeconds: () => 240,
    };
    for (const isCounted of [true, false]) {
      for (const health of ["STALLED", "FALLING_BEHIND"] as const) {
        expect(percentOf(health, { ...slow, isCounted })).toBe(0);
      }
    }
  });

  test("those without workers are STALLED, from five minutes after the first job on", () => {
    const none = { arrivalsPerSecond: () => 1, workers: () => 0, serviceSeconds: () => 1 };
    expect(percentOf("STALLED", none)).toBeGreaterThan(95);
    expect(percentOf("STALLED", { ...none, isCounted: false })).toBeGreaterThan(95);
  });
});
