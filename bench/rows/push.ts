import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import type { Transport } from "../load/subscribers.ts";
import { createChanges, enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { startPeer } from "../support/peer.ts";
import { cpuMs } from "../support/process-figures.ts";
import { tenQueues } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { say, sayMedian } from "../support/say.ts";
import { median } from "../support/statistics.ts";
import { evenly, pushesOnceQuiet, subscribe } from "../support/subscribers.ts";
import { startUnderTest } from "../support/under-test.ts";

const subscribers = 1_000;
/** Slow enough that even a slow server pushes every change to everybody. */
const everyMs = 250;

export const pushRow: RowGroup = {
  rows: [
    {
      number: 3,
      title: "CPU time of the server for one pushed update",
      obstacle:
        "it is about twice the other side's, and which side of that differs from run to run: the medians of four runs of one day were 1.7 to 2.35 (SSE) and 1.7 to 2.2 (WebSocket). More than half of a push is what Node and the kernel take for any write. Beside that each subscriber has a turn of its own watch, three promises between that and its socket, and over SSE a chunk whose frame Node writes anew for each. What would bring it safely below: the watch ending a subscription's slot itself, so that a promise goes, and bytes that have the chunk's frame in them already, so that three writes are one.",
      how: `1,000 subscribers of the same ten queues, each on a connection of its own (25 tokens, 40 of each), \`refreshMs: 0\`; four times a second another process records a job in one of the queues, and each is sent how that queue stands. All CPU time of the server process in the meantime, divided by the pushes that arrived. The other side is a process that sends the same message, as one string that it is handed, to 1,000 sockets of \`ws\`.`,
    },
  ],
  async measure(plan) {
    await using stack = new AsyncDisposableStack();
    // The subscribers go before the servers stop.
    await using load = startLoad();
    const redis = stack.use(await startRedis());
    const updates = lasting(plan, 3_000) / everyMs;

    /** @returns the CPU time of one push, in µs. */
    const drive = async (name: string, pid: number, update: (n: number) => Promise<unknown>) => {
      const group = { load, name };
      const pushesBefore = await pushesOnceQuiet(group);
      const cpuBefore = cpuMs(pid);
      await evenly(updates, everyMs, update);
      const pushes = (await pushesOnceQuiet(group)) - pushesBefore;
      return { us: ((cpuMs(pid) - cpuBefore) / pushes) * 1000, share: pushes / updates / subscribers };
    };
    const server = async (name: Transport & ("sse" | "websocket")) => {
      const { url, pid } = stack.use(await startUnderTest(redis.url, { KEY_PREFIX: name }));
      const tracker = stack.use(await openTracker(redis.url, { prefix: name }));
      for (const queue of tenQueues) await enqueue(tracker, queue, 10);
      await subscribe({ load, name }, { transport: name, url, count: subscribers, refreshMs: 0 });
      const change = createChanges(tracker);
      return () => drive(name, pid, (n) => change(tenQueues[n % tenQueues.length] ?? ""));
    };
    const sse = await server("sse");
    const websocket = await server("websocket");
    await websocket();
    const { last } = await load.run("countPushes", { name: "websocket" });
    const peer = stack.use(await startPeer("shared-string"));
    await subscribe(
      { load, name: "shared" },
      { transport: "plain websocket", url: peer.url, count: subscribers },
    );
    const shared = () => drive("shared", peer.pid, () => fetch(peer.url, { method: "POST", body: last }));
    await Promise.all([sse(), shared()]);

    const measured = await interleave(plan, { sse, websocket, shared });
    const us = (rounds: typeof measured.sse) => rounds.map((each) => each.us);
    const arrived = (rounds: typeof measured.sse) => sayMedian(rounds.map((each) => each.share * 100));
    const lineOf = (what: string, rounds: typeof measured.sse) => ({
      what,
      unit: "µs",
      against: "one shared string, ws",
      ours: us(rounds),
      theirs: us(measured.shared),
      wanted: { atMost: 2 },
      says: `To tell one subscriber of one change by ${what} takes ${sayMedian(us(rounds))} µs of the server's CPU, so one core tells ${say(1e6 / median(us(rounds)))} subscribers a second; sending a finished string takes ${sayMedian(us(measured.shared))} µs.`,
    });
    const lines = [lineOf("SSE", measured.sse), lineOf("WebSocket", measured.websocket)];
    const notes = [
      `The message has ${last.length} characters. Of the updates ${arrived(measured.sse)} % (SSE) and ${arrived(measured.websocket)} % (WebSocket) arrived as a push of their own; the rest came together with a later one.`,
    ];
    return [{ row: 3, lines, notes }];
  },
};
