import { setTimeout as delay } from "node:timers/promises";
import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import type { SeenAt } from "../load/arrivals.ts";
import type { TimedEvent } from "../load/events.ts";
import { enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { manyQueues, mixedQuestions, ownQueues, tenQueues } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { sayMedian } from "../support/say.ts";
import { quantile } from "../support/statistics.ts";
import { type Group, subscribe } from "../support/subscribers.ts";
import { loadTokens, startUnderTest } from "../support/under-test.ts";

const watchers = 10_000;
const pollers = 1_000;
const loads = 2;
const jobsBefore = 10;
/** So long that pushing one event to all of them ends before the next. */
const gapMs = 1_000;
const pollEveryMs = 1_000;

export const delayRow: RowGroup = {
  rows: [
    {
      id: "8",
      obstacle:
        "one process writes to each subscriber with a system call of its own, which takes 9 to 13 µs of CPU here (row 3): 10,000 of them take 90 to 130 ms, so that the last one is late by more than a tenth of a second even where nothing else runs. Each subscriber also gets all ten queues once a second, and the load processes that read them share the two CPUs. Two server processes, each with half of the subscribers and a CPU of its own, would halve it; so would fewer system calls for each push (row 3).",
      title: "From an acknowledged event to its subscribers",
      purpose: "How soon a dashboard shows a job that was recorded, where very many watch one process.",
      how: `${watchers.toLocaleString("en")} subscribers of the same ten queues on one process, each on a connection of its own, with \`minIntervalMs: 50\` and the usual \`refreshMs\`, so that each also gets all ten queues once a second; 25 tokens, and \`MAX_SUBSCRIPTIONS\` at the ${watchers / loadTokens.length} that each needs. Two processes hold the connections. Another process records a job in one of the queues by \`recordEvents\`, about once a second at uneven times, and notes when the answer was there. Measured until each subscriber has the push that counts the job, by the clock that all processes share; a push that is there before the answer took 0 ms. The other side: 1,000 clients, of all four kinds and each with a question of its own, that ask the query once a second, spread evenly; more than a second counts as a second, since the late server is ours. Each side has a server of its own.`,
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const recorder = stack.use(startLoad());
    const eventCount = Math.max(2, lasting(plan, 10_000) / gapMs);
    const [queue = ""] = tenQueues;
    const count = plan.isQuick ? 2_000 : watchers;

    const server = async (name: string) => {
      const settings = { KEY_PREFIX: name, MAX_SUBSCRIPTIONS: `${watchers / loadTokens.length}` };
      const { url } = stack.use(await startUnderTest(redis.url, settings));
      const tracker = stack.use(await openTracker(redis.url, { prefix: name }));
      for (const each of manyQueues) await enqueue(tracker, each, jobsBefore);
      return url;
    };
    const timed = async (url: string) =>
      await recorder.run("timeEvents", { url, token: loadTokens[0] ?? "", queue, events: eventCount, gapMs });

    const subscribed = async (name: "sse" | "websocket") => {
      const url = await server(name);
      return async () => {
        // They go at the end of a round: queues with waiting jobs are pushed every second, also while the other sides are measured.
        await using own = new AsyncDisposableStack();
        const halves = Array.from({ length: loads }, () => ({ load: own.use(startLoad()), name }));
        const options = { transport: name, url, count: count / loads, minIntervalMs: 50 };
        for (const half of halves) await subscribe(half, options);
        for (const { load } of halves) await load.run("startTiming", { name });
        const acknowledged = await timed(url);
        for (const half of halves) await allHaveSeen(half, acknowledged.at(-1)?.depth ?? 0);
        const seen = await Promise.all(halves.map(({ load }) => load.run("stopTiming", { name })));
        return seen.flatMap((seenAt) => delays(acknowledged, seenAt));
      };
    };
    // Each asks for the timed queue and nine others.
    const queuesOf = (i: number) => [
      queue,
      ...ownQueues(i)
        .filter((each) => each !== queue)
        .slice(0, 9),
    ];
    const requests = mixedQuestions({ queuesOf }).map(({ request }) => request);
    const polledUrl = await server("polled");
    let untilDepth = jobsBefore;
    const polled = async () => {
      untilDepth += eventCount;
      await using load = startLoad();
      const polls = load.run("pollQuery", {
        ...{ url: polledUrl, requests, pollers, everyMs: pollEveryMs, queue, untilDepth },
      });
      const events = delay(pollEveryMs).then(() => timed(polledUrl));
      const [seenAt, acknowledged] = await Promise.all([polls, events]);
      return delays(acknowledged, seenAt);
    };
    const contestants = { sse: await subscribed("sse"), websocket: await subscribed("websocket"), polled };
    const rounds = await interleave(plan, contestants);

    const lines = (["SSE", "WebSocket"] as const).flatMap((what) => {
      const pushed = what === "SSE" ? rounds.sse : rounds.websocket;
      return ([0.99, 0.5] as const).map((q) => {
        const ours = pushed.map((each) => quantile(each, q));
        const theirs = rounds.polled.map((each) => Math.min(quantile(each, q), pollEveryMs));
        return {
          what: `${q === 0.5 ? "median" : "p99"}, ${what}`,
          unit: "ms",
          against: "polling once a second",
          ours,
          theirs,
          wanted: q === 0.5 ? null : { atMost: 0.1 },
          says: `${q === 0.5 ? "Half" : "99 of 100"} of ${count.toLocaleString("en")} subscribers have a job within ${sayMedian(ours)} ms by ${what}; clients that poll once a second have it within ${sayMedian(theirs)} ms.`,
        };
      });
    });
    return [{ row: "8", lines, notes: [`${count.toLocaleString("en")} subscribers were connected.`] }];
  },
};

/** @throws Error when a subscriber has not got the push after half a minute. */
async function allHaveSeen({ load, name }: Group, depth: number): Promise<void> {
  for (const startedAtMs = performance.now(); (await load.run("depthSeenByAll", { name })) < depth; ) {
    if (performance.now() > startedAtMs + 30_000)
      throw new Error("expected each subscriber to get every event");
    await delay(50);
  }
}

/** From each acknowledgement to each watcher's first push. */
function delays(events: readonly TimedEvent[], seenAt: SeenAt): number[] {
  return events.flatMap(({ depth, acknowledgedAtMs }) =>
    (seenAt.get(depth) ?? []).map((atMs) => Math.max(0, atMs - acknowledgedAtMs)),
  );
}
