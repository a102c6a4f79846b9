import { once } from "node:events";
import { type Client, createClient } from "graphql-ws";
import { WebSocket } from "ws";
import type { GraphQLAnswer } from "./server.ts";
import { hangsAfterMs } from "./until.ts";

/** One answer of a stream. */
export interface Push extends GraphQLAnswer {
  /** By this process's monotonic clock, in ms: `performance.now()`. */
  readonly arrivedAtMs: number;
}

/** The answers to one operation. Whatever has come is kept until it is asked for. */
export interface Stream extends AsyncIterableIterator<Push, undefined>, AsyncDisposable {
  /** The server has said that nothing more will come. */
  readonly isComplete: boolean;
  /** Whether something has come that was not asked for yet. */
  readonly hasMore: boolean;
  /** Rejects when nothing comes for a minute, and when the stream breaks. */
  next(): Promise<IteratorResult<Push, undefined>>;
  /** Ends it from this side. */
  abort(): void;
}

/** A way to subscribe. */
export interface Transport extends AsyncDisposable {
  subscribe(query: string, variables?: object, extensions?: Record<string, unknown>): Stream;
}

/** GraphQL over server-sent events: a stream has a connection of its own. */
export function sse(
  url: string,
  query: string,
  variables: object = {},
  headers: Readonly<Record<string, string>> = {},
  extensions: Record<string, unknown> = {},
): Stream {
  const controller = new AbortController();
  const inbox = createInbox(() => controller.abort());
  requestEvents(url, { query, variables, extensions }, controller.signal, headers)
    .then((response) => readEvents(response, inbox))
    .catch(inbox.fail);
  return inbox.stream;
}

export function sseTransport(url: string): Transport {
  const streams: Stream[] = [];
  return {
    subscribe(query, variables, extensions) {
      const stream = sse(url, query, variables, {}, extensions);
      streams.push(stream);
      return stream;
    },
    async [Symbol.asyncDispose]() {
      for (const stream of streams) stream.abort();
    },
  };
}

/** A client of `graphql-transport-ws`: one socket, open until it is disposed or closed by the server, and no second. */
export function websocket(
  url: string,
  onClosed?: (code: number, reason: string) => void,
  connectionParams: Readonly<Record<string, unknown>> = {},
): Client {
  return createClient({
    url: `${url.replace("http", "ws")}/graphql`,
    webSocketImpl: WebSocket,
    lazy: false,
    retryAttempts: 0,
    connectionParams: { ...connectionParams },
    onNonLazyError() {},
    on: {
      closed(event) {
        const { code, reason } = event as { readonly code: number; readonly reason: string };
        onClosed?.(code, reason);
      },
    },
  });
}

/** GraphQL over one WebSocket, which all streams share. */
export function websocketTransport(
  url: string,
  onClosed?: (code: number, reason: string) => void,
): Transport {
  const client = websocket(url, onClosed);
  return {
    subscribe(query, variables = {}, extensions = {}) {
      let unsubscribe = () => {};
      const inbox = createInbox(() => unsubscribe());
      unsubscribe = client.subscribe(
        { query, variables: { ...variables }, extensions },
        {
          next: (answer) => inbox.put(answer as GraphQLAnswer),
          complete: inbox.complete,
          // An `error` message is an array of GraphQL's errors, and nothing follows it; all else is a broken socket.
          error(error) {
            if (!Array.isArray(error)) return inbox.fail(error);
            inbox.put({ errors: error });
            inbox.complete();
          },
        },
      );
      return inbox.stream;
    },
    async [Symbol.asyncDispose]() {
      await client.dispose();
    },
  };
}

/** A subscriber that reads nothing of what it is sent until the test wants it to. */
export interface SlowReader extends AsyncDisposable {
  /** From now on it reads, first all that has piled up. */
  resume(): Stream;
  /** Cuts the connection, with all that was not read. */
  cut(): void;
}

export async function slowSse(url: string, query: string, variables: object = {}): Promise<SlowReader> {
  const controller = new AbortController();
  const cut = () => controller.abort();
  const inbox = createInbox(cut);
  // With the body left alone the socket is not read either, once a little has come.
  const response = await requestEvents(url, { query, variables }, controller.signal);
  return {
    resume() {
      readEvents(response, inbox).catch(inbox.fail);
      return inbox.stream;
    },
    cut,
    [Symbol.asyncDispose]: async () => cut(),
  };
}

export async function slowWebsocket(url: string, query: string, variables: object = {}): Promise<SlowReader> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
  const cut = () => socket.terminate();
  const inbox = createInbox(cut);
  socket.on("close", (code) => inbox.fail(new Error(`the socket was closed with ${code}`)));
  await once(socket, "open");
  socket.send(JSON.stringify({ type: "connection_init" }));
  await once(socket, "message");
  socket.send(JSON.stringify({ id: "slow", type: "subscribe", payload: { query, variables } }));
  socket.pause();
  return {
    resume() {
      socket.on("message", (data) => {
        const { type, payload } = JSON.parse(String(data));
        if (type === "next") inbox.put(payload);
        else if (type === "complete") inbox.complete();
      });
      socket.resume();
      return inbox.stream;
    },
    cut,
    [Symbol.asyncDispose]: async () => cut(),
  };
}

/** Posts an operation and asks for `text/event-stream`. */
async function requestEvents(
  url: string,
  body: object,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream", ...headers },
    body: JSON.stringify(body),
    signal,
  });
  if (response.headers.get("content-type")?.startsWith("text/event-stream")) return response;
  throw new Error(`expected a stream, got ${response.status}: ${await response.text()}`);
}

async function readEvents(response: Response, inbox: Inbox): Promise<void> {
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (text + chunk).split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) receive(event, inbox);
  }
  inbox.fail(new Error("the connection ended with no complete"));
}

function receive(event: string, inbox: Inbox): void {
  const [, name, data = ""] = /^event: (\w+)\ndata: ?(.*)$/s.exec(event) ?? [];
  if (name === "next") inbox.put(JSON.parse(data));
  else if (name === "complete") inbox.complete();
  else if (!event.startsWith(":")) throw new Error(`expected next, complete or a comment, got ${event}`);
}

interface Inbox {
  readonly stream: Stream;
  put(answer: GraphQLAnswer): void;
  complete(): void;
  fail(error: unknown): void;
}

function createInbox(close: () => void): Inbox {
  const pushes: Push[] = [];
  let state: "open" | "complete" | "aborted" | "broken" = "open";
  let failure: unknown;
  let wake = () => {};

  function end(as: typeof state): void {
    if (state !== "open") return;
    state = as;
    wake();
  }

  const stream: Stream = {
    get isComplete() {
      return state === "complete";
    },
    get hasMore() {
      return pushes.length > 0;
    },
    async next() {
      const deadline = performance.now() + hangsAfterMs;
      while (pushes.length === 0 && state === "open") {
        const waitMs = deadline - performance.now();
        if (waitMs <= 0) throw new Error(`nothing was pushed for ${hangsAfterMs} ms`);
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, waitMs);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      const value = pushes.shift();
      if (value !== undefined) return { done: false, value };
      if (state === "broken") throw failure;
      return { done: true, value: undefined };
    },
    abort() {
      end("aborted");
      close();
    },
    async return() {
      stream.abort();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]: () => stream,
    async [Symbol.asyncDispose]() {
      stream.abort();
    },
  };
  return {
    stream,
    put(answer) {
      pushes.push({ ...answer, arrivedAtMs: performance.now() });
      wake();
    },
    complete: () => end("complete"),
    fail(error) {
      failure = error;
      end("broken");
    },
  };
}
