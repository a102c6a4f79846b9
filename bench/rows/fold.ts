import { Redis } from "ioredis";
import { startRedis } from "../../test/support/redis.ts";
import { post } from "../../test/support/server.ts";
import type { Written } from "../load/fold.ts";
import { startLoad } from "../support/load.ts";
import { cpuMs } from "../support/process-figures.ts";
import { namesOf } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { say, sayMedian } from "../support/say.ts";
import { loadTokens, startUnderTest } from "../support/under-test.ts";

/** Each has one batch under way at any time. */
const oneQueue = namesOf("fold", 1);
const eightQueues = namesOf("fold", 8);
const batches =
  "Batches of 500 events of one queue, each with a `batchId`: 250 jobs come, and the 250 of the batch before are dequeued; ids of 24 characters.";

export const foldRows: RowGroup = {
  rows: [
    {
      id: "5",
      title: "Events folded a second",
      purpose: "Whether Redis can take in the events of a job system at the rate of the jobs themselves.",
      how: `${batches} The fold itself, called in one process, with all that it keeps: waiting jobs, tombstones, counters, wait times, batches, and the notice of the change. The other side pushes as many values of 24 characters, each with an \`LPUSH\` of its own, in pipelines of 500, with the same ioredis and Redis. Once one batch or pipeline follows the other, and once eight are under way, of a queue or list each. Redis is emptied before each.`,
    },
    {
      id: "6",
      title: "Events a second through recordEvents over HTTP",
      purpose: "How many events a second one server process takes in from producers.",
      how: `${batches} They are posted as variables to one server process over eight connections that are kept alive, of a queue each. Compared with 100,000 events a second, or half of what the fold of row 5 did with eight batches under way in the same round, whichever is less. The server has a Redis of its own, and the queues are forgotten after each round.`,
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    // Of the server's own, which takes emptied keys for lost writes.
    const serverRedis = stack.use(await startRedis());
    const { url, pid } = stack.use(await startUnderTest(serverRedis.url, {}, { admin: "admin" }));
    const writer = stack.use(startLoad());
    const load = stack.use(startLoad());
    const client = new Redis(redis.url);
    stack.defer(() => client.disconnect());
    const token = loadTokens[0] ?? "";

    const measure = async (write: () => Promise<Written>) => {
      await client.flushall();
      const cpuBefore = cpuMs(pid);
      const { count, wallMs } = await write();
      return { perSecond: (count / wallMs) * 1_000, cpuUs: ((cpuMs(pid) - cpuBefore) / count) * 1_000 };
    };
    const forMs = lasting(plan, 2_000);
    const fold = (queues: readonly string[]) => () =>
      measure(() => writer.run("foldEvents", { redisUrl: redis.url, queues, forMs }));
    const push = (queues: readonly string[]) => () =>
      measure(() => writer.run("pushValues", { redisUrl: redis.url, queues, forMs }));
    const record = async () => {
      const recorded = await measure(() =>
        load.run("recordEvents", { url, token, queues: eightQueues, forMs }),
      );
      for (const queue of eightQueues) await forget(url, queue);
      return recorded;
    };
    for (const warmUp of [fold(eightQueues), push(eightQueues), record]) await warmUp();
    const rounds = await interleave(plan, {
      foldedInTurn: fold(oneQueue),
      pushedInTurn: push(oneQueue),
      folded: fold(eightQueues),
      pushed: push(eightQueues),
      recorded: record,
    });

    const perSecond = (measured: typeof rounds.folded) => measured.map((each) => each.perSecond);
    const folded = perSecond(rounds.folded);
    const recorded = perSecond(rounds.recorded);
    const lineOf = (what: string, ours: readonly number[], theirs: readonly number[]) => ({
      what,
      unit: "events/s",
      against: "LPUSH, pipelined",
      ours,
      theirs,
      wanted: { atLeast: 0.7 },
      says: `With ${what} Redis takes in ${sayMedian(ours)} events a second with all that is counted of them; it takes ${sayMedian(theirs)} values a second when they are only pushed to a list.`,
    });
    const recordLine = {
      what: "recordEvents over HTTP",
      unit: "events/s",
      against: "100,000, or half of the fold",
      ours: recorded,
      theirs: folded.map((each) => Math.min(100_000, each / 2)),
      wanted: { atLeast: 1 },
      says: `One server process records ${sayMedian(recorded)} events a second that are sent to it in batches of 500.`,
    };
    const cpuUs = sayMedian(rounds.recorded.map((each) => each.cpuUs));
    const lines = [
      lineOf("one batch after the other", perSecond(rounds.foldedInTurn), perSecond(rounds.pushedInTurn)),
      lineOf("eight batches under way", folded, perSecond(rounds.pushed)),
    ];
    const notes = [
      `One event takes ${cpuUs} µs of the server's CPU. The load process was busy for at most ${say(load.busiest() * 100)} % of a core.`,
    ];
    return [
      { row: "5", lines, notes: [] },
      { row: "6", lines: [recordLine], notes },
    ];
  },
};

/** Else the next round's batches would repeat those of this one. */
async function forget(url: string, queue: string): Promise<void> {
  const query = "mutation ($queue: String!) { forgetQueue(queue: $queue) }";
  const { body } = await post(url, { query, variables: { queue } }, { authorization: "Bearer admin" });
  if (body.errors !== undefined)
    throw new Error(`expected ${queue} to be forgotten: ${body.errors[0]?.message}`);
}
