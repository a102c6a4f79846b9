import type { IncomingMessage } from "node:http";
import { CloseCode, type Server } from "graphql-ws";
import type { WebSocket } from "ws";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";

/** What a WebSocket's operations know of it. */
export interface SocketExtra {
  readonly request: IncomingMessage;
  readonly socket: WebSocket;
}

/** How often a socket is asked whether its other end lives; one that does not answer until the next time is cut. */
const pingEveryMs = 12_000;

/**
 * Connects one socket of `ws` to the protocol of `graphql-ws`. That package's own adapter does the same, and prints the
 * stack of every error on the console, which any client can cause by breaking the protocol.
 */
export function serveSocket(server: Server<SocketExtra>, extra: SocketExtra, logger: Logger): void {
  const { socket } = extra;
  // What breaks the protocol, `ws` itself closes with the right code.
  socket.on("error", (error) => logger.debug({ err: error.message }, "a WebSocket broke"));

  let isAlive = true;
  socket.on("pong", () => {
    isAlive = true;
  });
  const ping = setInterval(() => {
    if (isAlive) socket.ping();
    else socket.terminate();
    isAlive = false;
  }, pingEveryMs);

  const closed = server.opened(
    {
      protocol: socket.protocol,
      // Resolves when the message has left us: the next result is not asked for before, so a slow reader gets the newest.
      send: (message) =>
        new Promise((resolve, reject) => {
          if (socket.readyState !== socket.OPEN) resolve();
          else socket.send(message, (error) => (error ? reject(error) : resolve()));
        }),
      close: (code, reason) => socket.close(code, reason),
      onMessage(handle) {
        socket.on("message", (message) => {
          handle(String(message)).catch((error: unknown) => {
            // A send that fails because the other end has gone is no news.
            if (socket.readyState !== socket.OPEN) return;
            logger.warn({ err: messageOf(error) }, "a WebSocket's message could not be handled");
            socket.close(CloseCode.InternalServerError, "Internal server error");
          });
        });
      },
    },
    extra,
  );
  socket.once("close", (code, reason) => {
    clearInterval(ping);
    closed(code, String(reason)).catch((error: unknown) => {
      logger.debug({ err: messageOf(error) }, "a WebSocket did not end cleanly");
    });
  });
}
