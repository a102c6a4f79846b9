import { once } from "node:events";
import { connect } from "node:net";
import { createResponseParser } from "./response-parser.ts";

export interface HttpAnswer {
  readonly status: number;
  readonly body: Buffer;
}

/** One connection that is kept alive, over which one request is asked after the other. */
export interface HttpConnection {
  /** Rejects when the connection breaks. */
  ask(request: Uint8Array): Promise<HttpAnswer>;
  close(): void;
}

/**
 * A client with as little between it and the socket as can be: the requests are bytes that were made before, and of the
 * answers only what ends them is looked at. So the server is what is measured.
 */
export async function openConnection(url: string): Promise<HttpConnection> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  await once(socket, "connect");
  let waiting: PromiseWithResolvers<HttpAnswer> | undefined;
  let parts: Buffer[] = [];
  const parser = createResponseParser({
    onBody: (bytes) => parts.push(bytes),
    onEnd(status) {
      const answered = waiting;
      const body = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
      waiting = undefined;
      parts = [];
      answered?.resolve({ status, body });
    },
  });
  const fail = (error: Error) => waiting?.reject(error);
  socket.on("data", (bytes) => parser.feed(bytes));
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("the server closed the connection")));
  return {
    ask(request) {
      waiting = Promise.withResolvers();
      socket.write(request);
      return waiting.promise;
    },
    close: () => socket.destroy(),
  };
}

/** The bytes of a POST of JSON to `/graphql`. */
export function postOf(
  body: string,
  token: string | null,
  headers: Readonly<Record<string, string>> = { accept: "application/json" },
): Buffer {
  const lines = [
    "POST /graphql HTTP/1.1",
    "host: 127.0.0.1",
    "content-type: application/json",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ...(token === null ? [] : [`authorization: Bearer ${token}`]),
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`);
}
