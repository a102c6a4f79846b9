import { Redis } from "ioredis";
import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import { createChanges, enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { cpuMs } from "../support/process-figures.ts";
import { subscription, tenQueues, withCounts } from "../support/questions.ts";
import { commandsRun } from "../support/redis-figures.ts";
import { interleave, lasting, type Plan } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { sayMedian } from "../support/say.ts";
import { evenly, subscribe } from "../support/subscribers.ts";
import { startUnderTest } from "../support/under-test.ts";

interface Counted {
  /** Commands a second on the three sides: with many subscribers, with one, and with none. */
  readonly perSecond: readonly [many: number, one: number, none: number];
  /** What share of a core the server with many takes. Near 1 it cannot push as often as it should, and so reads less. */
  readonly busy: number;
}

const subscribers = [1_000, 1, 0] as const;

export const commandsRow: RowGroup = {
  rows: [
    {
      id: "4",
      title: "Redis commands a second with 1,000 identical subscribers",
      purpose: "That subscribers of the same queues do not add work for Redis.",
      how: "Three servers, each with a Redis of its own, get the same jobs at the same time from another process, in ten queues in turn. One has 1,000 subscribers of these queues over WebSockets, with the usual `minIntervalMs` and `refreshMs`, one has one, and one has none. Counted by `INFO commandstats`, with the commands that scripts run; what the server without subscribers needs is the recording of the jobs, and is taken off.",
    },
  ],
  async measure(plan) {
    const plain = await count(plan, subscription, { slow: 4, fast: 100 });
    const counting = await count(plan, withCounts(subscription), { slow: 4 });

    const lineOf = (what: string, measured: readonly Counted[]) => {
      const ours = measured.map(({ perSecond: [many, , none] }) => many - none);
      const theirs = measured.map(({ perSecond: [, one, none] }) => one - none);
      return {
        what,
        unit: "commands/s",
        against: "with one subscriber",
        ours,
        theirs,
        wanted: { atMost: 1.2 },
        says: `${what}: 1,000 subscribers of the same ten queues cost Redis ${sayMedian(ours)} commands a second; one costs ${sayMedian(theirs)}.`,
      };
    };
    const lines = [
      lineOf("4 jobs a second", plain.slow),
      lineOf("100 jobs a second", plain.fast),
      lineOf("4 jobs a second, with throughput and wait times", counting.slow),
    ];
    const busy = (measured: readonly Counted[]) => `${sayMedian(measured.map((each) => each.busy * 100))} %`;
    const notes = [
      `The server with 1,000 subscribers is busy for ${busy(plain.slow)}, ${busy(plain.fast)} and ${busy(counting.slow)} of a core; where it has no time left, it pushes and reads less often than it should.`,
      `The recording of 4 jobs takes ${sayMedian(plain.slow.map(({ perSecond }) => perSecond[2]))} commands.`,
    ];
    return [{ row: "4", lines, notes }];
  },
};

/** Counts on all three sides with one subscription, at each of some rates of jobs a second. */
async function count<K extends string>(
  plan: Plan,
  query: string,
  jobsPerSecond: Readonly<Record<K, number>>,
): Promise<Record<K, Counted[]>> {
  await using stack = new AsyncDisposableStack();
  // The subscribers go before the servers stop.
  await using load = startLoad();
  const sides = await Promise.all(
    subscribers.map(async (subscriberCount) => {
      const redis = stack.use(await startRedis());
      const tracker = stack.use(await openTracker(redis.url, { prefix: "ql" }));
      for (const queue of tenQueues) await enqueue(tracker, queue, 10);
      const { url, pid } = stack.use(await startUnderTest(redis.url));
      const group = { load, name: `${subscriberCount} subscribers` };
      const options = { transport: "websocket", url, count: subscriberCount, query } as const;
      if (subscriberCount > 0) await subscribe(group, options);
      const client = new Redis(redis.url);
      stack.defer(() => client.disconnect());
      return { change: createChanges(tracker), commands: () => commandsRun(client), pid };
    }),
  );

  const drive = async (rate: number): Promise<Counted> => {
    const pid = sides[0]?.pid ?? -1;
    const cpuBefore = cpuMs(pid);
    const before = await Promise.all(sides.map((side) => side.commands()));
    const startedAtMs = performance.now();
    await evenly((lasting(plan, 3_000) / 1_000) * rate, 1_000 / rate, (n) =>
      Promise.all(sides.map((side) => side.change(tenQueues[n % tenQueues.length] ?? ""))),
    );
    const tookMs = performance.now() - startedAtMs;
    const after = await Promise.all(sides.map((side) => side.commands()));
    const perSecond = after.map((commands, i) => ((commands - (before[i] ?? 0)) / tookMs) * 1_000);
    return {
      perSecond: perSecond as unknown as Counted["perSecond"],
      busy: (cpuMs(pid) - cpuBefore) / tookMs,
    };
  };
  const rates = Object.entries<number>(jobsPerSecond).map(([name, rate]) => [name, () => drive(rate)]);
  return await interleave(plan, Object.fromEntries(rates) as Record<K, () => Promise<Counted>>);
}
