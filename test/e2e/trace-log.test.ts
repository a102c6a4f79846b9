import { once } from "node:events";
import { request } from "node:http";
import { expect, it } from "vitest";
import { WebSocket } from "ws";
import { startBareServer } from "../support/bare-server.ts";
import { recordingLogger } from "../support/logger.ts";
import { until } from "../support/until.ts";

const [trace_id, span_id] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
const traceparent = `00-${trace_id}-${span_id}-01`;
const ids = { trace_id, span_id };

async function start(options: Parameters<typeof startBareServer>[0] = {}) {
  const logger = recordingLogger();
  const server = await startBareServer({ logger, ...options });
  const traced = () =>
    logger.lines.flatMap(({ fields, message }) => ("trace_id" in fields ? [{ message, fields }] : []));
  return { ...server, traced };
}

it("has no answer of a request that the client closed before it", async () => {
  const { promise: gate, resolve: proceed } = Promise.withResolvers<void>();
  let isWaiting = false;
  await using server = await start({
    routes: {
      "/wait": async () => {
        isWaiting = true;
        await gate;
        return { status: 200, body: {} };
      },
    },
  });
  const sent = request(`${server.url}/wait`, { headers: { traceparent } });
  sent.on("error", () => {});
  sent.end();
  await until(() => expect(isWaiting).toBe(true));
  // One that only closes its end may wait for the answer.
  sent.socket?.resetAndDestroy();
  await until(() => expect(server.traced()).toHaveLength(1));
  proceed();
  expect(server.traced()).toEqual([{ message: "request ended without an answer", fields: ids }]);
});

it("has the refusal of a request over the concurrency limit", async () => {
  // Of 1,000 requests beside the subscriptions this leaves none.
  await using server = await start({ maxSubscriptions: -1_000 });
  const { status } = await fetch(`${server.url}/health`, { headers: { traceparent } });
  expect(status).toBe(429);
  await until(() => expect(server.traced()).toHaveLength(1));
  expect(server.traced()).toEqual([{ message: "answered a request", fields: { ...ids, status: 429 } }]);
});

it.each([
  {
    // Of 100 sockets beside the subscriptions this leaves none.
    ...{ maxSubscriptions: -100, path: "/graphql", why: "over the limit of sockets" },
    ...{
      status: 429,
      line: { message: "refused a WebSocket", fields: { ...ids, code: "TOO_MANY_SUBSCRIPTIONS" } },
    },
  },
  {
    ...{ maxSubscriptions: 1, path: "/elsewhere", why: "that nothing listens for" },
    ...{ status: 404, line: { message: "refused a WebSocket", fields: { ...ids, code: "BAD_USER_INPUT" } } },
  },
  {
    ...{ maxSubscriptions: 1, path: "/graphql", why: "without the key of the handshake" },
    ...{ status: 400, line: { message: "WebSocket handshake failed", fields: ids } },
  },
])("has no WebSocket opened $why", async ({ maxSubscriptions, path, status, line }) => {
  await using server = await start({ maxSubscriptions });
  const headers = { traceparent, connection: "Upgrade", upgrade: "websocket" };
  const sent = request(`${server.url}${path}`, { headers });
  sent.end();
  const [response] = await once(sent, "response");
  response.resume();
  expect(response.statusCode).toBe(status);
  expect(server.traced()).toEqual([line]);
});

it("has the session of a WebSocket once, and what is refused after it", async () => {
  await using server = await start();
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  await once(socket, "open");
  for (let i = 0; i < 2; i++)
    socket.send(JSON.stringify({ type: "connection_init", payload: { traceparent } }));
  await once(socket, "close");
  expect(server.traced()).toEqual([
    { message: "began a WebSocket session", fields: ids },
    { message: "refused a WebSocket session", fields: { ...ids, code: 4429 } },
  ]);
});
