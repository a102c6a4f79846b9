import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import { enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { startPeer } from "../support/peer.ts";
import { cpuMs } from "../support/process-figures.ts";
import { questionFor, tenQueues } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup, RowResult } from "../support/row.ts";
import { say, sayMedian } from "../support/say.ts";
import { loadTokens, startUnderTest } from "../support/under-test.ts";

const jobsPerQueue = 100;
const connections = 32;
const common = `${connections} connections that are kept alive ask one query after the other, for ten queues with ${jobsPerQueue} waiting jobs each and all fields but \`source\`, \`scheduled\`, \`clockSkew\`, \`throughput\` and \`waitTime\`; 25 tokens take turns.`;
const plainReads =
  "The other side reads the same keys of the same Redis in one pipeline a request: `HGET`, `ZRANGE … BYSCORE LIMIT 0 1` and `ZCOUNT` for each queue, and asks nobody who they are.";

export const queryRows: RowGroup = {
  rows: [
    {
      number: 1,
      title: "Queries a second, against Mercurius",
      how: `${common} ${plainReads} It is Mercurius on Fastify, with its just-in-time compiler on, a schema of these fields only, no logger and no limits.`,
    },
    {
      number: 2,
      title: "Queries a second, against bare node:http",
      how: `${common} ${plainReads} It is a handler of node:http that parses the body's JSON, takes the names from the variables, and writes JSON; there is no GraphQL in it.`,
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const tracker = stack.use(await openTracker(redis.url, { prefix: "ql" }));
    for (const queue of tenQueues) await enqueue(tracker, queue, jobsPerQueue);
    const servers = {
      ours: stack.use(await startUnderTest(redis.url)),
      mercurius: stack.use(await startPeer("mercurius", { REDIS_URL: redis.url })),
      plain: stack.use(await startPeer("plain-http", { REDIS_URL: redis.url })),
    };
    const load = stack.use(startLoad());
    const questions = loadTokens.map((token) => questionFor(tenQueues, token));

    const ask = async ({ url, pid }: { readonly url: string; readonly pid: number }, forMs: number) => {
      const cpuBefore = cpuMs(pid);
      const { tookMs, wallMs } = await load.run("askInTurn", { url, questions, connections, forMs });
      const answers = tookMs.flat().length;
      return { perSecond: (answers / wallMs) * 1000, cpuUs: ((cpuMs(pid) - cpuBefore) / answers) * 1000 };
    };
    for (const server of Object.values(servers)) await ask(server, lasting(plan, 2_000));
    const forMs = lasting(plan, 3_000);
    const { ours, mercurius, plain } = await interleave(plan, {
      ours: () => ask(servers.ours, forMs),
      mercurius: () => ask(servers.mercurius, forMs),
      plain: () => ask(servers.plain, forMs),
    });

    const perSecond = (rounds: typeof ours) => rounds.map((each) => each.perSecond);
    const cpu = (rounds: typeof ours) => sayMedian(rounds.map((each) => each.cpuUs));
    const notes = [
      `CPU time of the process for one query: ours ${cpu(ours)} µs, Mercurius ${cpu(mercurius)} µs, node:http ${cpu(plain)} µs.`,
      `The load process was busy for at most ${say(load.busiest() * 100)} % of a core.`,
    ];
    const lineAgainst = (against: string, theirs: typeof ours, atLeast: number) => ({
      what: "queueLatency of 10 queues",
      unit: "queries/s",
      against,
      ours: perSecond(ours),
      theirs: perSecond(theirs),
      wanted: { atLeast },
      says: `One server process answers ${sayMedian(perSecond(ours))} queries a second, with every limit on; ${against} does ${sayMedian(perSecond(theirs))} with none.`,
    });
    return [
      { row: 1, lines: [lineAgainst("Mercurius with JIT", mercurius, 1.5)], notes },
      { row: 2, lines: [lineAgainst("bare node:http", plain, 0.8)], notes },
    ] satisfies RowResult[];
  },
};
