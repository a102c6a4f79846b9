import { isUtf8 } from "node:buffer";
import type { Duplex } from "node:stream";
import { CloseCode, MessageType, type Server, stringifyMessage } from "graphql-ws";
import type { WebSocket } from "ws";
import type { Caller } from "../core/admission.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../runtime/logger.ts";
import { type ByteBudget, createGrowingReservation } from "./byte-budget.ts";
import type { FairScheduler } from "./fair-scheduler.ts";
import { textFrame } from "./text-frame.ts";
import { createTokenBucket } from "./token-bucket.ts";
import { whenDrained } from "./when-drained.ts";

/** What the operations of a socket know of it. */
export interface SocketExtra {
  /** The request that it began with. */
  readonly caller: Caller;
  readonly socket: WebSocket;
  /** Who it counts for now. */
  readonly client: () => string;
  /** Counts the socket as this client's from now on. @returns false when the client has too many. */
  readonly reassignTo: (client: string) => boolean;
}

/** The same, once it is served. */
export interface ServedExtra extends SocketExtra {
  /** Resolves when the message has left for the socket; rejects when the socket is closed. */
  readonly send: (message: string) => Promise<void>;
  /** Called when an operation begins. @returns what resolves when an earlier one by the same id has ended, or null when it has. */
  readonly begin: (id: string) => Promise<void> | null;
  /** Handles no more messages until then. */
  readonly pauseUntil: (promise: Promise<void>) => Promise<void>;
  /**
   * Whether all that was written has left for the socket. If not, `drained` is called as soon as it has, once however often this is
   * asked meanwhile with the same function.
   */
  readonly isReady: (drained: () => void) => boolean;
  /**
   * Sends a message of a head, in ASCII, and an end that other sockets get, too: its bytes, a character each.
   *
   * A client that leaves more messages unread than its byte budget allows is cut.
   */
  readonly push: (head: string, end: string) => void;
  /** An operation is only a subscription from now on: it does not hold up the end of the server. @returns what ends that. */
  readonly holdStream: () => () => void;
}

export interface ConnectionOptions {
  /** The connection under the WebSocket. */
  readonly source: Duplex;
  /** Messages in flight, beside subscriptions. Beyond it nothing more is read, and TCP holds the sender back. */
  readonly maxAtOnce: () => number;
  readonly scheduler: FairScheduler;
  readonly budget: ByteBudget;
  /** The answer to a message that would take long to parse, for which it is refused. @throws AppError when it has none. */
  readonly refusalOf: (text: string) => string | null;
}

export interface ServedConnection {
  /** Whether it has anything in flight but subscriptions. */
  isBusy(): boolean;
  /** Closes with 1001 as soon as it is not busy. */
  leave(): void;
}

/** Heartbeat: a socket that has not answered a ping by the next one is cut. */
const pingEveryMs = 12_000;
/** While something is pushed, pings are only needed to notice that the client has vanished: every fifth is sent. */
const pingsWhilePushed = 5;
/** Pings and pongs; beyond it the socket is closed with 1008. */
const pings = { perSecond: 10, burst: 100 };
/** Output that a client leaves unread; beyond it nothing more of the socket is read. */
const maxUnreadBytes = 1_000_000;
/** All that `connection_init` needs. */
const maxStrangerBytes = 65_536;
const policyViolation = 1008;
const tryAgainLater = 1013;
const goingAway = 1001;
/** What fits into a close frame beside its code. */
const maxReasonBytes = 123;

/** A reason that fits into a close frame, cut at a character. */
export function closeReason(text: string): string {
  return Buffer.from(text)
    .subarray(0, maxReasonBytes)
    .toString()
    .replace(/\ufffd$/, "");
}

/**
 * Connects one socket of `ws` to the protocol of `graphql-ws`. That package's own adapter does the same, but bounds nothing, and
 * prints the stack of every error on the console, which any client can cause by breaking the protocol.
 */
