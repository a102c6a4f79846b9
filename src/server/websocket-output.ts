import type { Duplex } from "node:stream";
import type { WebSocket } from "ws";
import type { Logger } from "../runtime/logger.ts";
import type { ByteBudget } from "./byte-budget.ts";
import type { Slot } from "./concurrency-limiter.ts";
import { bytesOf, textFrame } from "./text-frame.ts";
import { whenDrained } from "./when-drained.ts";

/** Its `drained` is called when all that was written has left for the socket, and when the socket has closed. */
export interface DrainListener {
  drained(): void;
}

export interface OutputOptions {
  readonly budget: ByteBudget;
  readonly logger: Logger;
}

/**
 * Writes messages to a socket of `ws`, as frames of its own: the library takes twice as long for one. A client that leaves more messages
 * unread than its byte budget allows is cut. A class, like all that there is one of for each of ten thousand sockets: a closure for each
 * of its functions would take more memory than what it keeps.
 */
export class WebSocketOutput {
  /** Whether anything was pushed since this was set to false. */
  hasPushed = false;
  readonly #socket: WebSocket;
  /** The connection under the WebSocket. */
  readonly #source: Duplex;
  /** Among the sockets of its client. */
  readonly #slot: Slot;
  readonly #options: OutputOptions;
  /** Releases the bytes of messages that have not left for the socket. */
  #unread: (() => void)[] | null = null;
  #listeners: DrainListener[] | null = null;
  #isDraining = false;

  constructor(socket: WebSocket, source: Duplex, slot: Slot, options: OutputOptions) {
    this.#socket = socket;
    this.#source = source;
    this.#slot = slot;
    this.#options = options;
  }

  /** Sends messages in one write. Resolves when they have left for the socket, or never will. */
  async send(...messages: readonly string[]): Promise<void> {
    this.#write(messages.map((message) => textFrame("", bytesOf(message))).join(""));
    if (this.#source.writableLength === 0 || this.#socket.readyState !== this.#socket.OPEN) return;
    await new Promise<void>((resolve) => this.isReady({ drained: resolve }));
  }

  /** Sends a message of a head, in ASCII, and an end that other sockets get, too: its bytes, a character each. */
  push(head: string, end: string): void {
    this.hasPushed = true;
    this.#write(textFrame(head, end));
  }

  /**
   * Whether all that was written has left for the socket. If not, the listener is called as soon as it has, once however often this is
   * asked meanwhile.
   */
  isReady(listener: DrainListener): boolean {
    if (this.#source.writableLength === 0) return true;
    this.#listeners ??= [];
    if (!this.#listeners.includes(listener)) this.#listeners.push(listener);
    this.#awaitDrained();
    return false;
  }

  /** The socket has closed. */
  end(): void {
    this.#release();
    this.#notify();
  }

  #write(frames: string): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#source.write(frames, "latin1");
    if (this.#source.writableLength === 0) return;
    const release = this.#options.budget.reserve(this.#slot.client, frames.length);
    if (release === null) {
      this.#options.logger.debug(
        { unreadBytes: this.#socket.bufferedAmount },
        "cut a WebSocket: too much unread output",
      );
      this.#socket.terminate();
      return;
    }
    this.#unread ??= [];
    this.#unread.push(release);
    this.#awaitDrained();
  }

  #awaitDrained(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    whenDrained(this.#source, (error) => {
      this.#isDraining = false;
      this.#release();
      // Nothing is written to a socket that is broken: it closes.
      if (error == null) this.#notify();
    });
  }

  #release(): void {
    const unread = this.#unread;
    this.#unread = null;
    for (const release of unread ?? []) release();
  }

  #notify(): void {
    const listeners = this.#listeners;
    this.#listeners = null;
    for (const listener of listeners ?? []) listener.drained();
  }
}
