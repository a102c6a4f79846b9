import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import type { Question } from "../load/ask.ts";
import { postOf } from "../load/http-connection.ts";
import { enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { cpuMs } from "../support/process-figures.ts";
import { manyQueues, mixedQuestions, namesOf, query, tenQueues } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { sayMedian } from "../support/say.ts";
import { quantile } from "../support/statistics.ts";
import { startUnderTest } from "../support/under-test.ts";

const goodPerSecond = 200;
const floodConnections = 8;

/** As many points a second as usual, and enough at once that no good client runs out of them. */
const limits = { RATE_LIMIT_MAX: "360000", RATE_LIMIT_WINDOW: "1h" };
/** The token `flood`, as bench/load/floods.ts has it, and one that may not read. */
const floodTokens = { flood: "read,record", recorder: "record" };

/** What the flooding token does, by how a line calls it. */
const floodNames = [
  "requests refused for each bound, by HTTP",
  "refused documents by HTTP",
  "refused documents by WebSocket",
] as const;
type FloodName = (typeof floodNames)[number];

export const refusalsRow: RowGroup = {
  rows: [
    {
      id: "11",
      obstacle:
        "a document of the flood takes 1.1 ms of CPU to parse and to price, and its syntax tree is garbage at once: with 50 of them a second the server collects ten times a second, for 2 to 8 ms each, and once a second for 5 to 20 ms. A profile has 19 % of all samples in the collector. Less garbage would change it: to price a document while it is parsed, without a tree of it.",
      title: "Answer times of good clients while one token floods with what is refused",
      purpose:
        "That one broken or hostile client, whose requests are all refused, is not felt by the others.",
      how: `25 clients with the usual 100 points a second each ask ${goodPerSecond} of the 64 queries a second, whether the ones before were answered or not. From another process one token, which has spent its points, sends what is refused as fast as it can. First each bound in turn, over ${floodConnections} connections: too many queues, a query that costs too much or is throttled, a bad name, a document that is nested 400 deep, one of 5,000 fields, one that is not GraphQL, a batch of 51, 1,001 events, and requests with an unknown token and with one that may not read. Then a document of 20 KB that is refused for its price (bench/load/floods.ts): over 8 connections with 8 requests each in flight, and over two WebSockets with four operations each. The other side is the same without a flood.`,
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const tracker = stack.use(await openTracker(redis.url, { prefix: "ql" }));
    for (const queue of manyQueues) await enqueue(tracker, queue, 100);
    const { url, pid } = stack.use(await startUnderTest(redis.url, limits, floodTokens));
    const load = stack.use(startLoad());
    const forMs = lasting(plan, 3_000);

    // 720 requests of 500 points are all that the token may send at once.
    const spender = stack.use(startLoad());
    const spending = { ...throttled, status: 200, contains: '"data":{' };
    await spender
      .run("askInTurn", { url, questions: [spending], connections: 4, forMs: 60_000 })
      .catch((error: Error) => {
        if (!error.message.includes("THROTTLED")) throw error;
      });

    const askGood = async () => {
      const cpuBeforeMs = cpuMs(pid);
      const target = { url, questions: mixedQuestions(), connections: 50, forMs };
      const tookMs = (await load.run("askAtRate", { ...target, perSecond: goodPerSecond })).tookMs.flat();
      return {
        p50: quantile(tookMs, 0.5),
        p99: quantile(tookMs, 0.99),
        busy: (cpuMs(pid) - cpuBeforeMs) / forMs,
      };
    };
    const besides = (name: FloodName) => async () => {
      // It ends with its process, at the end of the round.
      await using flood = startLoad();
      if (name === "requests refused for each bound, by HTTP") {
        const target = { url, questions: refusedQuestions, connections: floodConnections };
        const refused = flood.run("askInTurn", { ...target, forMs });
        const [good] = await Promise.all([askGood(), refused]);
        return good;
      }
      await flood.run("startFlood", { name, url });
      return await askGood();
    };
    await askGood();
    const rounds = await interleave(plan, {
      alone: askGood,
      ...(Object.fromEntries(floodNames.map((name) => [name, besides(name)])) as Record<
        FloodName,
        typeof askGood
      >),
    });

    const of = (name: FloodName | "alone", figure: keyof Awaited<ReturnType<typeof askGood>>) =>
      rounds[name].map((each) => each[figure]);
    const lines = floodNames.flatMap((name) =>
      (["p99", "p50"] as const).map((figure) => ({
        what: `${figure === "p50" ? "median" : "p99"}, ${name}`,
        unit: "ms",
        against: "without a flood",
        ours: of(name, figure),
        theirs: of("alone", figure),
        wanted: figure === "p99" ? ({ atMost: 20, absolute: true } as const) : null,
        says: `While one token sends ${name}, ${figure === "p50" ? "half" : "99 of 100"} of the answers to the others come within ${sayMedian(of(name, figure))} ms; without within ${sayMedian(of("alone", figure))} ms.`,
      })),
    );
    const busy = [...floodNames, "alone" as const].map((name) => `${name}: ${sayMedian(of(name, "busy"))}`);
    return [{ row: "11", lines, notes: [`The server took, of a core: ${busy.join("; ")}.`] }];
  },
};

const expensiveQuery = (fields: number) => {
  const aliased = Array.from(
    { length: fields },
    (_, i) => `a${i}: queueLatency(queues: $queues) { queue depth }`,
  );
  return `query ($queues: [String!]!) { ${aliased.join(" ")} }`;
};

/** Costs 500 points, the most that one request may. */
const throttled = refused({ query: expensiveQuery(5), variables: { queues: namesOf("many", 100) } });

/**
 * Each bound once. The token has no points left, so what passes a bound is throttled; which of both refuses a request is not
 * looked at.
 */
const refusedQuestions: readonly Question[] = [
  refused({ query, variables: { queues: namesOf("many", 101) } }),
  refused({ query: expensiveQuery(10), variables: { queues: namesOf("many", 100) } }),
  refused({ query, variables: { queues: ["all*"] } }),
  refused({ query, variables: { queues: tenQueues } }, "unknown"),
  refused({ query, variables: { queues: tenQueues } }, "recorder"),
  refused({ query: `${"{ a".repeat(400)}${" }".repeat(400)}` }),
  refused({ query: `{ ${"__typename ".repeat(5_000)} }` }),
  refused({ query: "{{{" }),
  refused(Array.from({ length: 51 }, () => ({ query: "{ __typename }" }))),
  refused({
    query: "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }",
    variables: { events: namesOf("job", 1_001).map((jobId) => ({ type: "ENQUEUED", queue: "q", jobId })) },
  }),
  // One in five seconds passes, when the bucket holds as much again.
  { ...throttled, contains: '"cost"' },
];

function refused(body: unknown, token = "flood"): Question {
  return { request: postOf(JSON.stringify(body), token), status: null, contains: '"errors"' };
}
