/** Simulated queues with producers and workers: a pure model, with no clock and no I/O of its own. */

/** What befell a job, as `recordEvents` takes it. */
export interface DemoEvent {
  readonly type: "ENQUEUED" | "DEQUEUED";
  readonly queue: string;
  readonly jobId: string;
  /** RFC 3339, as `availableAt`. */
  readonly at: string;
  readonly availableAt?: string;
}

/** How one queue is produced for and worked on. Functions are given the ms since the simulation's start. */
export interface QueuePlan {
  readonly queue: string;
  /** What a person will see, in a few words. */
  readonly story: string;
  /** Mean rate: arrivals are random. */
  readonly arrivalsPerSecond: (elapsedMs: number) => number;
  /** How many jobs can be worked on at once. When there are fewer than before, those that are busy finish first. */
  readonly workers: (elapsedMs: number) => number;
  /** How long a job takes on average: each takes from half of it to half as much again. */
  readonly workMs: number;
  /** Jobs become claimable after a random delay between the two. @default none: they are claimable at once */
  readonly delayMs?: readonly [number, number];
}

const burstEveryMs = 20_000;
const burstMs = 1_000;
const behindMs = 300_000;
const recoveryMs = 60_000;

export const demoPlans: readonly QueuePlan[] = [
  {
    queue: "demo/steady",
    story: "its workers keep up: latency stays below a second",
    arrivalsPerSecond: () => 8,
    workers: () => 5,
    workMs: 350,
  },
  {
    queue: "demo/bursty",
    story: "a burst every 20 seconds, which then drains",
    arrivalsPerSecond: (elapsedMs) => (elapsedMs % burstEveryMs < burstMs ? 60 : 0.5),
    workers: () => 6,
    workMs: 800,
  },
  {
    queue: "demo/falling-behind",
    story: "more jobs than its workers take: latency grows for minutes, until more workers come",
    arrivalsPerSecond: () => 6,
    // In a recovery 20 jobs a second are done, which drains what 5 minutes of 2 too many a second have left.
    workers: (elapsedMs) => (elapsedMs % (behindMs + recoveryMs) < behindMs ? 4 : 20),
    workMs: 1_000,
  },
  {
    queue: "demo/scheduled",
    story: "its jobs are to be taken 5 to 20 seconds after they were enqueued",
    arrivalsPerSecond: () => 2,
    workers: () => 2,
    workMs: 700,
    delayMs: [5_000, 20_000],
  },
];

export interface Simulation {
  /** Until when events were given out, in ms since the epoch. */
  readonly nowMs: number;
  /** Lets time pass. @returns what happened since the last call, of all queues; what is in the past of it: nothing. */
  advance(untilMs: number): DemoEvent[];
}

/** @param random numbers from 0 up to, without, 1 @param run makes the job ids differ from those of other runs */
export function simulate(
  plans: readonly QueuePlan[],
  options: { readonly startMs: number; readonly random: () => number; readonly run: string },
): Simulation {
  const queues = plans.map((plan) => simulateQueue(plan, options));
  let nowMs = options.startMs;
  return {
    get nowMs() {
      return nowMs;
    },
    advance(untilMs) {
      const events: DemoEvent[] = [];
      for (; nowMs + tickMs <= untilMs; nowMs += tickMs) {
        for (const tick of queues) events.push(...tick(nowMs));
      }
      return events;
    },
  };
}

const tickMs = 10;

interface Job {
  readonly id: string;
  readonly claimableMs: number;
}

function simulateQueue(
  plan: QueuePlan,
  { startMs, random, run }: { startMs: number; random: () => number; run: string },
): (nowMs: number) => DemoEvent[] {
  const { queue, workMs, delayMs = [0, 0] } = plan;
  /** Not yet taken, by when they are claimable. */
  const jobs: Job[] = [];
  let busyUntilMs: number[] = [];
  let count = 0;

  function enqueue(nowMs: number): DemoEvent {
    const claimableMs = nowMs + Math.round(delayMs[0] + random() * (delayMs[1] - delayMs[0]));
    const job: Job = { id: `${run}-${++count}`, claimableMs };
    jobs.splice(jobs.findLastIndex((other) => other.claimableMs <= claimableMs) + 1, 0, job);
    return {
      type: "ENQUEUED",
      queue,
      jobId: job.id,
      at: instant(nowMs),
      ...(claimableMs > nowMs ? { availableAt: instant(claimableMs) } : {}),
    };
  }

  return (nowMs) => {
    const elapsedMs = nowMs - startMs;
    const events: DemoEvent[] = [];
    const arrivals = Math.floor((plan.arrivalsPerSecond(elapsedMs) * tickMs) / 1_000 + random());
    for (let i = 0; i < arrivals; i++) events.push(enqueue(nowMs));

    busyUntilMs = busyUntilMs.filter((untilMs) => untilMs > nowMs);
    while (busyUntilMs.length < plan.workers(elapsedMs)) {
      const [head] = jobs;
      if (head === undefined || head.claimableMs > nowMs) break;
      jobs.shift();
      busyUntilMs.push(nowMs + workMs * (0.5 + random()));
      events.push({ type: "DEQUEUED", queue, jobId: head.id, at: instant(nowMs) });
    }
    return events;
  };
}

function instant(ms: number): string {
  return new Date(ms).toISOString();
}

/** Random numbers that are the same for the same seed: mulberry32. */
export function createRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
