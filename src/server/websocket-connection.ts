import { isUtf8 } from "node:buffer";
import type { Duplex } from "node:stream";
import { CloseCode } from "graphql-ws";
import type { RawData, WebSocket } from "ws";
import type { Caller } from "../core/admission.ts";
import { messageOf } from "../core/errors.ts";
import { createGrowingReservation, type GrowingReservation } from "./byte-budget.ts";
import type { Slot } from "./concurrency-limiter.ts";
import type { FairScheduler } from "./fair-scheduler.ts";
import { WebSocketLiveness } from "./websocket-liveness.ts";
import { type DrainListener, type OutputOptions, WebSocketOutput } from "./websocket-output.ts";

/** What is said over a connection. */
export interface SocketSession {
  /** Handles a message. It is in flight until this resolves. A rejection closes the connection. */
  handle(message: string): Promise<void>;
  /** The connection is closed. */
  end(): void;
}

export interface OpenedSocket {
  readonly socket: WebSocket;
  /** The connection under the WebSocket. */
  readonly source: Duplex;
  /** Among those of its client. */
  readonly slot: Slot;
  /** The request that it began with. */
  readonly caller: Caller;
}

export interface ConnectionOptions extends OutputOptions {
  readonly scheduler: FairScheduler;
  /** How many sockets a client has open. */
  readonly countSockets: (client: string) => number;
}

interface QueuedMessage {
  readonly text: string;
  /** Releases its bytes. */
  readonly release: () => void;
}

/** Queries, mutations, and subscriptions that begin: in flight on one socket, and on all sockets of a client. */
const [maxOfSocket, maxOfClient] = [200, 1_000];
/** Output that a client leaves unread; beyond it nothing more of the socket is read. */
const maxUnreadBytes = 1_000_000;
/** All that `connection_init` needs. */
const maxStrangerBytes = 65_536;
/** Of a masked control frame, before its data. */
const controlHeadBytes = 6;
const policyViolation = 1008;
const tryAgainLater = 1013;
const goingAway = 1001;
/** What fits into a close frame beside its code. */
const maxReasonBytes = 123;

/** One socket of `ws`, which is read within the bounds of its client. */
export class WebSocketConnection implements DrainListener {
  readonly caller: Caller;
  readonly output: WebSocketOutput;
  readonly #socket: WebSocket;
  readonly #source: Duplex;
  readonly #slot: Slot;
  readonly #options: ConnectionOptions;
  readonly #session: SocketSession;
  /** Read together with what is in flight, and to be handled later: at most what one read of the socket returns. */
  #queue: QueuedMessage[] = [];
  #isTurnPending = false;
  #inFlight = 0;
  #pauses = 0;
  /** Until `connection_init`. */
  #isStranger = true;
  #strangerBytes = 0;
  /** Of the message that is being read. */
  #incoming: GrowingReservation | null = null;
  #incomingBytes = 0;
  #isRefused = false;
  #isLeaving = false;
  readonly #liveness = new WebSocketLiveness();

