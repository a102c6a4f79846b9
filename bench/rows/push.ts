import { startRedis } from "../../test/support/redis.ts";
import { openTracker } from "../../test/support/tracker.ts";
import type { Transport } from "../load/subscribers.ts";
import { createChanges, enqueue } from "../support/jobs.ts";
import { startLoad } from "../support/load.ts";
import { startPeer } from "../support/peer.ts";
import { cpuMs } from "../support/process-figures.ts";
import { namesOf, tenQueues } from "../support/questions.ts";
import { interleave, lasting } from "../support/rounds.ts";
import type { RowGroup } from "../support/row.ts";
import { say, sayMedian } from "../support/say.ts";
import { median } from "../support/statistics.ts";
import { evenly, pushesOnceQuiet, subscribe } from "../support/subscribers.ts";
import { startUnderTest } from "../support/under-test.ts";

const subscribers = 1_000;
const groups = 50;
const commonQueues = tenQueues.slice(0, 9);
const groupQueues = namesOf("group", groups).map((own) => [...commonQueues, own]);
/** Slow enough that even a slow server pushes every change to each subscriber. */
const everyMs = 250;

export const pushRow: RowGroup = {
  rows: [
    {
      id: "3",
      obstacle:
        "85 % of the server's CPU samples are the one system call that writes a push to a socket, and 10 % find the member and make its frame. In a loop with nothing else in the process, the same frames took 8.2 to 9.4 µs each, and `ws.send` of one string 10.8 µs. What is missing here are caches: a push comes four times a second, behind the reading of Redis, and touches the objects of 1,000 sockets. Only fewer system calls for each push would change it, such as one submission of many writes (io_uring), which Node does not have.",
      title: "CPU time of the server for one pushed update",
      purpose: "How many dashboards that show the same queues one process can serve.",
      how: `1,000 subscribers of the same ten queues, each on a connection of its own and over WebSockets with an id of its own (25 tokens, 40 of each), \`refreshMs: 0\`; four times a second another process records a job in one of the queues, and each is sent how that queue stands. All CPU time of the server process in the meantime, divided by the pushes that arrived. The other side is a process that sends the same message, as one string that it is handed, to 1,000 sockets of \`ws\`.`,
    },
    {
      id: "3b",
      obstacle:
        "62 to 69 % of the server's CPU samples are the system call that writes a push, 8 to 12 % V8's garbage collection, and the rest is spread over the 50 groups: each has a watch, an execution and an encoding of its own, of some 5 ms for all of them in each update. The text of a queue's object is made once for all groups already. It would take a common execution of groups that ask the same of a queue and differ only in which others they watch.",
      title: "CPU time of the server for one pushed update, 50 groups",
      purpose: "The same where dashboards differ: each group is another subscription to the server.",
      how: `As row 3, but the subscribers are ${groups} groups of ${subscribers / groups}: each group watches nine common queues, in which the jobs are recorded, and one of its own.`,
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
    const server = async (
      transport: Transport & ("sse" | "websocket"),
      queues: readonly (readonly string[])[],
    ) => {
      const name = `${transport}-${queues.length}`;
      const { url, pid } = stack.use(await startUnderTest(redis.url, { KEY_PREFIX: name }));
      const tracker = stack.use(await openTracker(redis.url, { prefix: name }));
      for (const queue of new Set(queues.flat())) await enqueue(tracker, queue, 10);
      await subscribe({ load, name }, { transport, url, count: subscribers, queues, refreshMs: 0 });
      const change = createChanges(tracker);
      return () => drive(name, pid, (n) => change(commonQueues[n % commonQueues.length] ?? ""));
    };
    const sse = await server("sse", [tenQueues]);
    const websocket = await server("websocket", [tenQueues]);
    const sseGroups = await server("sse", groupQueues);
    const websocketGroups = await server("websocket", groupQueues);
    await websocket();
    const { last } = await load.run("countPushes", { name: "websocket-1" });
    const peer = stack.use(await startPeer("shared-string"));
    await subscribe(
      { load, name: "shared" },
      { transport: "plain websocket", url: peer.url, count: subscribers },
    );
    const shared = () => drive("shared", peer.pid, () => fetch(peer.url, { method: "POST", body: last }));
    for (const warmUp of [sse, sseGroups, websocketGroups, shared]) await warmUp();

    const measured = await interleave(plan, { sse, websocket, sseGroups, websocketGroups, shared });
    const us = (rounds: typeof measured.sse) => rounds.map((each) => each.us);
    const arrived = (rounds: typeof measured.sse) => sayMedian(rounds.map((each) => each.share * 100));
    const lineOf = (what: string, rounds: typeof measured.sse, atMost: number) => ({
      what,
      unit: "µs",
      against: "one shared string, ws",
      ours: us(rounds),
      theirs: us(measured.shared),
      wanted: { atMost },
      says: `To push one change to one subscriber by ${what} takes ${sayMedian(us(rounds))} µs of the server's CPU, so one core serves ${say(1e6 / median(us(rounds)))} pushes a second; sending a finished string takes ${sayMedian(us(measured.shared))} µs.`,
    });
    const noteOf = (one: typeof measured.sse, other: typeof measured.sse) =>
      `The message has ${last.length} characters. Of the updates ${arrived(one)} % (SSE) and ${arrived(other)} % (WebSocket) arrived as a push of their own; the rest came together with a later one.`;
    return [
      {
        row: "3",
        lines: [lineOf("SSE", measured.sse, 1), lineOf("WebSocket", measured.websocket, 1)],
        notes: [noteOf(measured.sse, measured.websocket)],
      },
      {
        row: "3b",
        lines: [lineOf("SSE", measured.sseGroups, 1.3), lineOf("WebSocket", measured.websocketGroups, 1.3)],
        notes: [noteOf(measured.sseGroups, measured.websocketGroups)],
      },
    ];
  },
};
