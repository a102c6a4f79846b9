import type { Writable } from "node:stream";

const nothing = Buffer.alloc(0);

/**
 * Calls back once when everything that was written before has left for the socket, or with an error when it never will. The event `drain` comes only after more than the
 * high-water mark was written, and a callback for each write costs as much as the write of a small push.
 */
export function whenDrained(stream: Pick<Writable, "write">, callback: (error?: Error | null) => void): void {
  stream.write(nothing, callback);
}
