import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
import { uniquePrefix } from "../support/redis.ts";
import { post as postBody, startApp } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";

let tokens: TestTokens;
let app: Awaited<ReturnType<typeof startApp>>;
beforeAll(async () => {
  tokens = await tokenFile({ flood: "read", other: "read" });
  app = await startApp({
    REDIS_URL: inject("redisUrl"),
    KEY_PREFIX: uniquePrefix(),
    API_TOKENS_FILE: tokens.path,
    MAX_COST: "5",
  });
});
afterAll(async () => {
  await app?.stop();
  await tokens?.[Symbol.asyncDispose]();
});

interface Way {
  readonly why: string;
  /** Resolves when it was refused. */
  readonly refuse: () => Promise<unknown>;
}

/** Ways to be refused, by every transport, with a token and without. */
const ways: readonly Way[] = [
  { why: "a document that is not valid, by POST", refuse: () => post("{ nothing }") },
  { why: "a document that is too expensive, by POST", refuse: () => post(tooExpensive) },
  { why: "an invalid document, in a batch", refuse: () => post([{ query: "{ nothing }" }]) },
  {
    why: "an invalid document, by GET",
    refuse: () => get(`/graphql?query=${encodeURIComponent("{ a }")}`, graphqlResponse),
  },
  { why: "no document", refuse: () => get("/graphql") },
  {
    why: "a subscription that is too expensive, by SSE",
    refuse: () => post(`subscription ${tooExpensive}`, sse),
  },
  { why: "a body that is too large", refuse: () => halfPost(2_000_000) },
  { why: "no body that can be read", refuse: () => post("{", { "content-type": "text/plain" }) },
  { why: "an unknown token", refuse: () => post("{ __typename }", bearer("stranger")) },
  { why: "no token, for /metrics", refuse: () => get("/metrics", {}) },
  { why: "an unknown path", refuse: () => get("/nowhere") },
  { why: "a method that is not served", refuse: () => get("/graphql", bearer("flood"), "PUT") },
  { why: "a page of another origin", refuse: () => get("/graphql", { origin: "http://evil.test" }) },
  { why: "an upgrade of an unknown path", refuse: () => upgrade("/nowhere") },
  { why: "an unknown token, by WebSocket", refuse: () => upgrade("/graphql", "stranger") },
];

describe("a client that is refused again and again", () => {
  const refusals = 75;
  // 50 at once, then 50 a second.
  const minMs = 500;

  test.each(ways)("for $why gets its answers late", async ({ refuse }) => {
    const beganAtMs = performance.now();
    await Promise.all(Array.from({ length: refusals }, refuse));
    // A timer may be early by a millisecond.
    expect(performance.now() - beganAtMs).toBeGreaterThan(minMs - 5);
  });

  test("for invalid documents, over one WebSocket, gets its answers late", async () => {
    const socket = new WebSocket(`${app.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    await once(socket, "open");
    socket.send('{"type":"connection_init","payload":{"authorization":"Bearer flood"}}');
    await once(socket, "message");
    const beganAtMs = performance.now();
    let answers = 0;
    socket.on("message", () => (answers += 1));
    for (let id = 0; id < refusals; id++)
      socket.send(`{"type":"subscribe","id":"${id}","payload":{"query":"{ nothing }"}}`);
    await expect.poll(() => answers).toBe(refusals);
    expect(performance.now() - beganAtMs).toBeGreaterThan(minMs - 5);
    socket.terminate();
  });

  test("delays nothing else that it asks, and no other client", async () => {
    const flood = Promise.all(Array.from({ length: 300 }, () => post("{ nothing }"))).then(() => "flood");
    const good = Promise.all(
      ["flood", "other"].map((token) => postBody(app.url, { query: "{ __typename }" }, bearer(token))),
    );
    expect(await Promise.race([flood, good])).toMatchObject([{ status: 200 }, { status: 200 }]);
    await flood;
  });
});

const tooExpensive = `{ ${Array.from({ length: 20 }, (_, i) => `a${i}: queueLatency(queues: ["a"]) { latency }`).join(" ")} }`;
const graphqlResponse = { ...bearer("flood"), accept: "application/graphql-response+json" };
const sse = { ...bearer("flood"), accept: "text/event-stream" };

async function post(query: unknown, headers: Record<string, string> = bearer("flood")): Promise<void> {
  const body = typeof query === "string" ? JSON.stringify({ query }) : JSON.stringify(query);
  const response = await fetch(`${app.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
  expect(await response.text()).toMatch(/"errors":/);
}

async function get(path: string, headers: Record<string, string> = bearer("flood"), method = "GET") {
  const response = await fetch(`${app.url}${path}`, { method, headers });
  expect(response.status).toBeGreaterThanOrEqual(400);
  await response.text();
}

/** The beginning of a body that never ends. */
async function halfPost(bytes: number): Promise<void> {
  const socket = connect(Number(new URL(app.url).port), "127.0.0.1");
  socket.write(
    `POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer flood\r\nContent-Length: ${bytes}\r\n\r\n{`,
  );
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 413 /);
}

async function upgrade(path: string, token?: string): Promise<void> {
  const socket = new WebSocket(app.url.replace("http", "ws") + path, "graphql-transport-ws");
  socket.on("error", () => {});
  socket.on("open", () =>
    socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${token}` } })),
  );
  await new Promise((resolve) => socket.on("close", resolve));
}