export function serveConnection(
  server: Server<ServedExtra>,
  extra: SocketExtra,
  { source, maxAtOnce, scheduler, budget, refusalOf }: ConnectionOptions,
  logger: Logger,
): ServedConnection {
  const { socket } = extra;
  const pingBucket = createTokenBucket(pings);
  /** Read together with what is in flight, and to be handled later: at most what one read of the socket returns. */
  let waiting: { readonly begin: () => void; readonly release: () => void }[] = [];
  /** What releases the bytes of messages that have not left for the socket. */
  const unread: (() => void)[] = [];
  /** Called when all that was written has left for the socket. */
  let draining: (() => void)[] = [];
  /** What resolves when an operation ends, by its id. */
  const operations = new Map<string, Promise<void>>();
  /** Of the operation that the message being handled begins. */
  let begunId: string | null = null;
  let isDraining = false;
  let hasPushed = false;
  let isTurnPending = false;
  let atOnce = 0;
  let pauses = 0;
  let streams = 0;
  let isLeaving = false;
  let isRefused = false;
  let isStranger = true;
  let strangerBytes = 0;
  /** Of the message that is being read. */
  let incoming = createGrowingReservation(budget, extra.client());
  let incomingBytes = 0;

  function close(code: number, reason: string): void {
    socket.close(code, closeReason(reason));
    takeWaiting();
  }

  function isBusy(): boolean {
    return atOnce > streams;
  }

  function closeWhenIdle(): void {
    if (isLeaving && !isBusy()) close(goingAway, "Going away");
  }

  function holdStream(): () => void {
    let isHeld = true;
    streams += 1;
    closeWhenIdle();
    return () => {
      if (isHeld) streams -= 1;
      isHeld = false;
    };
  }

  async function pauseUntil(promise: Promise<void>): Promise<void> {
    pauses += 1;
    takeWaiting();
    await promise;
    pauses -= 1;
    takeWaiting();
  }

  /** Nothing more is read from it; after a while the socket is cut. */
  function refuse(reason: string, code = policyViolation): void {
    if (socket.readyState !== socket.OPEN) return;
    logger.debug({ reason }, "closed a WebSocket: limit exceeded");
    isRefused = true;
    close(code, reason);
  }

  function count(bytes: number): void {
    incomingBytes += bytes;
    if (isStranger) strangerBytes += bytes;
    if (socket.readyState !== socket.OPEN) {
      // A client that reads its close frame stops soon.
      if (incomingBytes > maxStrangerBytes) source.destroy();
    } else if (strangerBytes > maxStrangerBytes) {
      refuse(`too many bytes before connection_init (limit ${maxStrangerBytes})`);
    } else if (!incoming.growTo(incomingBytes)) {
      refuse(`too many bytes in flight (limit ${budget.max} per client)`, tryAgainLater);
    }
  }

  /** The bytes of a message count until it is handled; those that come from now on belong to the next. */
  function takeIncoming(): () => void {
    const { release } = incoming;
    incoming = createGrowingReservation(budget, extra.client());
    incomingBytes = 0;
    return release;
  }

  function cut(): void {
    logger.debug({ unreadBytes: socket.bufferedAmount }, "cut a WebSocket: too much unread output");
    socket.terminate();
  }

  function awaitDrained(): void {
    if (isDraining) return;
    isDraining = true;
    whenDrained(source, (error) => {
      isDraining = false;
      for (const release of unread.splice(0)) release();
      const callbacks = draining;
      draining = [];
      // Nothing is written to a socket that is broken.
      if (error != null) return;
      for (const callback of callbacks) callback();
      if (waiting.length > 0) takeWaiting();
    });
  }

  function isReady(drained: () => void): boolean {
    if (source.writableLength === 0) return true;
    if (!draining.includes(drained)) draining.push(drained);
    awaitDrained();
    return false;
  }

  function push(head: string, end: string): void {
    if (socket.readyState !== socket.OPEN) return;
    const frame = textFrame(head, end);
    source.write(frame, "latin1");
    hasPushed = true;
    if (source.writableLength === 0) return;
    const release = budget.reserve(extra.client(), frame.length);
    if (release === null) cut();
    else {
      unread.push(release);
      awaitDrained();
    }
  }

  async function send(message: string): Promise<void> {
    // Ends the operation: a stream that always has a next push would never let the close of the socket be handled.
    if (socket.readyState !== socket.OPEN) throw new Error("the socket is closed");
    const release = budget.reserve(extra.client(), message.length);
    if (release === null) {
      cut();
      throw new Error("the client leaves too much unread");
    }
    // Resolves when the message has left for the socket: the next push is not asked for before, so a slow reader gets the newest.
    await new Promise<void>((resolve, reject) => {
      socket.send(message, (error) => {
        release();
        if (error) reject(error);
        else resolve();
      });
    });
    if (waiting.length > 0) takeWaiting();
  }

  /** Handles waiting messages in order, as far as the limits and the client's share allow; reads on when none waits. */
  function takeWaiting(): void {
    // The close frame of the client would not be read behind messages that are not handled yet.
    if (socket.readyState !== socket.OPEN) {
      for (const { release } of waiting) release();
      waiting = [];
    }
    while (
      !isTurnPending &&
      pauses === 0 &&
      atOnce - streams < maxAtOnce() &&
      socket.bufferedAmount < maxUnreadBytes
    ) {
      const next = waiting.shift();
      if (next === undefined) break;
      isTurnPending = true;
      const turn = scheduler.begin(extra.client(), () => {
        isTurnPending = false;
        next.begin();
      });
      if (isTurnPending) void turn.then(takeWaiting);
    }
    if (waiting.length > 0 || isTurnPending || isRefused || pauses > 0) socket.pause();
    else if (socket.isPaused) socket.resume();
  }

  /** Does not wait itself: it would keep the text for as long as a subscription lasts. */
  function take(text: string, release: () => void, handle: (message: string) => Promise<void>): void {
    atOnce += 1;
    begunId = null;
    const handled = handleWithin(text, handle)
      .catch(fail)
      .finally(() => {
        atOnce -= 1;
        if (id !== null && operations.get(id) === handled) operations.delete(id);
        release();
        takeWaiting();
        closeWhenIdle();
      });
    const id = begunId;
    if (id !== null) operations.set(id, handled);
  }

  function begin(id: string): Promise<void> | null {
    begunId = id;
    return operations.get(id) ?? null;
  }

  async function handleWithin(text: string, handle: (message: string) => Promise<void>): Promise<void> {
    let refusal: string | null;
    try {
      refusal = refusalOf(text);
    } catch (error) {
      close(CloseCode.BadRequest, `Invalid message received: ${messageOf(error)}`);
      return;
    }
    await (refusal === null ? handle(text) : send(refusal));
  }

  function fail(error: unknown): void {
    // A send fails when the other end has gone.
    if (socket.readyState !== socket.OPEN) return;
    // The protocol knows it, but only a server sends it.
    if (messageOf(error).startsWith("Unexpected message of type")) {
      close(CloseCode.BadRequest, "Invalid message received");
      return;
    }
    logger.warn({ err: messageOf(error) }, "failed to handle a WebSocket message");
    close(CloseCode.InternalServerError, "Internal server error");
  }

  // `ws` itself closes a socket that breaks the protocol of WebSockets, with the right code.
  socket.on("error", (error) => logger.debug({ err: error.message }, "WebSocket error"));

  let isAlive = true;
  let unsentPings = 0;
  const ping = setInterval(() => {
    if (!isAlive) {
      socket.terminate();
      return;
    }
    unsentPings += 1;
    if (!hasPushed || unsentPings === pingsWhilePushed) {
      unsentPings = 0;
      isAlive = false;
      socket.ping();
    }
    hasPushed = false;
  }, pingEveryMs);
  socket.on("pong", () => {
    isAlive = true;
    if (!pingBucket.take()) refuse("Too many pongs");
  });
  socket.on("ping", (data) => {
    if (socket.readyState !== socket.OPEN) return;
    if (pingBucket.take()) socket.pong(data);
    else refuse("Too many pings");
  });

  const closed = server.opened(
    {
      protocol: socket.protocol,
      send,
      close,
      async onPing(payload) {
        if (pingBucket.take())
          await send(stringifyMessage({ type: MessageType.Pong, ...(payload && { payload }) }));
        else refuse("Too many pings");
      },
      onMessage(handle) {
        socket.on("message", (data, isBinary) => {
          // Its pong may be held back behind its messages.
          isAlive = true;
          const release = takeIncoming();
          // `ws` checks text frames alone; two names that are not UTF-8 would be one.
          if (isBinary && !isUtf8(data as Buffer)) {
            release();
            close(CloseCode.BadRequest, "Invalid message received: it is not UTF-8");
            return;
          }
          const text = String(data);
          waiting.push({ release, begin: () => take(text, release, handle) });
          takeWaiting();
        });
      },
    },
    {
      ...extra,
      send,
      begin,
      pauseUntil,
      isReady,
      push,
      holdStream,
      reassignTo(client) {
        isStranger = false;
        return extra.reassignTo(client);
      },
    },
  );
  source.on("data", (chunk: Buffer) => count(chunk.length));
  socket.once("close", (code, reason) => {
    clearInterval(ping);
    incoming.release();
    takeWaiting();
    closed(code, String(reason)).catch((error: unknown) => {
      logger.debug({ err: messageOf(error) }, "failed to close the operations of a WebSocket");
    });
  });
  return {
    isBusy,
    leave() {
      isLeaving = true;
      closeWhenIdle();
    },
  };
}
