import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import type { Server } from "graphql-ws";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { WebSocket } from "ws";
import { createByteBudget } from "../../src/server/byte-budget.ts";
import { createFairScheduler } from "../../src/server/fair-scheduler.ts";
import { type ServedExtra, serveConnection } from "../../src/server/websocket-connection.ts";
import { silentLogger } from "../support/logger.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

const tickMs = 12_000;

it("pings an idle socket every 12 seconds, and cuts one that has not answered by the next ping", () => {
  const { socket, ping, terminate } = serve();
  vi.advanceTimersByTime(tickMs);
  socket.emit("pong");
  vi.advanceTimersByTime(tickMs);
  expect([ping.mock.calls.length, terminate.mock.calls.length]).toEqual([2, 0]);
  vi.advanceTimersByTime(tickMs);
  expect([ping.mock.calls.length, terminate.mock.calls.length]).toEqual([2, 1]);
});

it("pings a socket that it pushes to once a minute, and cuts it all the same when it does not answer", () => {
  const { push, ping, terminate } = serve();
  const pushed = () => {
    push("{", "}");
    vi.advanceTimersByTime(tickMs);
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
function serve() {
  const ping = vi.fn();
  const terminate = vi.fn();
  const socket = Object.assign(new EventEmitter(), { OPEN: 1, readyState: 1, ping, terminate });
  let extra: ServedExtra | undefined;
  const server = {
    opened(_socket: object, given: ServedExtra) {
      extra = given;
      return async () => {};
    },
  };
  serveConnection(
    server as unknown as Server<ServedExtra>,
    {
      caller: { address: undefined, forwardedFor: undefined, authorization: undefined },
      socket: socket as unknown as WebSocket,
      client: () => "token:a",
      reassignTo: () => true,
    },
    {
      source: new PassThrough(),
      maxAtOnce: () => 1,
      scheduler: createFairScheduler({ shareMs: 1 }),
      budget: createByteBudget(1_000_000),
      refusalOf: () => null,
    },
    silentLogger,
  );
  return { socket, ping, terminate, push: extra?.push ?? expect.unreachable() };
}
