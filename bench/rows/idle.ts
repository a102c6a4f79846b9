import { setTimeout as delay } from "node:timers/promises";
import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import type { Transport } from "../load/subscribers.ts";
import { empty, enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { startPeer } from "../support/peer.ts";
import { residentBytes } from "../support/process-figures.ts";
import { tenQueues } from "../support/questions.ts";
import { interleave } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { say, sayMedian } from "../support/say.ts";
import { median } from "../support/statistics.ts";
import { subscribe } from "../support/subscribers.ts";
import { startUnderTest } from "../support/under-test.ts";

const subscribers = 1_000;
/** They come first, so that what is only loaded or made once is not counted. */
const firstSubscribers = 50;

export const idleRow: RowGroup = {
  rows: [
    {
      id: "12",
      title: "Resident memory of an idle subscriber",
      purpose: "How many open dashboards fit into a container's memory.",
      how: "A fresh process each time. When 50 subscribers are there, its resident memory (`VmRSS`) is read; then 1,000 more come, each on a connection of its own and over WebSockets with an id of its own, all subscribed to the same ten queues in which nothing happens, and it is read again as soon as it stays the same. The difference, divided by 1,000: with the garbage of their coming, as an operator sees it. The other side: as many sockets of `ws` that never get anything.",
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    const redis = stack.use(await startRedis());
    const tracker = stack.use(await openTracker(redis.url, { prefix: "ql" }));
    // Known, and empty: queues with waiting jobs are pushed every second.
    for (const queue of tenQueues) {
      await enqueue(tracker, queue, 1);
      await empty(tracker, queue, 1);
    }

    const grown = async (transport: Transport, process: { readonly url: string; readonly pid: number }) => {
      await using load = startLoad();
      const come = (name: string, count: number) =>
        subscribe({ load, name }, { transport, url: process.url, count });
      await come("first", firstSubscribers);
      const before = await settledBytes(process.pid);
      await come("others", subscribers);
      return ((await settledBytes(process.pid)) - before) / subscribers / 1024;
    };
    const ofOurs = async (transport: Transport) => {
      await using server = await startUnderTest(redis.url);
      return await grown(transport, server);
    };
    const rounds = await interleave(plan, {
      sse: () => ofOurs("sse"),
      websocket: () => ofOurs("websocket"),
      plain: async () => {
        await using peer = await startPeer("shared-string");
        return await grown("plain websocket", peer);
      },
    });
    const lineOf = (what: string, ours: readonly number[]) => ({
      what,
      unit: "KiB",
      against: "a socket of ws",
      ours,
      theirs: rounds.plain,
      wanted: { atMost: 1.3 },
      says: `Each idle subscriber by ${what} takes ${sayMedian(ours)} KiB of the server's memory, so that ten thousand take ${say((median(ours) * 10_000) / 1024)} MiB; a socket that is only open takes ${sayMedian(rounds.plain)} KiB.`,
    });
    return [
      { row: "12", lines: [lineOf("SSE", rounds.sse), lineOf("WebSocket", rounds.websocket)], notes: [] },
    ];
  },
};

/** Waits until a process takes neither more nor less for a second. */
async function settledBytes(pid: number): Promise<number> {
  for (let before = 0; ; ) {
    const bytes = residentBytes(pid);
    if (Math.abs(bytes - before) < 0.002 * bytes) return bytes;
    before = bytes;
    await delay(1_000);
  }
}
