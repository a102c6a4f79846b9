import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import type { ExecutionResult } from "graphql";
import type { CostReport } from "../core/admission.ts";
import { withCost } from "./use-admission.ts";
import { withoutHttp } from "./use-brief-errors.ts";
import type { Written } from "./written-result.ts";

/** A comment, so that nobody on the way takes the stream for dead. */
const ping = ":\n\n";
const complete = "event: complete\ndata:\n\n";
const pingEveryMs = 12_000;
const headers = {
  "Content-Type": "text/event-stream",
  Connection: "keep-alive",
  "Cache-Control": "no-cache",
  "Content-Encoding": "none",
};

/** As they are written, by the result: many are told the same. */
const texts = new WeakMap<ExecutionResult, string>();
const events = new WeakMap<ExecutionResult, Buffer>();

/** A result as JSON, written once however often it is told. */
export function jsonOf(result: ExecutionResult): string {
  let text = texts.get(result);
  if (text === undefined) {
    const { errors } = result;
    text = JSON.stringify(errors === undefined ? result : { ...result, errors: errors.map(withoutHttp) });
    texts.set(result, text);
  }
  return text;
}

function eventOf(result: ExecutionResult): Buffer {
  let event = events.get(result);
  if (event === undefined) {
    event = Buffer.from(`event: next\ndata: ${jsonOf(result)}\n\n`);
    events.set(result, event);
  }
  return event;
}

/**
 * Answers with server-sent events, as Yoga writes them (GraphQL over SSE, distinct connections), but each push as one piece that
 * all who are told it share. The next push is asked for when the last one has left for the socket, so a slow reader gets the
 * newest.
 *
 * @param cost is told with the first push.
 */
export function sendPushes(
  response: ServerResponse,
  pushes: AsyncIterator<ExecutionResult>,
  cost: CostReport | undefined,
): void {
  let unreported = cost;
  let isAsked = false;
  const ask = () => {
    isAsked = true;
    // What broke it has been logged.
    pushes.next().then(tell, () => response.destroy());
  };
  const tell = ({ done, value }: IteratorResult<ExecutionResult>) => {
    isAsked = false;
    if (response.destroyed) return;
    if (done === true) response.end(complete);
    else response.write(eventOf(withCost(value, unreported)), askAgain);
    unreported = undefined;
  };
  const askAgain = (error: Error | null | undefined) => {
    if (error == null) ask();
  };
  const timer = setInterval(() => {
    // Who has not read the last push yet needs no ping.
    if (isAsked) response.write(ping);
  }, pingEveryMs);
  const leave = () => {
    clearInterval(timer);
    void pushes.return?.();
  };
  if (response.closed) {
    leave();
    return;
  }
  response.on("close", leave);
  response.writeHead(200, headers);
  // Some browsers take no stream for open before something has come.
  response.write(ping);
  ask();
}

/** Answers with one result, such as errors, in the form of a stream that ends with it. */
export function sendOnePush(response: ServerResponse, { text, status, headers: others }: Written): void {
  response.writeHead(status, { ...others, ...headers });
  response.end(`${ping}event: next\ndata: ${text}\n\n${complete}`);
}

/** The same as the body of an answer that Yoga gives. */
export function createPushStream(
  pushes: AsyncIterable<ExecutionResult>,
  AnyResponse: typeof Response,
): Response {
  const iterator = pushes[Symbol.asyncIterator]();
  let isAsked = false;
  let timer: NodeJS.Timeout | undefined;
  const sendPing = () => {
    // Who has not read the last push yet needs no ping.
    if (isAsked) stream.push(ping);
  };
  const ask = async () => {
    isAsked = true;
    try {
      const { done, value } = await iterator.next();
      isAsked = false;
      if (done !== true) {
        stream.push(eventOf(value));
        return;
      }
      stream.push(complete);
      stream.push(null);
    } catch (error) {
      stream.destroy(error as Error);
    }
  };
  const stream = new Readable({
    highWaterMark: 0,
    read() {
      // Only now: where the client has gone before it was answered, nobody ever reads, and nobody ends it.
      timer ??= setInterval(sendPing, pingEveryMs);
      if (!isAsked) void ask();
    },
    destroy(error, done) {
      clearInterval(timer);
      Promise.resolve(iterator.return?.()).then(
        () => done(error),
        (failure: Error) => done(error ?? failure),
      );
    },
  });
  // Some browsers take no stream for open before something has come.
  stream.push(ping);
  return new AnyResponse(stream as unknown as ReadableStream, { headers });
}
