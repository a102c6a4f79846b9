import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { countCommands } from "../support/commands.ts";
import { openRaw } from "../support/raw-http.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { hangsAfterMs, until } from "../support/until.ts";

const atOnce = 50;
const perWay = 2_000;

/** Each subscription has a queue of its own: if something were kept of each, it would be much. */
const queueOf = (i: number) => `${i}-`.padEnd(200, "x");
let opened = 0;
const nextQueue = () => queueOf(opened++);

/** Opens that many subscriptions, and leaves them all. */
interface Way {
  readonly way: string;
  readonly run: (url: string) => Promise<void>;
}

const ways: readonly Way[] = [
  {
    way: "completed over their WebSocket",
    async run(url) {
      const socket = await openSocket(url);
      let pushed = 0;
      socket.on("message", (data) => {
        const { type, id } = JSON.parse(String(data));
        if (type !== "next") return;
        pushed += 1;
        socket.send(JSON.stringify({ type: "complete", id }));
      });
      for (let i = 0; i < atOnce; i++) socket.send(subscribe(i));
      await expect.poll(() => pushed).toBeGreaterThanOrEqual(atOnce);
      socket.close();
      await once(socket, "close");
    },
  },
  {
    way: "cut with their WebSocket",
    async run(url) {
      const socket = await openSocket(url);
      let pushed = 0;
      socket.on("message", () => {
        pushed += 1;
      });
      for (let i = 0; i < atOnce; i++) socket.send(subscribe(i));
      await expect.poll(() => pushed).toBeGreaterThanOrEqual(atOnce);
      socket.terminate();
      await once(socket, "close");
    },
  },
  {
    way: "never read, over a WebSocket, and half of them completed before they were answered",
    async run(url) {
      const socket = await openSocket(url);
      socket.pause();
      for (let i = 0; i < atOnce; i++) {
        socket.send(subscribe(i));
        if (i % 2 === 0) socket.send(`{"type":"complete","id":"${i}"}`);
      }
      await health(url);
      socket.terminate();
      await once(socket, "close");
    },
  },
  {
    way: "cut with their request, after the first push",
    async run(url) {
      const all = Array.from({ length: atOnce }, async () => {
        await using raw = await openRaw(url);
        raw.send(request());
        await raw.until(/event: next/);
      });
      await Promise.all(all);
    },
  },
  {
    way: "cut with their request, unread, at any time",
    async run(url) {
      const all = Array.from({ length: atOnce }, async (_, i) => {
        await using raw = await openRaw(url);
        raw.socket.pause();
        raw.send(request());
        if (i % 2 === 0) await health(url);
      });
      await Promise.all(all);
    },
  },
];

test("10,000 subscriptions, opened and left in many ways, leave nothing behind", async () => {
  await using redis = await startRedis();
  const control = new Redis(redis.url);
  await using app = await startApp({
    REDIS_URL: redis.url,
    KEY_PREFIX: uniquePrefix(),
    // All commands are counted here, and the leader of the history reads the queues by itself.
    HISTORY_MAX_QUEUES: "0",
    RATE_LIMIT_MAX: "1000000000",
    MAX_SUBSCRIPTIONS: String(2 * atOnce),
  });
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => warnings.push(warning);
  process.on("warning", onWarning);

  // What it takes to record without a subscription: no queue is read for a subscription.
  const recording = (queues: readonly string[]) => countCommands(control, () => record(app.url, queues));
  // Timers of an idle server come and go.
  const idle = await settled(control);
  for (let i = 0; i < 30; i++) {
    await sleep(100);
    idle.timers = Math.max(idle.timers, (await settled(control)).timers);
  }
  const sample = (from: number) => Array.from({ length: 20 }, (_, i) => queueOf(from + i * 400));
  // Timers of the server run commands, too, now and then; scripts are learned by the first.
  let recorded = 0;
  const { commands } = await until(async () => {
    const two = [await recording(sample(--recorded * 10_000)), await recording(sample(--recorded * 10_000))];
    expect(two[0]).toEqual(two[1]);
    return two[0]!;
  });
  for (const { run } of ways) await run(app.url);
  const heapBefore = heapBytes();

  for (const { run } of ways) {
    for (let i = 0; i < perWay; i += atOnce) await run(app.url);
  }
  expect(opened).toBeGreaterThan(10_000);
  // Without timers of vitest's own. Our own connections for requests are kept alive for some seconds.
  const deadline = performance.now() + hangsAfterMs;
  let left = await settled(control);
  const isIdle = () =>
    isDeepStrictEqual({ ...left, timers: 0 }, { ...idle, timers: 0 }) && left.timers <= idle.timers;
  while (!isIdle() && performance.now() < deadline) {
    await sleep(100);
    left = await settled(control);
  }
  expect(left).toEqual({ ...idle, timers: Math.min(left.timers, idle.timers) });
  let watched = 0;
  await until(async () => expect((await recording(sample(watched++))).commands).toEqual(commands));
  expect(heapBytes() - heapBefore).toBeLessThan(6_000_000);
  // Every slot is free again.
  const socket = await openSocket(app.url);
  const types: string[] = [];
  socket.on("message", (data) => types.push(JSON.parse(String(data)).type));
  for (let i = 0; i < 2 * atOnce; i++) socket.send(subscribe(i));
  await expect.poll(() => types.length).toBeGreaterThanOrEqual(2 * atOnce);
  expect(new Set(types)).toEqual(new Set(["next"]));
  socket.terminate();
  expect(warnings).toEqual([]);
  process.off("warning", onWarning);
  control.disconnect();
});

/** What keeps this process busy, which the server is in, and what Redis keeps for it. */
async function settled(control: Redis) {
  const resources: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
  // Of these, some come and go with what is under way just now.
  const { Timeout: timers = 0, TCPSocketWrap: sockets = 0, TCPServerWrap: servers = 0 } = resources;
  const channels = (await control.pubsub("CHANNELS")) as string[];
  const [, subscribers] = (await control.pubsub("NUMSUB", channels[0] ?? "")) as [string, number];
  const clients = String(await control.client("LIST"))
    .trim()
    .split("\n").length;
  return { timers, sockets, servers, channels: channels.length, subscribers, clients };
}

async function record(url: string, queues: readonly string[]): Promise<void> {
  const query = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
  const events = queues.map((queue) => ({ type: "ENQUEUED", queue, jobId: "1" }));
  expect((await ask(url, query, { events })).body.errors).toBeUndefined();
}

async function health(url: string): Promise<void> {
  // Else the server keeps the connection for another request.
  await (await fetch(`${url}/health`, { headers: { connection: "close" } })).text();
}

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

const query =
  "subscription ($queue: String!) { queueLatency(queues: [$queue], minIntervalMs: 50) { depth } }";

function subscribe(id: number): string {
  const payload = { query, variables: { queue: nextQueue() } };
  return JSON.stringify({ type: "subscribe", id: String(id), payload });
}

function request(): string {
  const body = JSON.stringify({ query, variables: { queue: nextQueue() } });
  const headers = ["Host: localhost", "Content-Type: application/json", "Accept: text/event-stream"];
  return `POST /graphql HTTP/1.1\r\n${headers.join("\r\n")}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

async function openSocket(url: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  socket.on("error", () => {});
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "connection_init" }));
  await once(socket, "message");
  return socket;
}
