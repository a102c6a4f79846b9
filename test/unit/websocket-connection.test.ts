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
  socket.emit("pong", Buffer.alloc(0));
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

it("handles no message whose turn comes after its socket has closed", async () => {
  const handle = vi.fn(async () => {});
  const { socket, scheduler } = open(handle);
  scheduler.charge("token:a", () => {
    const untilMs = performance.now() + 5;
    while (performance.now() < untilMs);
  });
  socket.emit("message", Buffer.from("{}"), false);
  socket.readyState = 3;
  socket.emit("close");
  // Its turn comes behind that of the message.
  await scheduler.begin("token:a", () => {});
  expect(handle).not.toHaveBeenCalled();
});

it("keeps no bytes of pongs", () => {
  const { socket, source, budget } = open();
  for (let n = 0; n < 50; n++) {
    source.emit("data", Buffer.alloc(6));
    socket.emit("pong", Buffer.alloc(0));
  }
  expect(budget.reserve("token:a", 2_000_000)).not.toBeNull();
});

/** A connection whose other end is the test. */
function open(handle: (message: string) => Promise<void> = async () => {}) {
  const source = new PassThrough();
  const scheduler = createFairScheduler({ shareMs: 1 });
  const budget = createByteBudget(1_000_000);
  const ping = vi.fn();
  const terminate = vi.fn();
  const socket = Object.assign(new EventEmitter(), { OPEN: 1, readyState: 1, ping, terminate, pause() {} });
  const sockets = createConcurrencyLimiter(1);
  const slot = sockets.acquire("token:a") ?? expect.unreachable();
  const connection = new WebSocketConnection(
    {
      socket: socket as unknown as WebSocket,
      source,
      slot,
      caller: { address: undefined, forwardedFor: undefined, authorization: undefined },
    },
    () => ({ handle, end() {} }),
    {
      scheduler,
      budget,
      countSockets: sockets.count,
      logger: silentLogger,
    },
  );
  return { socket, source, scheduler, budget, connection, ping, terminate };
}
