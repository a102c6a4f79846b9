import { execFile } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { describe, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
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

/** Also where 2 cores serve the attackers, too. */

/** What garbage a busy process lets lie; what it is offered to hold is many times as much. */
const growthBytes = 150_000_000;
/** After one attack more garbage may lie for a while; what is held, or lost, is there after each. */
const attacks = 3;

describe("memory stays flat, and the others notice nothing, while", () => {
  test("many never read what they subscribed to", async () => {
    const prefix = uniquePrefix();
    await using server = await start(prefix);
    await using writer = await openTracker(inject("redisUrl"), { prefix });
    await using witness = await startWitness(server);
    let round = 0;

    /**
     * @returns what would have been sent to those who read everything, and what the process takes while they are still there,
     * both in bytes.
     */
    async function attack(rounds: number): Promise<{ offered: number; taken: number }> {
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
      return { offered: readers * pushes * pushBytes, taken: await residentBytes(server) };
    }

    // What the process takes for itself when it is busy for the first time is no news.
    const { taken: before } = await attack(rounds / 4);
    await expectFlat(before, async () => {
      const { offered, taken } = await attack(2 * rounds);
      expect(offered).toBeGreaterThan(4 * growthBytes);
      return taken;
    });
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
      return residentBytes(server);
    };
    const before = await attack();
    await attack();
    await expectFlat(before, attack);
  });
});

/** @param attack says what the process takes after it, in bytes. */
async function expectFlat(before: number, attack: () => Promise<number>): Promise<void> {
  const grown: number[] = [];
  while (grown.length < attacks && !grown.some((bytes) => bytes < growthBytes))
    grown.push((await attack()) - before);
  expect(Math.min(...grown), `grown by ${grown} bytes`).toBeLessThan(growthBytes);
}

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

async function residentBytes({ pid }: TestServer): Promise<number> {
  const { stdout } = await promisify(execFile)("ps", ["-o", "rss=", "-p", String(pid)]);
  return Number(stdout) * 1024;
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
