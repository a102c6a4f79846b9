import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
import { heldBytes, reportsHeldBytes } from "../support/held-memory.ts";
import { openRaw } from "../support/raw-http.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startServer, type TestServer } from "../support/server.ts";
import { slowSse, slowWebsocket, sse } from "../support/streams.ts";
import { openTracker } from "../support/tracker.ts";

const rounds = 2_000;
const readers = 80;
const names = Array.from({ length: 20 }, (_, i) => `${i}-`.padEnd(200, "x"));
/** A push is 250 KB: it soon fills the buffers of a socket. */
const wide = `
  subscription ($queues: [String!]!) {
    queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 0) {
      queue depth ${Array.from({ length: 60 }, (_, i) => `copy${i}: queue`).join(" ")}
    }
  }`;
const pushBytes = 61 * 200 * names.length;

/** What it is offered to hold is many times as much. */
const growthBytes = 20_000_000;

describe("memory stays flat, and the others notice nothing, while", () => {
  test("many never read what they subscribed to", async () => {
    const prefix = uniquePrefix();
    await using server = await start(prefix);
    await using writer = await openTracker(inject("redisUrl"), { prefix });
    await using witness = await startWitness(server);
    let round = 0;

    /**
     * @returns what would have been sent to those who read everything, and what the server holds while they are still there,
     * both in bytes.
     */
    async function attack(rounds: number): Promise<{ offered: number; held: number }> {
      await using stack = new AsyncDisposableStack();
      for (let i = 0; i < readers / 2; i++) {
        stack.use(await slowSse(server.url, wide, { queues: names }));
        stack.use(await slowWebsocket(server.url, wide, { queues: names }));
      }
      const startedAtMs = performance.now();
      for (const end = round + rounds; round < end; ) {
        const jobId = `${++round}`;
        await writer.tracker.record(
          names.map((queue) => enqueued(queue, jobId)),
          null,
        );
      }
      const pushes = Math.min(rounds, (performance.now() - startedAtMs) / 50);
      await witness.sees(round);
      return { offered: readers * pushes * pushBytes, held: await heldBytes(server) };
    }

    // What it keeps for itself when it is busy for the first time is no news.
    const { held: before } = await attack(rounds / 4);
    const { offered, held } = await attack(2 * rounds);
    expect(offered).toBeGreaterThan(4 * growthBytes);
    expect(held - before).toBeLessThan(growthBytes);
  });

  test("many ask over and over, and read no answer", async () => {
    await using server = await start(uniquePrefix());
    await using witness = await startWitness(server);
    const attack = async () => {
      const attackers = Array.from({ length: 10 }, () => [
        pipelineUnread(server.url),
        floodUnread(server.url),
      ]);
      await Promise.all(attackers.flat());
      await witness.sees(0);
      return heldBytes(server);
    };
    const before = await attack();
    const after = [await attack(), await attack()];
    expect(Math.min(...after) - before).toBeLessThan(growthBytes);
  });
});

const large = `{ ${Array.from({ length: 100 }, (_, i) => `a${i}: __typename`).join(" ")} }`;

/** Sends requests without reading an answer, as many as the server takes in. */
async function pipelineUnread(url: string): Promise<void> {
  await using raw = await openRaw(url);
  raw.socket.pause();
  const get = `GET /graphql?query=${encodeURIComponent(large)} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  for (let i = 0; i < rounds && !raw.socket.destroyed; i++) {
    if (raw.socket.write(get)) continue;
    const drained = once(raw.socket, "drain").then(
      () => true,
      () => false,
    );
    // It takes in nothing more as long as nothing is read.
    if (!(await Promise.race([drained, sleep(500, false)]))) return;
  }
}

/** Sends operations and pings of both kinds without reading an answer, until the socket is closed. */
async function floodUnread(url: string): Promise<void> {
  const socket = await openSocket(url);
  // A busy machine takes longer to send all this than the server waits for the end of a socket that it has closed.
  const closed = once(socket, "close");
  socket.pause();
  for (let i = 0; i < rounds && socket.readyState === socket.OPEN; i++) {
    socket.send(JSON.stringify({ type: "subscribe", id: String(i), payload: { query: large } }));
    socket.send(JSON.stringify({ type: "ping", payload: { text: "x".repeat(10_000) } }));
    socket.ping("x".repeat(100));
    if (i % 50 === 0) await new Promise(setImmediate);
  }
  socket.resume();
  const [code] = await closed;
  // Cut, when so much came behind the end that the close frame was lost.
  expect([1006, 1008]).toContain(code);
}

function start(prefix: string): Promise<TestServer> {
  return startServer({
    ...reportsHeldBytes,
    REDIS_URL: inject("redisUrl"),
    KEY_PREFIX: prefix,
    RATE_LIMIT_MAX: "1000000000",
    MAX_SUBSCRIPTIONS: "100",
    LOG_LEVEL: "warn",
  });
}

/** A client that behaves: it has a subscription to the first queue, in which a job waits from now on, and asks for this and that. */
async function startWitness(server: TestServer) {
  const events = [{ type: "ENQUEUED", queue: names[0], jobId: "of the witness" }];
  const record = `mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }`;
  expect((await ask(server.url, record, { events })).status).toBe(200);
  const watch = `subscription ($queues: [String!]!) { queueLatency(queues: $queues, refreshMs: 250) { depth } }`;
  const stream = sse(server.url, watch, { queues: [names[0]] });
  let depth = 0;
  let pushes = 0;
  const watching = (async () => {
    for await (const { data } of stream) {
      depth = data.queueLatency[0].depth;
      pushes += 1;
    }
  })();
  return {
    /** That many jobs wait beside its own, it is pushed that, and pushes go on. */
    async sees(jobs: number) {
      await expect.poll(() => depth).toBe(jobs + 1);
      const before = pushes;
      await expect.poll(() => pushes).toBeGreaterThan(before + 1);
      expect((await fetch(`${server.url}/health`)).status).toBe(200);
      // That a busy machine keeps Redis from answering in time is not what is looked for here.
      const said = server.stderr().split("\n");
      expect(said.filter((line) => line !== "" && !/Redis (does not|is)/.test(line))).toEqual([]);
    },
    async [Symbol.asyncDispose]() {
      stream.abort();
      await watching;
    },
  };
}

async function openSocket(url: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  socket.on("error", () => {});
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "connection_init" }));
  await once(socket, "message");
  return socket;
}

function enqueued(queue: string, jobId: string) {
  return {
    type: "ENQUEUED",
    queue,
    jobId,
    attempt: 0,
    atMs: null,
    availableAtMs: null,
  } as const;
}
