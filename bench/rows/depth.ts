import { Redis } from "ioredis";
import { createKeys } from "../../src/redis/keys.ts";
import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import { clientKinds } from "../load/client-requests.ts";
import { enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { namesOf, questionFor } from "../support/questions.ts";
import { lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { say, sayMedian } from "../support/say.ts";
import { quantile } from "../support/statistics.ts";
import { startUnderTest } from "../support/under-test.ts";

const depths = [10, 10_000, 1_000_000] as const;

export const depthRow: RowGroup = {
  rows: [
    {
      id: "7",
      title: "Answer times, whatever waits",
      purpose: "That an answer takes as long for ten million waiting jobs as for a hundred.",
      how: "With `MAX_AGE=0`, so that each answer is read from Redis. One connection, on which the four clients take turns, asks for ten queues with 10 waiting jobs each, then for ten with 10,000 each, then for ten with 1,000,000 each, and begins again, so that whatever slows the machine slows all three. A million jobs are recorded once, and their keys are copied for the other nine queues.",
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const tracker = stack.use(await openTracker(redis.url, { prefix: "ql" }));
    const client = new Redis(redis.url);
    stack.defer(() => client.disconnect());
    const keys = createKeys("ql");
    const queuesOf = (depth: number) => namesOf(`waiting-${depth}`, 10);
    for (const depth of depths) {
      const [first = "", ...others] = queuesOf(depth);
      await enqueue(tracker, first, depth);
      for (const queue of others) {
        const copies = keys.all(queue);
        for (const [i, key] of keys.all(first).entries()) await client.copy(key, copies[i] ?? "");
      }
    }
    const { url } = stack.use(await startUnderTest(redis.url, { MAX_AGE: "0" }));
    const load = stack.use(startLoad());
    const questions = clientKinds.flatMap((client) =>
      depths.map((depth) => ({ ...questionFor(queuesOf(depth), client), contains: `"depth":${depth},` })),
    );
    const ask = async (forMs: number) => {
      const { tookMs } = await load.run("askInTurn", { url, questions, connections: 1, forMs });
      return depths.map((_, which) => tookMs.filter((_, i) => i % depths.length === which).flat());
    };
    await ask(lasting(plan, 3_000));
    const rounds: (readonly (readonly number[])[])[] = [];
    for (let round = 0; round < plan.rounds; round++) rounds.push(await ask(lasting(plan, 5_000)));

    const times = (which: number, q: number) => rounds.map((each) => quantile(each[which] ?? [], q));
    const lines = ([1, 2] as const).flatMap((which) =>
      ([0.5, 0.99] as const).map((q) => {
        const name = q === 0.5 ? "median" : "p99";
        return {
          what: `${name}, ${say(depths[which])} jobs a queue`,
          unit: "ms",
          against: "10 jobs a queue",
          ours: times(which, q),
          theirs: times(0, q),
          wanted: { atMost: 1.1 },
          says: `With ${say(depths[which])} waiting jobs in each queue ${q === 0.5 ? "half of the answers come" : "99 of 100 answers come"} within ${sayMedian(times(which, q))} ms; with ten it is ${sayMedian(times(0, q))} ms.`,
        };
      }),
    );
    const asked = rounds.map((each) => each[0]?.length ?? 0);
    return [{ row: "7", lines, notes: [`${sayMedian(asked)} answers of each kind a round.`] }];
  },
};
