import type { Socket } from "node:net";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";

export interface StalledSocketsOptions {
  /** For how long a socket may take nothing of what is to be sent to it. */
  readonly timeoutMs: number;
  /** Called before a socket is cut. */
  readonly onStalled: () => void;
  readonly clock?: MonotonicClock;
}

/** Cuts sockets whose other end does not read: whatever is open for it would stay open for ever, as Node waits. */
export interface StalledSockets {
  watch(socket: Socket): void;
  stop(): void;
}

interface Progress {
  readonly sentBytes: number;
  readonly atMs: number;
}

export function createStalledSockets(options: StalledSocketsOptions): StalledSockets {
  const { timeoutMs, onStalled, clock = monotonicClock } = options;
  const watched = new Set<Socket>();
  /** Of those that have bytes to send: since when how many have left. */
  const waiting = new Map<Socket, Progress>();
  let timer: NodeJS.Timeout | undefined;

  function look(): void {
    const now = clock.now();
    for (const socket of watched) {
      // Bytes that wait in this process, after the buffers of the kernel are full; the kernel bounds its own.
      const waitingBytes = socket.writableLength;
      const sentBytes = socket.bytesWritten - waitingBytes;
      const progress = waiting.get(socket);
      if (waitingBytes === 0) waiting.delete(socket);
      else if (sentBytes !== progress?.sentBytes) waiting.set(socket, { sentBytes, atMs: now });
      else if (now - progress.atMs >= timeoutMs) {
        onStalled();
        socket.destroy();
      }
    }
  }

  function forget(this: Socket): void {
    watched.delete(this);
    waiting.delete(this);
  }

  return {
    watch(socket) {
      timer ??= setInterval(look, timeoutMs / 4).unref();
      watched.add(socket);
      socket.on("close", forget);
    },
    stop() {
      clearInterval(timer);
      timer = undefined;
    },
  };
}
