import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { DocumentNode } from "graphql";
import { handleProtocols } from "graphql-ws";
import { WebSocketServer } from "ws";
import type { Caller } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import type { Logger } from "../runtime/logger.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { callerOf } from "./caller.ts";
import type { ConcurrencyLimiter } from "./concurrency-limiter.ts";
import type { FairScheduler } from "./fair-scheduler.ts";
import { createHeartbeat } from "./heartbeat.ts";
import { refuseSocket } from "./http-response.ts";
import { traceFields } from "./trace-fields.ts";
import { WebSocketConnection } from "./websocket-connection.ts";
import { type SessionOptions, tooManySockets, WebSocketSession } from "./websocket-session.ts";

export interface WebSocketOptions extends Omit<SessionOptions, "isLeaving"> {
  /** The rate-limit key of a connection: its client, or its address until a token names the client. */
  readonly rateLimitKeyOf: (caller: Caller) => string;
  /** Open sockets of each client. */
  readonly sockets: ConcurrencyLimiter;
  readonly scheduler: FairScheduler;
  readonly budget: ByteBudget;
  readonly guard: Pick<RequestGuard<DocumentNode>, "maxBodyBytes" | "checkJson">;
  readonly logger: Logger;
}

/** GraphQL over WebSocket, with the protocol `graphql-transport-ws`. */
export interface WebSockets {
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** From now on operations are refused. A socket is closed with 1001 as soon as it runs nothing but subscriptions. */
  leave(): void;
  /** Whether a query or a mutation runs. */
  isBusy(): boolean;
  /** Closes all sockets with 1001, and cuts those that are still open after `withinMs`. */
  stop(withinMs: number): Promise<void>;
}

/** A socket that has not answered a ping by the next one is cut. */
const pingEveryMs = 12_000;
const maxFragments = 128;
/** Reads of a socket that make up one message. */
const maxBufferedChunks = 4_096;
/** How long a socket that the server has closed may take to close its end. */
const closeWithinMs = 2_000;

export function createWebSockets(options: WebSocketOptions): WebSockets {
  const { sockets, tarpit, guard, rateLimitKeyOf } = options;
  const webSocketServer = new WebSocketServer({
    noServer: true,
    maxPayload: guard.maxBodyBytes,
    handleProtocols,
    // It costs memory by the socket, and lets a small frame become a large one.
    perMessageDeflate: false,
    // Pings are answered by the connection, which counts them.
    autoPong: false,
    // One message of a socket in each tick of the event loop: a flood of small ones comes in between others, not before them.
    allowSynchronousEvents: false,
    // Its types do not know these yet. No client fragments what fits into one frame.
    ...{ closeTimeout: closeWithinMs, maxFragments, maxBufferedChunks },
  });
  const heartbeat = createHeartbeat<WebSocketConnection>(pingEveryMs, (connection) => connection.ping());
  let isLeaving = false;
  const sessionOptions = { ...options, isLeaving: () => isLeaving };
  const connectionOptions = { ...options, countSockets: sockets.count };

  return {
    upgrade(request, source, head) {
      const caller = callerOf(request);
      const trace = traceFields(request.headers.traceparent);
      function log(message: string, fields = {}): void {
        if (trace !== null) options.logger.debug({ ...trace, ...fields }, message);
      }
      const slot = sockets.acquire(rateLimitKeyOf(caller));
      if (slot === null) {
        const error = new AppError("TOO_MANY_SUBSCRIPTIONS", tooManySockets, { retryAfterSeconds: 1 });
        log("refused a WebSocket", { code: error.code });
        void Promise.resolve(tarpit.hold(rateLimitKeyOf(caller))).then(() => refuseSocket(source, error));
        return;
      }
      source.once("close", () => slot.release());
      let isOpened = false;
      webSocketServer.handleUpgrade(request, source, head, (socket) => {
        isOpened = true;
        const connection = new WebSocketConnection(
          { socket, source, slot, caller },
          (opened) =>
            new WebSocketSession(opened, sessionOptions, trace === null ? null : request.headers.traceparent),
          connectionOptions,
        );
        heartbeat.add(connection);
        socket.on("close", () => heartbeat.delete(connection));
        if (isLeaving) connection.leave();
      });
      // It calls back before it returns, or not at all.
      log(isOpened ? "opened a WebSocket" : "WebSocket handshake failed");
    },
    leave() {
      isLeaving = true;
      for (const connection of heartbeat.members()) connection.leave();
    },
    isBusy: () => [...heartbeat.members()].some(({ isBusy }) => isBusy),
    async stop(withinMs) {
      const forceCloseTimer = setTimeout(() => {
        for (const webSocket of webSocketServer.clients) webSocket.terminate();
      }, withinMs);
      for (const webSocket of webSocketServer.clients) webSocket.close(1001, "Going away");
      await new Promise((resolve) => webSocketServer.close(resolve));
      clearTimeout(forceCloseTimer);
    },
  };
}
