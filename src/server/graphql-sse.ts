import type { ServerResponse } from "node:http";
import type { Writable } from "node:stream";
import type { GraphQLError } from "graphql";
import type { CostReport } from "../core/admission.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { chunkOf, encodeResult, eventOf, resultWithCost } from "./encoded-result.ts";
import type { ResponseHead } from "./http-response.ts";
import type { Subscription } from "./subscription-group.ts";
import { whenDrained } from "./when-drained.ts";

/** A comment, so that no proxy takes the stream for dead. */
const ping = ":\n\n";
const pingChunk = chunkOf(ping);
const complete = "event: complete\ndata:\n\n";
const pingEveryMs = 12_000;
const streamHeaders = {
  "Content-Type": "text/event-stream",
  Connection: "keep-alive",
  "Cache-Control": "no-cache",
  "Content-Encoding": "none",
  // nginx would keep the pushes until its buffer is full.
  "X-Accel-Buffering": "no",
};

/** GraphQL over server-sent events, in distinct connections mode: one response for each subscription. */
export interface EventStreams {
  /**
   * Answers with the pushes of a subscription. A slow reader is not ready for the next push before the last one has left for the
   * socket, so it gets the newest state.
   *
   * A client that leaves more pushes unread than its byte budget allows is cut.
   */
  send(response: ServerResponse, subscription: Subscription, options: EventStreamOptions): void;
  /** From now on streams end without `complete`, those that are open at once: their clients reconnect. */
  leave(): void;
}

export interface EventStreamOptions {
  readonly client: string;
  /** Goes with the first push. */
  readonly cost: CostReport | undefined;
}

export function createEventStreams(budget: ByteBudget): EventStreams {
  const open = new Set<ServerResponse>();
  let isLeaving = false;

  return {
    send(response, subscription, { client, cost }) {
      let unreported = cost;
      let isWaiting = false;
      /** Nothing was written since the last ping was due. */
      let isQuiet = true;
      let release: (() => void) | undefined;
      let out: Writable = response;
      const drained = (error?: Error | null) => {
        isWaiting = false;
        release?.();
        release = undefined;
        if (error == null) subscription.drained();
      };
      const isReady = () => {
        if (out.writableLength === 0) return true;
        if (!isWaiting && !response.writableEnded) {
          isWaiting = true;
          whenDrained(out, drained);
        }
        return false;
      };
      const write = (chunk: Buffer) => {
        if (response.writableEnded || response.destroyed) return;
        if (out === response) out.write(chunk.subarray(chunk.indexOf("\r\n") + 2, -2));
        else out.write(chunk);
        if (isReady()) return;
        release = budget.reserve(client, chunk.length) ?? undefined;
        if (release === undefined) response.destroy();
      };
      const timer = setInterval(() => {
        // A reader that has just been pushed to needs no ping, nor one that has not read the last push.
        if (isQuiet && isReady()) write(pingChunk);
        isQuiet = true;
      }, pingEveryMs);
      const close = () => {
        clearInterval(timer);
        open.delete(response);
        release?.();
        subscription.leave();
      };
      if (response.closed) {
        close();
        return;
      }
      response.on("close", close);
      response.writeHead(200, streamHeaders);
      // The response keeps its head as long as it lasts, and it takes half of the memory once it has been written by itself.
      response.flushHeaders();
      // Some browsers take a stream for open only when something has come.
      response.write(ping);
      if (isLeaving) {
        response.end();
        return;
      }
      open.add(response);
      // A chunk that all members of a group are written goes to the socket: `response.write` costs several times as much. A response
      // that is not in chunks (HTTP/1.0), or that waits for another one on its connection, has to be written to itself.
      if (response.socket != null && response.chunkedEncoding) out = response.socket;
      subscription.begin({
        isReady,
        write(result) {
          const { chunk } = unreported === undefined ? result : resultWithCost(result, unreported);
          unreported = undefined;
          isQuiet = false;
          write(chunk);
        },
        end: (error) => end(response, error),
      });
    },
    leave() {
      isLeaving = true;
      for (const response of open) response.end();
    },
  };
}

function end(response: ServerResponse, error: GraphQLError | null): void {
  if (response.writableEnded || response.destroyed) return;
  if (error === null) response.end(complete);
  // What is unexpected has been logged, and says nothing to a client but that it should come back.
  else if (error.extensions.code === "INTERNAL_SERVER_ERROR") response.destroy();
  else response.end(`${eventOf(encodeResult({ errors: [error] }).json)}${complete}`);
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
