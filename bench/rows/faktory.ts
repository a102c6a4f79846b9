import { Client } from "faktory-worker";
import { startFaktory, whyNoFaktory } from "../../test/support/faktory.ts";
import { startRedis } from "../../test/support/redis.ts";
import { post } from "../../test/support/server.ts";
import { startLoad } from "../support/load.ts";
import { mixedQuestions, namesOf, query } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { sayMedian } from "../support/say.ts";
import { median } from "../support/statistics.ts";
import { loadTokens, startUnderTest } from "../support/under-test.ts";

const payloads = [
  { name: "small", bytes: 100, says: "100 bytes", atMost: { 1: 2, 10: 2, 100: 1.5 } },
  { name: "large", bytes: 100_000, says: "100 KB", atMost: { 1: 1, 10: 1, 100: 1 } },
] as const;
const queueCounts = [1, 10, 100] as const;

export const faktoryRow: RowGroup = {
  rows: [
    {
      id: "10",
      title: "Answer times of Faktory's queues, against Faktory",
      purpose: "What a tool that asks Faktory for `QUEUE LATENCY` loses or wins by asking here instead.",
      how: "A real Faktory with 100 queues of two jobs whose arguments have 100 bytes, and 100 with 100 KB. The server reads it once a second, also while Faktory itself is asked. One connection, on which the four clients take turns, asks 64 different queries for 1, 10 or 100 of the queues, one after the other; the other side is one connection that asks Faktory `QUEUE LATENCY` for the same lists, with the connection of faktory-worker. Medians of the answer times in each round. Ours are asked for eight fields of each queue, and have tokens, prices and limits.",
      obstacle:
        "one queue is the least that can be asked, so what each request takes is nearly all of the answer time: HTTP on both sides, the token, the price, the points, and eight fields. Most answers come from memory; the profile is that of row 1a. Faktory's protocol has one line each way, and a connection is identified once. A WebSocket, on which the client is known and there are no headers, was not measured.",
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
      const all = namesOf(payload.name, 100);
      const namesIn = (question: number) =>
        Array.from({ length: count }, (_, i) => all[(question + i) % all.length] ?? "");
      const queuesOf = (question: number) => namesIn(question).map((name) => `faktory/${name}`);
      const questions = mixedQuestions({ queuesOf });
      const lists = questions.map((_, i) => namesIn(i));
      contestants[`ours ${payload.name} ${count}`] = async () => {
        const asked = await load.run("askInTurn", { url, questions, connections: 1, forMs });
        return median(asked.tookMs.flat());
      };
      contestants[`theirs ${payload.name} ${count}`] = async () =>
        median(await load.run("askFaktory", { url: faktory.url, lists, forMs }));
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
        wanted: { atMost: payload.atMost[count] },
        says: `The latency of ${count} of Faktory's queues with payloads of ${payload.says} is here after ${sayMedian(ours)} ms; from Faktory itself after ${sayMedian(theirs)} ms.`,
      };
    });
    return [{ row: "10", lines, notes: [] }];
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
