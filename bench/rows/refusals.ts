import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import type { Asked, Question } from "../load/ask.ts";
import { enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { cpuMs } from "../support/process-figures.ts";
import { namesOf, query, questionFor, tenQueues } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { sayMedian } from "../support/say.ts";
import { quantile } from "../support/statistics.ts";
import { loadTokens, startUnderTest } from "../support/under-test.ts";

const wellBehavedPerSecond = 200;
const refusedPerSecond = 500;
const floodConnections = 8;

/** As many points a second as usual, and a window so long that who has spent them gets none while it is measured. */
const limits = { RATE_LIMIT_MAX: "360000", RATE_LIMIT_WINDOW: "1h" };
const others = { greedy: "read,record", recorder: "record", spent: "read" };

export const refusalsRow: RowGroup = {
  rows: [
    {
      number: 11,
      title: "Answer times while others send what is refused",
      obstacle:
        "one process has one core, and does one thing at a time. Who floods it is worked for half a millisecond in a tick, but what was begun is finished: the longest of what is refused here, documents and batches of 50 KB, take 1 to 1.5 ms, and garbage is collected for all. An answer takes four ticks and two round trips to Redis, and meets that in each. More server processes share it out; a reverse proxy with a limit of requests a second for each address keeps it away.",
      how: `25 clients with 100 points a second each, the usual limit, ask 200 queries a second for ten queues, whether the ones before were answered or not. Three others and a stranger send, from another process, in turn: too many queues, too dear a query, a bad name, an unknown token, a token without the right, a document that is nested 400 deep, one of 5,000 fields, one that is no GraphQL, a batch of 51, 1,001 events, and a query of a client that has no points left. Once they send ${refusedPerSecond} a second, and once as fast as they are refused, over ${floodConnections} connections. The other side is the same without them.`,
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const tracker = stack.use(await openTracker(redis.url, { prefix: "ql" }));
    for (const queue of tenQueues) await enqueue(tracker, queue, 100);
    const { url, pid } = stack.use(await startUnderTest(redis.url, limits, others));
    const load = stack.use(startLoad());
    const greed = stack.use(startLoad());
    const forMs = lasting(plan, 3_000);
    const spending = { ...throttled, status: 200, contains: '"data"' };
    // 720 of 500 points each are all that there are.
    const spend = greed.run("askInTurn", { url, questions: [spending], connections: 4, forMs: 60_000 });
    await spend.catch((error: Error) => {
      if (!error.message.includes("THROTTLED")) throw error;
    });

    const wellBehaved = (forThatMs: number) => {
      const questions = loadTokens.map((token) => questionFor(tenQueues, token));
      const rate = { perSecond: wellBehavedPerSecond, connections: 50 };
      return load.run("askAtRate", { url, questions, ...rate, forMs: forThatMs });
    };
    const beside = async (refused: Promise<Asked> | null) => {
      const cpuBeforeMs = cpuMs(pid);
      const [asked, refusals] = await Promise.all([wellBehaved(forMs), refused]);
      const tookMs = asked.tookMs.flat();
      const refusedCount = refusals?.tookMs.flat().length ?? 0;
      return {
        p50: quantile(tookMs, 0.5),
        p99: quantile(tookMs, 0.99),
        busy: (cpuMs(pid) - cpuBeforeMs) / forMs,
        refusedPerSecond: (refusedCount / (refusals?.wallMs ?? 1)) * 1_000,
      };
    };
    const target = { url, questions: refusedQuestions, forMs };
    const paced = () => greed.run("askAtRate", { ...target, perSecond: refusedPerSecond, connections: 50 });
    const flood = () => greed.run("askInTurn", { ...target, connections: floodConnections });
    await wellBehaved(forMs);
    await flood();
    const rounds = await interleave(plan, {
      alone: () => beside(null),
      paced: () => beside(paced()),
      flooded: () => beside(flood()),
    });

    const of = (measured: typeof rounds.alone, figure: keyof (typeof measured)[number]) =>
      measured.map((each) => each[figure]);
    const lineOf = (what: string, measured: typeof rounds.alone, figure: "p50" | "p99") => ({
      what: `${figure === "p50" ? "median" : "p99"}, ${what}`,
      unit: "ms",
      against: "without them",
      ours: of(measured, figure),
      theirs: of(rounds.alone, figure),
      wanted: figure === "p99" ? { atMost: 2 } : null,
      says: `While others send ${what}, ${figure === "p50" ? "half" : "99 of 100"} of the answers to everybody else come within ${sayMedian(of(measured, figure))} ms; else within ${sayMedian(of(rounds.alone, figure))} ms.`,
    });
    const atRate = `${refusedPerSecond} refused requests a second`;
    const flooding = "refused requests as fast as they can";
    const lines = [
      lineOf(atRate, rounds.paced, "p99"),
      lineOf(atRate, rounds.paced, "p50"),
      lineOf(flooding, rounds.flooded, "p99"),
      lineOf(flooding, rounds.flooded, "p50"),
    ];
    const busy = (measured: typeof rounds.alone) => `${sayMedian(of(measured, "busy"))} of a core`;
    const notes = [
      `As fast as they can was ${sayMedian(of(rounds.flooded, "refusedPerSecond"))} refused requests a second.`,
      `The server took ${busy(rounds.alone)} without them, ${busy(rounds.paced)} with ${atRate}, and ${busy(rounds.flooded)} with as many as they could send.`,
    ];
    return [{ row: 11, lines, notes }];
  },
};

const dearQuery = (fields: number) => {
  const aliased = Array.from(
    { length: fields },
    (_, i) => `a${i}: queueLatency(queues: $queues) { queue depth }`,
  );
  return `query ($queues: [String!]!) { ${aliased.join(" ")} }`;
};

/** Costs 500 points, which is the most that one request may. */
const throttled = refused(
  { query: dearQuery(5), variables: { queues: namesOf("dear", 100) } },
  "THROTTLED",
  "spent",
);

/** Each bound once. How documents are refused is said in several ways, so of them no code is expected. */
const refusedQuestions: readonly Question[] = [
  refused({ query, variables: { queues: namesOf("many", 101) } }, "TOO_MANY_QUEUES"),
  refused({ query: dearQuery(10), variables: { queues: namesOf("dear", 100) } }, "MAX_COST_EXCEEDED"),
  refused({ query, variables: { queues: ["all*"] } }, "BAD_USER_INPUT"),
  refused({ query, variables: { queues: tenQueues } }, "UNAUTHENTICATED", "nobody"),
  refused({ query, variables: { queues: tenQueues } }, "FORBIDDEN", "recorder"),
  refused({ query: `${"{ a".repeat(400)}${" }".repeat(400)}` }),
  refused({ query: `{ ${"__typename ".repeat(5_000)} }` }),
  refused({ query: "{{{" }),
  refused(
    Array.from({ length: 51 }, () => ({ query: "{ __typename }" })),
    "BAD_USER_INPUT",
  ),
  refused(
    {
      query: "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }",
      variables: { events: namesOf("job", 1_001).map((jobId) => ({ type: "ENQUEUED", queue: "q", jobId })) },
    },
    "BAD_USER_INPUT",
  ),
  throttled,
];

function refused(body: unknown, code?: string, token = "greedy"): Question {
  const contains = code === undefined ? '"errors"' : `"code":"${code}"`;
  return { body: JSON.stringify(body), token, status: null, contains };
}
