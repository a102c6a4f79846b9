import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { hangsAfterMs } from "./until.ts";

/** A connection over which anything can be sent, HTTP or not. */
export interface RawConnection extends AsyncDisposable {
  readonly socket: Socket;
  /** All that has come. */
  text(): string;
  send(text: string | Buffer): void;
  /** Resolves with all that has come when it is as the pattern says. Rejects when the connection ends before, or after a minute. */
  until(pattern: RegExp): Promise<string>;
  /** Resolves when the other end has closed, or broken, the connection. */
  readonly closed: Promise<void>;
}

export async function openRaw(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  // Like a client that does not close when the server does.
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
  let text = "";
  let isOver = false;
  const listeners = new Set<() => void>();
  const wake = () => {
    for (const each of listeners) each();
  };
  const closed = new Promise<void>((resolve) => {
    const end = () => {
      isOver = true;
      wake();
      resolve();
    };
    socket.on("end", end);
    socket.on("close", end);
  });
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    wake();
  });
  await once(socket, "connect");
  return {
    socket,
    text: () => text,
    send: (sent) => void socket.write(sent),
    closed,
    until(pattern) {
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      const look = () => {
        if (pattern.test(text)) resolve(text);
        else if (isOver) reject(new Error(`the connection ended with ${JSON.stringify(text)}`));
      };
      const timer = setTimeout(
        () => reject(new Error(`nothing like ${pattern} in ${JSON.stringify(text)}`)),
        hangsAfterMs,
      );
      listeners.add(look);
      look();
      return promise.finally(() => {
        clearTimeout(timer);
        listeners.delete(look);
      });
    },
    async [Symbol.asyncDispose]() {
      socket.destroy();
    },
  };
}
