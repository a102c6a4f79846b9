import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { expect, it, vi } from "vitest";
import type { WebSocket } from "ws";
import { createByteBudget } from "../../src/server/byte-budget.ts";
import { createConcurrencyLimiter } from "../../src/server/concurrency-limiter.ts";
import { createFairScheduler } from "../../src/server/fair-scheduler.ts";
import { WebSocketConnection } from "../../src/server/websocket-connection.ts";
import { silentLogger } from "../support/logger.ts";

it("pings an idle socket at every heartbeat, and cuts one that has not answered by the next", () => {
  const { socket, connection, ping, terminate } = open();
  connection.ping();
  socket.emit("pong");
  connection.ping();
  expect([ping.mock.calls.length, terminate.mock.calls.length]).toEqual([2, 0]);
  connection.ping();
  expect([ping.mock.calls.length, terminate.mock.calls.length]).toEqual([2, 1]);
});

it("pings a socket that it pushes to at every fifth, and cuts it all the same when it does not answer", () => {
  const { connection, ping, terminate } = open();
  const pushed = () => {
    connection.output.push("{", "}");
    connection.ping();
  };
  for (let n = 0; n < 4; n++) pushed();
  expect(ping).not.toHaveBeenCalled();
  pushed();
  expect(ping).toHaveBeenCalledOnce();
  expect(terminate).not.toHaveBeenCalled();
  pushed();
  expect(terminate).toHaveBeenCalledOnce();
});

/** A connection whose other end is the test. */
function open() {
  const ping = vi.fn();
  const terminate = vi.fn();
  const socket = Object.assign(new EventEmitter(), { OPEN: 1, readyState: 1, ping, terminate });
  const sockets = createConcurrencyLimiter(1);
  const slot = sockets.acquire("token:a") ?? expect.unreachable();
  const connection = new WebSocketConnection(
    {
      socket: socket as unknown as WebSocket,
      source: new PassThrough(),
      slot,
      caller: { address: undefined, forwardedFor: undefined, authorization: undefined },
    },
    () => ({ handle: async () => {}, end() {} }),
    {
      scheduler: createFairScheduler({ shareMs: 1 }),
      budget: createByteBudget(1_000_000),
      countSockets: sockets.count,
      logger: silentLogger,
    },
  );
  return { socket, connection, ping, terminate };
}
