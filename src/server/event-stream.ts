import type { Socket } from "node:net";
import type { GraphQLError } from "graphql";
import type { CostReport } from "../core/admission.ts";
import type { ByteBudget } from "./byte-budget.ts";
import {
  chunkOf,
  type EncodedResult,
  encodeResult,
  eventOf,
  lastChunks,
  resultWithCost,
} from "./encoded-result.ts";
import type { Subscriber, Subscription } from "./subscriber.ts";
import { whenDrained } from "./when-drained.ts";

/** A comment, so that no proxy takes the stream for dead. */
export const ping = ":\n\n";
export const complete = "event: complete\ndata:\n\n";
const pingChunk = chunkOf(ping);

export interface EventStreamOptions {
  readonly client: string;
  /** Goes with the first push. */
  readonly cost: CostReport | undefined;
  /** Whether the body is in chunks, as it is but for HTTP/1.0. */
  readonly isChunked: boolean;
  readonly budget: ByteBudget;
}

/**
 * The pushes of one subscription, as the body of a response whose head has been written. A slow reader is not ready for the next push
 * before the last one has left for the socket, so it gets the newest state. A client that leaves more pushes unread than its byte budget
 * allows is cut. A class, since there may be ten thousand.
 */
export class EventStream implements Subscriber {
  readonly #socket: Socket;
  readonly #subscription: Subscription;
  readonly #client: string;
  readonly #isChunked: boolean;
  readonly #budget: ByteBudget;
  #unreported: CostReport | undefined;
  #isDraining = false;
  /** Nothing was pushed since the last ping was due. */
  #isQuiet = true;
  /** Releases the bytes that have not left for the socket. */
  #release: (() => void) | null = null;

  constructor(
    socket: Socket,
    subscription: Subscription,
    { client, cost, isChunked, budget }: EventStreamOptions,
  ) {
    this.#socket = socket;
    this.#subscription = subscription;
    this.#client = client;
    this.#isChunked = isChunked;
    this.#budget = budget;
    this.#unreported = cost;
    // Some browsers take a stream for open only when something has come.
    this.#write(pingChunk);
    subscription.begin(this);
  }

  isReady(): boolean {
    if (this.#socket.writableLength === 0) return true;
    if (!this.#isDraining && !this.#socket.writableEnded) {
      this.#isDraining = true;
      whenDrained(this.#socket, (error) => {
        this.#isDraining = false;
        this.#releaseBytes();
        if (error == null) this.#subscription.drained();
      });
    }
    return false;
  }

  write(result: EncodedResult): void {
    const { chunk } = this.#unreported === undefined ? result : resultWithCost(result, this.#unreported);
    this.#unreported = undefined;
    this.#isQuiet = false;
    this.#write(chunk);
  }

  end(error: GraphQLError | null): void {
    if (error === null) this.finish(complete);
    // What is unexpected has been logged, and says nothing to a client but that it should come back.
    else if (error.extensions.code === "INTERNAL_SERVER_ERROR") this.#socket.destroy();
    else this.finish(`${eventOf(encodeResult({ errors: [error] }).json)}${complete}`);
  }

  /** Called by each heartbeat. A reader that has just been pushed to needs no ping, nor one that has not read the last push. */
  ping(): void {
    if (this.#isQuiet && this.isReady()) this.#write(pingChunk);
    this.#isQuiet = true;
  }

  /** Ends the body, and with it the connection. */
  finish(events: string): void {
    if (this.#socket.writableEnded) return;
    this.#socket.end(this.#isChunked ? lastChunks(events) : events);
    this.#socket.destroySoon();
  }

  /** The connection is closed. */
  closed(): void {
    this.#releaseBytes();
    this.#subscription.leave();
  }

  cut(): void {
    this.#socket.destroy();
  }

  #write(chunk: Buffer): void {
    const socket = this.#socket;
    if (socket.writableEnded || socket.destroyed) return;
    socket.write(this.#isChunked ? chunk : chunk.subarray(chunk.indexOf("\r\n") + 2, -2));
    if (this.isReady()) return;
    const release = this.#budget.reserve(this.#client, chunk.length);
    if (release === null) socket.destroy();
    else this.#release = release;
  }

  #releaseBytes(): void {
    this.#release?.();
    this.#release = null;
  }
}
