import { once } from "node:events";
import { describe, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
import { endlessSchema, startBareServer } from "../support/bare-server.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { openRaw } from "../support/raw-http.ts";
import { uniquePrefix } from "../support/redis.ts";
import { startServer } from "../support/server.ts";
import { type Stream, slowSse, slowWebsocket, sse, websocketTransport } from "../support/streams.ts";
import { openTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const mutation = JSON.stringify({
  query: `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "q", jobId: "1" }]) { accepted } }`,
});
const subscription = `subscription { queueLatency(queues: ["q"], minIntervalMs: 60000) { state } }`;

const post = `POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

const refused = [
  { path: "/graphql", headers: { "content-type": "application/json" }, body: mutation },
  { path: "/graphql?query={__typename}", headers: {}, body: null },
  {
    path: `/graphql?query=${encodeURIComponent(subscription)}`,
    headers: { accept: "text/event-stream" },
    body: null,
  },
  { path: "/graphql", headers: { accept: "text/html" }, body: null },
];

const start = (env: Readonly<Record<string, string>> = {}) =>
  startServer({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), LOG_LEVEL: "warn", ...env });

describe("a server that was asked to stop while a request runs", () => {
  test("is alive and not ready, and refuses all else, over old connections and new ones", async () => {
    await using server = await busyServer();
    await using old = await openRaw(server.url);
    old.send(get("/ready"));
    await old.until(/ 200 OK.*"ok"/s);
    await server.askToStop();

    const ready = await fetch(`${server.url}/ready`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toEqual({ status: "unavailable", reason: "the server is stopping" });
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
    for (const { path, headers, body } of refused) {
      const method = body === null ? "GET" : "POST";
      const response = await fetch(server.url + path, { method, headers: new Headers(headers), body });
      expect(response.status, path).toBe(503);
      expect(response.headers.get("retry-after")).toBe("1");
      expect(response.headers.get("connection")).toBe("close");
      const errors = [{ extensions: { code: "SERVICE_UNAVAILABLE", retryAfterSeconds: 1 } }];
      expect(await response.json()).toMatchObject({ errors });
    }
    old.send(get("/ready"));
    expect(await old.until(/ 503 .*is stopping/s)).toMatch(/^Connection: close\r$/m);
    await old.closed;
    await server.finish();
  });

  test("ends its streams without complete, closes WebSockets with 1001, and refuses new ones", async () => {
    await using server = await busyServer();
    const codes: number[] = [];
    await using client = websocketTransport(server.url, (code) => codes.push(code));
    const streams = [sse(server.url, subscription), client.subscribe(subscription)];
    for (const stream of streams) expect((await stream.next()).value?.data).toBeDefined();
    await server.askToStop();

    // A client takes `complete` for "no more", and never comes back.
    for (const stream of streams) {
      await expect(stream.next()).rejects.toBeDefined();
      expect(stream.isComplete).toBe(false);
    }
    expect(codes).toEqual([1001]);
    const another = new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    another.on("error", () => {});
    const [, response] = await once(another, "unexpected-response");
    expect(response.statusCode).toBe(503);
    expect(response.headers["retry-after"]).toBe("1");
    await server.finish();
  });

  test("answers what runs on a WebSocket, refuses new operations there, and then closes it", async () => {
    const { promise: gate, resolve: goOn } = Promise.withResolvers<string>();
    const schema = endlessSchema(10, () => {});
    const field = schema.getQueryType()?.getFields().a;
    if (field === undefined) throw new Error("the field was just declared");
    field.resolve = () => gate;
    await using server = await startBareServer({ schema });
    const codes: number[] = [];
    await using client = websocketTransport(server.url, (code) => codes.push(code));
    const running = client.subscribe("{ a }");
    const stream = client.subscribe("subscription { text }");
    await stream.next();
    const stopped = server.stop();

    const { value: refused } = await client.subscribe("{ __typename }").next();
    expect(refused?.errors).toMatchObject([{ extensions: { code: "SERVICE_UNAVAILABLE" } }]);
    expect(codes).toEqual([]);
    goOn("done");
    expect((await running.next()).value?.data).toEqual({ a: "done" });
    await stopped;
    await until(() => expect(codes).toEqual([1001]));
    await expect(drained(stream)).rejects.toBeDefined();
    expect(stream.isComplete).toBe(false);
  });
});

async function drained(stream: Stream): Promise<void> {
  for await (const _ of stream);
}

describe("a server that was asked to stop", () => {
  test("ends at once when nothing runs, whatever is connected", async () => {
    await using server = await start({ SHUTDOWN_GRACE: "1h" });
    await using silent = await openRaw(server.url);
    await using idle = await openRaw(server.url);
    idle.send(get("/health"));
    await idle.until(/"ok"/);
    await using half = await openRaw(server.url);
    half.send("GET /health HTTP/1.1\r\nHost: loc");
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    await once(socket, "open");
    // Reads nothing, and so does not answer that it is to be closed.
    socket.pause();
    expect(await server.stop()).toBe(0);
    expect(server.stderr()).toBe("");
    await Promise.all([silent.closed, idle.closed, half.closed]);
    socket.terminate();
  });

  test("ends within SHUTDOWN_GRACE, though a client does not read or a request does not finish", async () => {
    const prefix = uniquePrefix();
    await using server = await start({ SHUTDOWN_GRACE: "1s", KEY_PREFIX: prefix });
    await using half = await openRaw(server.url);
    half.send(`${post}Content-Length: 100\r\n\r\nhalf`);
    const names = Array.from({ length: 100 }, (_, i) => `${i}-`.padEnd(200, "x"));
    const wide = `subscription ($queues: [String!]!) { queueLatency(queues: $queues, minIntervalMs: 50) {
      depth ${Array.from({ length: 60 }, (_, i) => `copy${i}: queue`).join(" ")} } }`;
    await using overHttp = await slowSse(server.url, wide, { queues: names });
    await using overWebsocket = await slowWebsocket(server.url, wide, { queues: names });
    await using writer = await openTracker(inject("redisUrl"), { prefix });
    const witness = sse(server.url, `subscription { queueLatency(queues: ["${names[0]}"]) { depth } }`);
    // More than the sockets' buffers hold.
    for (let round = 1; round <= 15; round++) {
      const job = {
        type: "ENQUEUED",
        jobId: String(round),
        attempt: 0,
        atMs: null,
        availableAtMs: null,
      } as const;
      await witness.next();
      await writer.tracker.record(
        names.map((queue) => ({ ...job, queue })),
        null,
      );
    }
    witness.abort();
    const startedAtMs = performance.now();
    expect(await server.stop()).toBe(0);
    // It waited for them, and then no longer: the rest is what a busy machine needs.
    expect(performance.now() - startedAtMs).toBeGreaterThan(900);
    expect(performance.now() - startedAtMs).toBeLessThan(onThisMachine(4_500));
    expect(server.stderr()).toContain("requests were still running");
    await half.closed;
    for (const reader of [overHttp, overWebsocket]) reader.cut();
  });
});

/** A server in which a request runs: the rest of its body is on the way until `finish()`. */
async function busyServer() {
  const server = await start();
  const running = await openRaw(server.url);
  running.send(`${post}Content-Length: ${mutation.length}\r\nExpect: 100-continue\r\n\r\n{`);
  // It was received.
  await running.until(/^HTTP\/1\.1 100 /);
  let ended: Promise<number | null> | undefined;
  return {
    url: server.url,
    async askToStop() {
      ended = server.stop();
      await until(async () => expect((await fetch(`${server.url}/ready`)).status).toBe(503));
    },
    /** The request is answered as if nothing were, and then the server ends. */
    async finish() {
      running.send(mutation.slice(1));
      const answer = await running.until(/"accepted":1/);
      expect(answer).toMatch(/^HTTP\/1\.1 200 /m);
      expect(answer).toMatch(/^Connection: close\r$/im);
      expect(await ended).toBe(0);
      // It would say so if it had cut a client off.
      expect(server.stderr()).toBe("");
    },
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]();
      await server.kill();
    },
  };
}
