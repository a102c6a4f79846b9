import type { ServerResponse } from "node:http";
import { GraphQLError } from "graphql";
import type { CostReport } from "../core/admission.ts";
import type { ByteBudget } from "./byte-budget.ts";
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
   * A client that leaves more pushes unread than its byte budget allows is cut.
   */
  send(response: ServerResponse, pushes: Pushes, options: EventStreamOptions): void;
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
    send(response, pushes, { client, cost }) {
      let unreported = cost;
      let isAsked = false;
      let release: (() => void) | null = null;
      const ask = () => {
        isAsked = true;
        pushes.next().then(push, fail);
      };
      const push = ({ done, value }: Awaited<ReturnType<Pushes["next"]>>) => {
        isAsked = false;
        if (response.writableEnded || response.destroyed) return;
        if (done === true) {
          response.end(complete);
          return;
        }
        const event = unreported === undefined ? value.event : eventOf(withCost(value.json, unreported));
        unreported = undefined;
        release = budget.reserve(client, event.length);
        if (release === null) response.destroy();
        else response.write(event, askAgain);
      };
      const askAgain = (error: Error | null | undefined) => {
        release?.();
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
        release?.();
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