  /** @param sessionOf begins what is said over it. */
  constructor(
    { socket, source, slot, caller }: OpenedSocket,
    sessionOf: (connection: WebSocketConnection) => SocketSession,
    options: ConnectionOptions,
  ) {
    this.caller = caller;
    this.output = new WebSocketOutput(socket, source, slot, options);
    this.#socket = socket;
    this.#source = source;
    this.#slot = slot;
    this.#options = options;
    // `ws` itself closes a socket that breaks the protocol of WebSockets, with the right code.
    socket.on("error", ({ message }) => options.logger.debug({ err: message }, "WebSocket error"));
    socket.on("pong", (data) => this.#receivePong(data));
    socket.on("ping", (data) => this.#receivePing(data));
    socket.on("message", (data, isBinary) => this.#receive(data, isBinary));
    socket.on("close", () => this.#end());
    source.on("data", (chunk: Buffer) => this.#count(chunk.length));
    this.#session = sessionOf(this);
  }

  /** Who it counts for now. */
  get client(): string {
    return this.#slot.client;
  }

  /** The subprotocol; empty if there is none. */
  get protocol(): string {
    return this.#socket.protocol;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** Whether anything is in flight but subscriptions. */
  get isBusy(): boolean {
    return this.#inFlight > 0;
  }

  /** Counts it as this client's from now on. @returns false when the client has too many. */
  accept(client: string): boolean {
    this.#isStranger = false;
    return this.#slot.moveTo(client);
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, closeReason(reason));
    this.#takeQueued();
  }

  /** Closes with 1001 as soon as it is not busy. */
  leave(): void {
    this.#isLeaving = true;
    if (!this.isBusy) this.close(goingAway, "Going away");
  }

  /** Handles no more messages until then. */
  async pauseUntil(promise: Promise<void>): Promise<void> {
    this.#pauses += 1;
    this.#takeQueued();
    await promise;
    this.#pauses -= 1;
    this.#takeQueued();
  }

  /** Counts a ping or a pong of the client. @returns false when it has sent too many: the socket is closed. */
  takePing(kind: "pings" | "pongs" = "pings"): boolean {
    const isTaken = this.#liveness.take();
    if (!isTaken) this.#refuse(`Too many ${kind}`);
    return isTaken;
  }

  /** Called by each heartbeat. */
  ping(): void {
    const next = this.#liveness.next(this.output.hasPushed);
    this.output.hasPushed = false;
    if (next === "cut") this.#socket.terminate();
    else if (next === "ping") this.#socket.ping();
  }

  /** Its output is not too long any more. */
  drained(): void {
    this.#takeQueued();
  }

  #receivePong(data: Buffer): void {
    this.#discount(data);
    this.#liveness.received();
    this.takePing("pongs");
  }

  #receivePing(data: Buffer): void {
    this.#discount(data);
    if (this.isOpen && this.takePing()) this.#socket.pong(data);
  }

  #receive(data: RawData, isBinary: boolean): void {
    // Its pong may be held back behind its messages.
    this.#liveness.received();
    // The bytes of a message count until it is handled; those that come from now on belong to the next.
    const incoming = this.#incoming;
    this.#incoming = null;
    this.#incomingBytes = 0;
    // `ws` checks text frames alone; two names that are not UTF-8 would be one.
    if (isBinary && !isUtf8(data as Buffer)) {
      incoming?.release();
      this.close(CloseCode.BadRequest, "Invalid message received: it is not UTF-8");
      return;
    }
    this.#queue.push({ text: String(data), release: () => incoming?.release() });
    this.#takeQueued();
  }

  /** A ping or a pong is not a part of a message: else the pongs of a socket that only listens would fill the budget of its client. */
  #discount(data: Buffer): void {
    this.#incomingBytes = Math.max(0, this.#incomingBytes - controlHeadBytes - data.length);
    if (this.#incomingBytes > 0) return;
    this.#incoming?.release();
    this.#incoming = null;
  }

  #count(bytes: number): void {
    this.#incomingBytes += bytes;
    if (this.#isStranger) this.#strangerBytes += bytes;
    if (!this.isOpen) {
      // A client that reads its close frame stops soon.
      if (this.#incomingBytes > maxStrangerBytes) this.#source.destroy();
      return;
    }
    if (this.#strangerBytes > maxStrangerBytes) {
      this.#refuse(`too many bytes before connection_init (limit ${maxStrangerBytes})`);
      return;
    }
    const { budget } = this.#options;
    this.#incoming ??= createGrowingReservation(budget, this.client);
    if (!this.#incoming.growTo(this.#incomingBytes))
      this.#refuse(`too many bytes in flight (limit ${budget.max} per client)`, tryAgainLater);
  }

  /** Nothing more is read from it; after a while the socket is cut. */
  #refuse(reason: string, code = policyViolation): void {
    if (!this.isOpen) return;
    this.#options.logger.debug({ reason }, "closed a WebSocket: limit exceeded");
    this.#isRefused = true;
    this.close(code, reason);
  }

  /** Handles queued messages in order, as far as the limits and the client's share allow; reads on when none is left. */
  #takeQueued(): void {
    // The close frame of the client would not be read behind messages that are not handled yet.
    if (!this.isOpen) for (const { release } of this.#queue.splice(0)) release();
    while (!this.#isTurnPending && this.#mayHandle()) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      this.#isTurnPending = true;
      const turn = this.#options.scheduler.begin(this.client, () => {
        this.#isTurnPending = false;
        // It may have closed meanwhile: a subscription that began now would never be ended.
        if (this.isOpen) void this.#handle(next);
        else next.release();
      });
      if (this.#isTurnPending) void turn.then(() => this.#takeQueued());
    }
    // V8 keeps room for many in a list that had one.
    if (this.#queue.length === 0) this.#queue = [];
    if (this.#queue.length > 0 || this.#isTurnPending || this.#isRefused || this.#pauses > 0)
      this.#socket.pause();
    else if (this.#socket.isPaused) this.#socket.resume();
  }

  #mayHandle(): boolean {
    if (this.#pauses > 0) return false;
    if (this.#socket.bufferedAmount >= maxUnreadBytes && !this.output.isReady(this)) return false;
    const ofClient = Math.floor(maxOfClient / this.#options.countSockets(this.client));
    return this.#inFlight < Math.min(maxOfSocket, Math.max(1, ofClient));
  }

  async #handle({ text, release }: QueuedMessage): Promise<void> {
    this.#inFlight += 1;
    try {
      await this.#session.handle(text);
    } catch (error) {
      this.#fail(error);
    }
    this.#inFlight -= 1;
    release();
    this.#takeQueued();
    if (this.#isLeaving && !this.isBusy) this.leave();
  }

  #fail(error: unknown): void {
    // What is sent to a client that has gone fails.
    if (!this.isOpen) return;
    this.#options.logger.warn({ err: messageOf(error) }, "failed to handle a WebSocket message");
    this.close(CloseCode.InternalServerError, "Internal server error");
  }

  #end(): void {
    this.#incoming?.release();
    this.#takeQueued();
    this.#session.end();
    this.output.end();
  }
}

/** A reason that fits into a close frame, cut at a character. */
function closeReason(text: string): string {
  return Buffer.from(text)
    .subarray(0, maxReasonBytes)
    .toString()
    .replace(/\ufffd$/, "");
}
