import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import { clientKinds } from "../load/client-requests.ts";
import { enqueue, keepRecording } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { startPeer } from "../support/peer.ts";
import { cpuMs } from "../support/process-figures.ts";
import { manyQueues, mixedQuestions, tenQueues } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup, RowResult, Wanted } from "../support/row.ts";
import { say, sayMedian } from "../support/say.ts";
import { startUnderTest } from "../support/under-test.ts";

const jobsPerQueue = 100;
const connections = 32;
const recordedPerSecond = 50;
const common = `${connections} connections that are kept alive ask one query after the other, each its own two of 64: ten of 64 queues with ${jobsPerQueue} waiting jobs each, and all fields but \`source\`, \`scheduled\`, \`clockSkew\`, \`throughput\` and \`waitTime\`. Meanwhile ${recordedPerSecond} jobs a second are recorded in these queues. The requests are those of one client at a time, then of all four, and then of all four for the same ten queues, for comparison.`;
const plainReads =
  "The other side gets the same requests, and reads the same keys of the same Redis in one pipeline a request: `HGET`, `ZRANGE … BYSCORE LIMIT 0 1` and `ZCOUNT` for each queue, without authentication, limits and memory.";
const mercurius =
  "It is Mercurius on Fastify, with its just-in-time compiler on, a schema of these fields only, no logger and no limits.";

const profileOfAnswers =
  "A profile of all four clients: 25 % in the system call that writes a response, 14 % reading and parsing requests, 11 % reading snapshots again that are too old or have changed, of which 8 % is the system call, 9 % garbage collection, 8 % executing and encoding, 2 % the hash of the token; the rest is spread over the headers, the price, the throttle, the fair scheduler and promises, each with less than 2 %.";

export const queryRows: RowGroup = {
  rows: [
    {
      id: "1a",
      title: "Queries a second, against Mercurius",
      purpose:
        "Whether a client of any kind gets its answers at least twice as cheaply here as from a GraphQL server that a team would write for this one field.",
      how: `${common} Ours has its default settings, so it answers from snapshots of up to \`MAX_AGE\`. ${plainReads} ${mercurius}`,
      obstacle: `no part of the server's own work stands out. ${profileOfAnswers} node:http would allow it: a handler that sends as many bytes after one script call took 30 µs of CPU time, the server about 150 (not in one run). Yoga's hooks, which are kept since Yoga is the engine, are 2 to 3 %. What made no difference beyond the noise: \`MAX_AGE=1s\`, and Node's own way to read connections. A young generation of four times the size took 0.95 of the CPU time (15 short rounds, on a busy machine); it is not set, since it takes memory that a server of idle subscribers does not need. Reading queues together that are half of \`MAX_AGE\` old made it slower.`,
    },
    {
      id: "1b",
      title: "Queries a second without answers from memory, against Mercurius",
      purpose:
        "Whether authentication, prices, limits and exact reads cost more than Mercurius saves by having none of them.",
      how: `As row 1a, with \`MAX_AGE=0\`: each answer is read from Redis. ${plainReads} ${mercurius}`,
      obstacle:
        "a profile of all four clients: 16 % writing script calls, most of it in the system call, 14 % writing responses, 12 % garbage collection, 10 % in ioredis, 8 % reading replies, 12 % executing and encoding, 6 % reading requests. A script call is handed five keys of each queue. If it made four of them from the first, the calls would be a third as long; Redis asks for all keys that a script uses.",
    },
    {
      id: "2",
      title: "Queries a second, against bare node:http",
      purpose: "How far the server is from the least that can be written in Node for the same answer.",
      how: `As row 1a. ${plainReads} It is a handler of node:http that takes the names out of the request and writes JSON; there is no GraphQL in it.`,
      obstacle: `as for row 1a. ${profileOfAnswers}`,
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const tracker = stack.use(await openTracker(redis.url, { prefix: "ql" }));
    for (const queue of manyQueues) await enqueue(tracker, queue, jobsPerQueue);
    const servers = {
      ours: stack.use(await startUnderTest(redis.url)),
      oursFromRedis: stack.use(await startUnderTest(redis.url, { MAX_AGE: "0" })),
      mercurius: stack.use(await startPeer("mercurius", { REDIS_URL: redis.url })),
      plain: stack.use(await startPeer("plain-http", { REDIS_URL: redis.url })),
    };
    const sides = Object.keys(servers) as (keyof typeof servers)[];
    const load = stack.use(startLoad());
    stack.use(keepRecording(tracker, manyQueues, recordedPerSecond));

    const ask = async (side: keyof typeof servers, { questions }: Asking, forMs: number) => {
      const { url, pid } = servers[side];
      const cpuBefore = cpuMs(pid);
      const { tookMs, wallMs } = await load.run("askInTurn", { url, questions, connections, forMs });
      const answers = tookMs.flat().length;
      return { perSecond: (answers / wallMs) * 1000, cpuUs: ((cpuMs(pid) - cpuBefore) / answers) * 1000 };
    };
    const contestants: Record<string, () => Promise<Asked>> = {};
    for (const asking of askings) {
      for (const side of sides) {
        await ask(side, asking, lasting(plan, 1_000));
        contestants[`${asking.what}, ${side}`] = () => ask(side, asking, lasting(plan, 2_000));
      }
    }
    const measured = await interleave(plan, contestants);

    const of = ({ what }: Asking, side: keyof typeof servers, figure: keyof Asked) =>
      (measured[`${what}, ${side}`] ?? []).map((each) => each[figure]);
    const linesAgainst = (
      peer: { readonly name: string; readonly side: "mercurius" | "plain" },
      side: "ours" | "oursFromRedis",
      wanted: Wanted,
    ) =>
      askings.map((asking) => {
        const ours = of(asking, side, "perSecond");
        const theirs = of(asking, peer.side, "perSecond");
        return {
          ...{ what: asking.what, unit: "queries/s", against: peer.name, ours, theirs },
          wanted: asking.isCounted ? wanted : null,
          says: `${asking.what}: one server process answers ${sayMedian(ours)} queries a second with every limit on, for ${sayMedian(of(asking, side, "cpuUs"))} µs of CPU each; ${peer.name} answers ${sayMedian(theirs)} with none, for ${sayMedian(of(asking, peer.side, "cpuUs"))} µs.`,
        };
      });
    const withJit = { name: "Mercurius with JIT", side: "mercurius" } as const;
    const bare = { name: "bare node:http", side: "plain" } as const;
    const notes = [`The load process was busy for at most ${say(load.busiest() * 100)} % of a core.`];
    return [
      { row: "1a", lines: linesAgainst(withJit, "ours", { atLeast: 2 }), notes },
      { row: "1b", lines: linesAgainst(withJit, "oursFromRedis", { atLeast: 1 }), notes },
      { row: "2", lines: linesAgainst(bare, "ours", { atLeast: 1.5 }), notes },
    ] satisfies RowResult[];
  },
};

interface Asked {
  readonly perSecond: number;
  readonly cpuUs: number;
}

interface Asking {
  readonly what: string;
  readonly questions: ReturnType<typeof mixedQuestions>;
  readonly isCounted: boolean;
}

const askings: readonly Asking[] = [
  ...clientKinds.map((client) => ({
    what: client,
    questions: mixedQuestions({ clients: [client] }),
    isCounted: true,
  })),
  { what: "all four", questions: mixedQuestions(), isCounted: true },
  {
    what: "all four, the same ten queues",
    questions: mixedQuestions({ queuesOf: () => tenQueues }),
    isCounted: false,
  },
];
