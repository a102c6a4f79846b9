import { CloseCode, MessageType, type Server, stringifyMessage } from "graphql-ws";
import type { WebSocket } from "ws";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { createAllowance } from "./allowance.ts";
import type { CallingPart } from "./graphql.ts";

/** What a WebSocket's operations know of it. */
export interface SocketExtra {
  /** Of the request that it began with. */
  readonly req: CallingPart;
  readonly socket: WebSocket;
  /** Counts the socket as this client's from now on. @returns false: the client has as many as it may have. */
  readonly belongTo: (client: string) => boolean;
}

/** The same, once it is served. */
export interface ServedExtra extends SocketExtra {
  /** Resolves when the message has left us; rejects when the socket is not open any more. */
  readonly send: (message: string) => Promise<void>;
}

/** What one socket may have under way; while it has, nothing more is read from it, and TCP holds its sender back. */
export interface SocketLimits {
  /** Subscriptions, queries and other messages. */
  readonly maxAtOnce: number;
  /** What these weigh as they came; the last one may go beyond. */
  readonly maxBytesAtOnce: number;
}

export interface ServedSocket {
  /** Whether something that it asked for is not done with. */
  isBusy(): boolean;
}

/** How often a socket is asked whether its other end lives; one that does not answer until the next time is cut. */
const pingEveryMs = 12_000;
/** Who sends messages faster is read no faster. What an operation costs is charged besides. */
const messages = { perSecond: 2_000, burst: 10_000 };
const messagesAgainMs = 10;
/** Pings and pongs; one that sends more is closed with 1008 and a reason. */
const pings = { perSecond: 10, burst: 100 };
/** What a client leaves unread of a few large answers; one that leaves more than that reads nothing at all. */
const mostUnreadBytes = 16_000_000;
const policyViolation = 1008;
/** What fits into a close frame beside its code. */
const longestReasonBytes = 123;

/**
 * Connects one socket of `ws` to the protocol of `graphql-ws`. That package's own adapter does the same, but bounds nothing, and
 * prints the stack of every error on the console, which any client can cause by breaking the protocol.
 */
export function serveSocket(
  server: Server<ServedExtra>,
  extra: SocketExtra,
  { maxAtOnce, maxBytesAtOnce }: SocketLimits,
  logger: Logger,
): ServedSocket {
  const { socket } = extra;
  const messagesLeft = createAllowance(messages);
  const pingsLeft = createAllowance(pings);
  /** Came together with what is under way, and is to wait: as little as was read from the socket at once. */
  let waiting: (() => void)[] = [];
  let waitingForMore: NodeJS.Timeout | undefined;
  let atOnce = 0;
  let bytesAtOnce = 0;

  function close(code: number, reason: string): void {
    socket.close(code, Buffer.from(reason).subarray(0, longestReasonBytes));
    takeWaiting();
  }

  /** What still comes before the other end has closed, too, is read and ignored; after a while the socket is cut. */
  function refuse(reason: string): void {
    if (socket.readyState !== socket.OPEN) return;
    logger.debug({ reason }, "a WebSocket was closed for what it sent");
    close(policyViolation, reason);
  }

  async function send(message: string): Promise<void> {
    if (socket.bufferedAmount > mostUnreadBytes) {
      logger.debug({ unreadBytes: socket.bufferedAmount }, "a WebSocket was cut: it reads nothing");
      socket.terminate();
    }
    // Ends what it is an answer to: a stream that always has more to say would never let us hear that the socket has closed.
    if (socket.readyState !== socket.OPEN) throw new Error("the socket is not open any more");
    // Resolves when the message has left us: the next result is not asked for before, so a slow reader gets the newest.
    await new Promise<void>((resolve, reject) => {
      socket.send(message, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Takes what waits as far as there is room for it, in the order in which it came; reads on when nothing waits. */
  function takeWaiting(): void {
    clearTimeout(waitingForMore);
    // The end of a socket that is closing would not be read behind what waits.
    if (socket.readyState !== socket.OPEN) waiting = [];
    while (waiting.length > 0 && atOnce < maxAtOnce && bytesAtOnce < maxBytesAtOnce) {
      if (!messagesLeft.take()) {
        waitingForMore = setTimeout(takeWaiting, messagesAgainMs);
        break;
      }
      waiting.shift()?.();
    }
    if (waiting.length > 0) socket.pause();
    else if (socket.isPaused) socket.resume();
  }

  /** Does not wait itself: it would keep the text for as long as a subscription lasts. */
  function take(text: string, handle: (message: string) => Promise<void>): void {
    const bytes = text.length;
    atOnce += 1;
    bytesAtOnce += bytes;
    void handle(text)
      .catch(fail)
      .finally(() => {
        atOnce -= 1;
        bytesAtOnce -= bytes;
        takeWaiting();
      });
  }

  function fail(error: unknown): void {
    // A send that fails because the other end has gone is no news.
    if (socket.readyState !== socket.OPEN) return;
    // The protocol knows it, but only a server sends it.
    if (messageOf(error).startsWith("Unexpected message of type")) {
      close(CloseCode.BadRequest, "Invalid message received");
      return;
    }
    logger.warn({ err: messageOf(error) }, "a WebSocket's message could not be handled");
    close(CloseCode.InternalServerError, "Internal server error");
  }

  // What breaks the protocol of WebSockets, `ws` itself closes with the right code.
  socket.on("error", (error) => logger.debug({ err: error.message }, "a WebSocket broke"));

  let isAlive = true;
  const ping = setInterval(() => {
    if (isAlive) socket.ping();
    else socket.terminate();
    isAlive = false;
  }, pingEveryMs);
  socket.on("pong", () => {
    isAlive = true;
    if (!pingsLeft.take()) refuse("Too many pongs");
  });
  socket.on("ping", (data) => {
    if (socket.readyState !== socket.OPEN) return;
    if (pingsLeft.take()) socket.pong(data);
    else refuse("Too many pings");
  });

  const closed = server.opened(
    {
      protocol: socket.protocol,
      send,
      close,
      async onPing(payload) {
        if (pingsLeft.take())
          await send(stringifyMessage({ type: MessageType.Pong, ...(payload && { payload }) }));
        else refuse("Too many pings");
      },
      onMessage(handle) {
        socket.on("message", (data) => {
          // Its pong may be held back behind its messages.
          isAlive = true;
          const text = String(data);
          waiting.push(() => take(text, handle));
          takeWaiting();
        });
      },
    },
    { ...extra, send },
  );
  socket.once("close", (code, reason) => {
    clearInterval(ping);
    clearTimeout(waitingForMore);
    closed(code, String(reason)).catch((error: unknown) => {
      logger.debug({ err: messageOf(error) }, "a WebSocket did not end cleanly");
    });
  });
  return { isBusy: () => atOnce > 0 };
}
