import type { TadaDocumentNode } from "gql.tada";
import { createClient } from "graphql-ws";
import { graphqlPath } from "../route.ts";
import { authorization, isTokenNeeded } from "../token.ts";
import { ApiError, apiErrorOf } from "./api-error.ts";
import { connection, pingEveryMs, watchSilence } from "./connection.ts";
import type { ResultOf, VariablesOf } from "./graphql.ts";

// biome-ignore lint/suspicious/noExplicitAny: any document
type Document = TadaDocumentNode<any, any, any>;

export interface Sink<Data> {
  /** Called with each push. After a lost connection the first one has the fresh state. */
  readonly next: (data: Data) => void;
  /** Called when the subscription is refused or ends. What may pass later is asked for again by itself. */
  readonly error: (error: ApiError) => void;
  /** Whether there may be no first push, as of changes of which there are none: the page is fresh without it. */
  readonly mayBeSilent?: boolean;
}

/** All subscriptions that begin with a push, and those of which it has not come over this socket. */
const active = new Set<object>();
const awaited = new Set<object>();

function settle(subscription: object): void {
  awaited.delete(subscription);
  if (awaited.size === 0) silence.refreshed();
}

/** Sends one query or mutation. @throws ApiError */
export async function query<D extends Document>(
  document: D,
  variables: VariablesOf<D>,
  signal?: AbortSignal,
): Promise<ResultOf<D>> {
  let result: { readonly data?: ResultOf<D> | null; readonly errors?: readonly unknown[] };
  try {
    const response = await fetch(graphqlPath, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/graphql-response+json",
        ...authorization(),
      },
      body: JSON.stringify({ query: document, variables }),
      ...(signal !== undefined && { signal }),
    });
    result = await response.json();
  } catch (error) {
    throw signal?.aborted === true ? error : new ApiError("NETWORK", "the server does not answer");
  }
  if (result.data != null && result.errors === undefined) return result.data;
  throw noticed(apiErrorOf(result.errors));
}

/**
 * Subscribes over the page's one WebSocket. A lost connection is opened again, and the subscription with it; one that is refused for now
 * (THROTTLED, SERVICE_UNAVAILABLE) is asked for again when it may pass.
 *
 * @returns what ends it.
 */
export function subscribe<D extends Document>(
  document: D,
  variables: VariablesOf<D>,
  { next, error, mayBeSilent = false }: Sink<ResultOf<D>>,
): () => void {
  const subscription = {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  let end = () => {};
  let isEnded = false;

  function fail(reason: unknown): void {
    if (isEnded) return;
    const failure = noticed(apiErrorOf(reason));
    error(failure);
    // What the page shows instead may be of an earlier subscription.
    if (!mayBeSilent) {
      awaited.add(subscription);
      silence.refused();
    }
    if (passing.has(failure.code)) timer = setTimeout(begin, 1_000 * (failure.retryAfterSeconds ?? 2));
  }

  function begin(): void {
    end = client.subscribe<ResultOf<D>>(
      { query: document as unknown as string, variables: variables as Record<string, unknown> },
      {
        next({ data, errors }) {
          if (isEnded || !silence.received()) return;
          if (data == null) return fail(errors);
          next(data);
          settle(subscription);
        },
        error: fail,
        complete: () => {},
      },
    );
  }

  if (!mayBeSilent) {
    active.add(subscription);
    if (connection.peek().state !== "connected") awaited.add(subscription);
  }
  begin();
  return () => {
    isEnded = true;
    active.delete(subscription);
    settle(subscription);
    clearTimeout(timer);
    end();
  };
}

/** What is refused for now, and sockets that were closed by a code after which graphql-ws itself does not go on, as 1008. */
const passing: ReadonlySet<string> = new Set([
  ...["NETWORK", "THROTTLED", "SERVICE_UNAVAILABLE", "TOO_MANY_SUBSCRIPTIONS"],
]);

function noticed(error: ApiError): ApiError {
  if (error.code === "UNAUTHENTICATED") isTokenNeeded.value = true;
  return error;
}

const client = createClient({
  url: () => new URL(graphqlPath, location.href).href.replace(/^http/, "ws"),
  connectionParams: authorization,
  // Between two pages there is a moment without a subscription.
  lazyCloseTimeout: 10_000,
  retryAttempts: Number.POSITIVE_INFINITY,
  shouldRetry: (reason) => apiErrorOf(reason).code !== "UNAUTHENTICATED",
  retryWait,
});

const silence = watchSilence(() => client.terminate());
let openedMs = 0;
let pings: ReturnType<typeof setInterval> | undefined;
client.on("opened", () => {
  openedMs = performance.now();
});
client.on("connected", (opened) => {
  const socket = opened as WebSocket;
  // Not the client's `keepAlive`, which waits for a pong before the next ping.
  const ping = () => socket.readyState === WebSocket.OPEN && socket.send('{"type":"ping"}');
  ping();
  clearInterval(pings);
  pings = setInterval(ping, pingEveryMs);
  silence.opened(performance.now() - openedMs);
  if (awaited.size === 0) silence.refreshed();
});
client.on("message", () => void silence.received());
client.on("closed", close);
client.on("error", close);

function close(event: unknown): void {
  clearInterval(pings);
  silence.closed(event);
  for (const subscription of active) awaited.add(subscription);
}

/** From 0.2 to 5 s, at random, so that a server that is back is not asked by all at once. A network that is back ends the wait. */
async function retryWait(retries: number): Promise<void> {
  const waitMs = Math.min(5_000, 200 * 2 ** retries) * (0.75 + Math.random() / 2);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, waitMs);
    function done(): void {
      removeEventListener("online", done);
      clearTimeout(timer);
      resolve();
    }
    addEventListener("online", done);
  });
}
