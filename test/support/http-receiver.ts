import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** An HTTP server that receives notifications. */
export interface HttpReceiver {
  readonly url: string;
  /** All that was received, in order, whatever it was answered. */
  readonly received: readonly ReceivedRequest[];
  /** Answers with this from now on; "nothing": never; "cut": ends the connection. At first 200. */
  answer: (request: ReceivedRequest) => number | "nothing" | "cut";
}

/** @param port 0: any that is free. */
export async function startReceiver(port = 0): Promise<HttpReceiver> {
  const received: ReceivedRequest[] = [];
  const receiver = { url: "", received, answer: () => 200 } as {
    -readonly [K in keyof HttpReceiver]: HttpReceiver[K];
  };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method = "", url: path = "", headers } = request;
    const parsed = { method, path, headers, body: Buffer.concat(chunks).toString() };
    received.push(parsed);
    const status = receiver.answer(parsed);
    if (status === "cut") request.socket.destroy();
    else if (status !== "nothing") response.writeHead(status, { location: "/elsewhere" }).end("so it is");
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return receiver;
}
