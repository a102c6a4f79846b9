import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { CostReport } from "../core/admission.ts";
import type { ByteBudget } from "./byte-budget.ts";
import type { ConcurrencyLimiter } from "./concurrency-limiter.ts";
import { eventOf } from "./encoded-result.ts";
import { complete, EventStream, ping } from "./event-stream.ts";
import { createHeartbeat } from "./heartbeat.ts";
import type { ResponseHead } from "./http-response.ts";
import type { StalledSockets } from "./stalled-sockets.ts";
import type { Subscription } from "./subscriber.ts";

export interface EventStreamsOptions {
  /** Takes the connection of a response whose head has been written. */
  readonly take: (response: ServerResponse) => Socket;
  readonly budget: ByteBudget;
  /** Requests that a client has under way: each stream is one. */
  readonly requests: ConcurrencyLimiter;
  readonly stalled: Pick<StalledSockets, "watch">;
}

/** GraphQL over server-sent events, in distinct connections mode: one response for each subscription. */
export interface EventStreams {
  /** Answers with the pushes of a subscription. The connection closes after them. */
  send(
    response: ServerResponse,
    subscription: Subscription,
    client: string,
    cost: CostReport | undefined,
  ): Promise<void>;
  /** From now on streams end without `complete`, those that are open at once: their clients reconnect. */
  leave(): void;
  /** Whether a client has not read the end of its stream. */
  isBusy(): boolean;
  /** Cuts all streams. */
  stop(): void;
}

const pingEveryMs = 12_000;
const streamHeaders = {
  "Content-Type": "text/event-stream",
  "Cache-Control": "no-cache",
  "Content-Encoding": "none",
  // nginx would keep the pushes until its buffer is full.
  "X-Accel-Buffering": "no",
};

export function createEventStreams({ take, budget, requests, stalled }: EventStreamsOptions): EventStreams {
  const heartbeat = createHeartbeat<EventStream>(pingEveryMs, (stream) => stream.ping());
  let isLeaving = false;

  return {
    async send(response, subscription, client, cost) {
      const { req } = response;
      if (!req.readableEnded && !req.destroyed) await discardBody(req);
      if (response.socket === null && !req.socket.destroyed) await firstOnConnection(response);
      // A client that has closed its end has most likely gone.
      if (req.socket.destroyed || req.socket.readableEnded) {
        subscription.leave();
        req.socket.destroy();
        return;
      }
      response.writeHead(200, { ...streamHeaders, Connection: "close" });
      response.flushHeaders();
      const socket = take(response);
      stalled.watch(socket);
      const slot = requests.acquire(client);
      const stream = new EventStream(socket, subscription, {
        ...{ client, cost, budget },
        isChunked: response.chunkedEncoding,
      });
      heartbeat.add(stream);
      // It is read to notice its end. Another request does not belong there: nothing more is read behind it.
      socket.on("data", () => socket.pause());
      socket.on("end", () => socket.end());
      // It closes, too.
      socket.on("error", () => {});
      socket.on("close", () => {
        slot?.release();
        heartbeat.delete(stream);
        stream.closed();
      });
      if (isLeaving) stream.finish("");
    },
    leave() {
      isLeaving = true;
      for (const stream of heartbeat.members()) stream.finish("");
    },
    isBusy: () => heartbeat.size() > 0,
    stop() {
      for (const stream of heartbeat.members()) stream.cut();
    },
  };
}

/** Throws away a body that has not been read. Resolves when all of the request has come, or its client is gone. */
async function discardBody(request: IncomingMessage): Promise<void> {
  request.resume();
  await once(request, "close");
}

/** Resolves when all earlier requests of the connection are answered, or its client is gone. */
async function firstOnConnection(response: ServerResponse): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  response.once("socket", () => resolve());
  response.req.socket.once("close", () => resolve());
  await promise;
}

/** Answers with one result, such as errors, as a stream that ends with it. */
export function sendOneEvent(
  response: ServerResponse,
  json: string,
  { status, headers }: ResponseHead,
): void {
  response.writeHead(status, { ...headers, ...streamHeaders });
  response.end(`${ping}${eventOf(json)}${complete}`);
}
