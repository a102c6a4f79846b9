import type { ServerResponse } from "node:http";
import { GraphQLError } from "graphql";
import type { CostReport } from "../core/admission.ts";
import { encodeResult, eventOf, withCost } from "./encoded-result.ts";
import type { ResponseHead } from "./http-response.ts";
import type { Pushes } from "./subscription-deduplication.ts";

/** A comment, so that no proxy takes the stream for dead. */
const ping = ":\n\n";
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
   * Answers with the pushes of a subscription. The next push is asked for when the last one has left for the socket, so a slow
   * reader gets the newest state.
   *
   * @param cost goes with the first push.
   */
  send(response: ServerResponse, pushes: Pushes, cost: CostReport | undefined): void;
  /** From now on streams end without `complete`, those that are open at once: their clients reconnect. */
  leave(): void;
}

export function createEventStreams(): EventStreams {
  const open = new Set<ServerResponse>();
  let isLeaving = false;

  return {
    send(response, pushes, cost) {
      let unreported = cost;
      let isAsked = false;
      const ask = () => {
        isAsked = true;
        pushes.next().then(push, fail);
      };
      const push = ({ done, value }: Awaited<ReturnType<Pushes["next"]>>) => {
        isAsked = false;
        if (response.writableEnded || response.destroyed) return;
        if (done === true) response.end(complete);
        else if (unreported === undefined) response.write(value.event, askAgain);
        else response.write(eventOf(withCost(value.json, unreported)), askAgain);
        unreported = undefined;
      };
      const askAgain = (error: Error | null | undefined) => {
        if (error == null) ask();
      };
      const fail = (error: unknown) => {
        if (response.writableEnded || response.destroyed) return;
        // What is unexpected has been logged, and says nothing to a client but that it should come back.
        if (isExpected(error)) response.end(`${encodeResult({ errors: [error] }).event}${complete}`);
        else response.destroy();
      };
      const timer = setInterval(() => {
        // A reader that has not read the last push needs no ping.
        if (isAsked) response.write(ping);
      }, pingEveryMs);
      const close = () => {
        clearInterval(timer);
        open.delete(response);
        void pushes.return();
      };
      if (response.closed) {
        close();
        return;
      }
      response.on("close", close);
      response.writeHead(200, streamHeaders);
      // Some browsers take a stream for open only when something has come.
      response.write(ping);
      if (isLeaving) {
        response.end();
        return;
      }
      open.add(response);
      ask();
    },
    leave() {
      isLeaving = true;
      for (const response of open) response.end();
    },
  };
}

function isExpected(error: unknown): error is GraphQLError {
  return error instanceof GraphQLError && error.extensions.code !== "INTERNAL_SERVER_ERROR";
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
