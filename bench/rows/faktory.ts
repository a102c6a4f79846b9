import { Client } from "faktory-worker";
import { startFaktory, whyNoFaktory } from "../../test/support/faktory.ts";
import { startRedis } from "../../test/support/redis.ts";
import { post } from "../../test/support/server.ts";
import { startLoad } from "../support/load.ts";
import { namesOf, query, questionFor } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { sayMedian } from "../support/say.ts";
import { median } from "../support/statistics.ts";
import { loadTokens, startUnderTest } from "../support/under-test.ts";

const payloads = [
  { name: "small", bytes: 100, says: "100 bytes", wanted: { atMost: 2 } },
  { name: "large", bytes: 100_000, says: "100 KB", wanted: { atMost: 1 } },
] as const;
const queueCounts = [1, 10, 100] as const;

export const faktoryRow: RowGroup = {
  rows: [
    {
      number: 10,
      title: "Answer times of Faktory's queues, against Faktory",
      how: "A real Faktory with 100 queues of two jobs whose arguments have 100 bytes, and 100 with 100 KB. The server reads it once a second, also while Faktory itself is asked. One connection asks the query for 1, 10 or 100 of the queues, one after the other; the other side is one connection that asks Faktory `QUEUE LATENCY` for the same queues, with the connection of faktory-worker. Medians of the answer times in each round, which is what somebody feels who asks: over many connections, the same queries of one tick would be run once for all of them, and ours would look better than it is. Ours are asked for eight fields of each queue; for `queue latency` alone, which is all that Faktory tells, it takes about as long.",
      obstacle:
        "an answer of Faktory's is one message there and one back, and nobody is asked who he is. Ours is three of each, since points are taken in Redis before anything is read there; the kernel's part of our three writes alone is 40 % of the server's CPU time for one queue, and takes longer than Faktory's whole answer. Each of 100 queues is a script of its own, 9 µs of Redis, and a command, a reply and an object of the answer for Node. Reading before the points are known to suffice would save a third, at the price that what is refused costs Redis reads; one script for all queues would need keys of many hash tags, which a Redis Cluster refuses.",
    },
  ],
  async measure(plan) {
    if (whyNoFaktory !== null) throw new Error(whyNoFaktory);
    await using stack = new AsyncDisposableStack();
    const faktory = stack.use(await startFaktory());
    const jobs = new Client({ url: faktory.url, poolSize: 4 });
    stack.defer(() => jobs.close());
    for (const { name, bytes } of payloads) {
      for (const queue of namesOf(name, 100)) {
        for (let n = 0; n < 2; n++) await jobs.push({ jobtype: "work", queue, args: ["x".repeat(bytes)] });
      }
    }
    const redis = stack.use(await startRedis());
    const { url } = stack.use(await startUnderTest(redis.url, { FAKTORY_URL: faktory.url }));
    await allAreRead(url);
    const load = stack.use(startLoad());

    const combinations = payloads.flatMap((payload) => queueCounts.map((count) => ({ payload, count })));
    const contestants: Record<string, () => Promise<number>> = {};
    const forMs = lasting(plan, 800);
    for (const { payload, count } of combinations) {
      const names = namesOf(payload.name, count);
      const question = questionFor(names.map((name) => `faktory/${name}`));
      contestants[`ours ${payload.name} ${count}`] = async () => {
        const asked = await load.run("askInTurn", { url, questions: [question], connections: 1, forMs });
        return median(asked.tookMs[0] ?? []);
      };
      contestants[`theirs ${payload.name} ${count}`] = async () =>
        median(await load.run("askFaktory", { url: faktory.url, queues: names, forMs }));
    }
    for (const warmUp of Object.values(contestants)) await warmUp();
    const rounds = await interleave(plan, contestants);

    const lines = combinations.map(({ payload, count }) => {
      const ours = rounds[`ours ${payload.name} ${count}`] ?? [];
      const theirs = rounds[`theirs ${payload.name} ${count}`] ?? [];
      return {
        what: `${count} ${count === 1 ? "queue" : "queues"}, payloads of ${payload.says}`,
        unit: "ms",
        against: "QUEUE LATENCY",
        ours,
        theirs,
        wanted: payload.wanted,
        says: `The latency of ${count} of Faktory's queues with payloads of ${payload.says} is here after ${sayMedian(ours)} ms; from Faktory itself after ${sayMedian(theirs)} ms.`,
      };
    });
    return [{ row: 10, lines, notes: [] }];
  },
};

/** Waits until the server knows every queue. */
async function allAreRead(url: string): Promise<void> {
  const names = payloads.map(({ name }) => `faktory/${namesOf(name, 100).at(-1)}`);
  const headers = { authorization: `Bearer ${loadTokens[0]}` };
  for (const startedAtMs = performance.now(); performance.now() < startedAtMs + 30_000; ) {
    const { body } = await post(url, { query, variables: { queues: names } }, headers);
    if (body.data?.queueLatency.every(({ state }: { readonly state: string }) => state === "WAITING")) return;
  }
  throw new Error("expected the server to read Faktory within half a minute");
}
