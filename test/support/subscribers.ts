import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { ApolloClient, ApolloLink, gql, InMemoryCache } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { cacheExchange, fetchExchange, subscriptionExchange, Client as UrqlClient } from "@urql/core";
import { createClient as createSseClient } from "graphql-sse";
import { createClient as createWsClient, type Client as WsClient } from "graphql-ws";
import { WebSocket } from "ws";
import { isExecutable } from "./programs.ts";

/** A subscription that one of the client libraries holds, as its documentation says to hold it. */
export interface Subscriber extends AsyncDisposable {
  /** Data of the newest push; null before the first one. */
  // biome-ignore lint/suspicious/noExplicitAny: each test knows the shape of what it asked for
  readonly newest: any;
  /** What came, in order: `next`, `complete`, or `error` and its reason. */
  readonly log: readonly string[];
}

export type Subscribe = (url: string, query: string) => Subscriber;

interface Recorder {
  readonly subscriber: Subscriber;
  next(data: unknown): void;
  complete(): void;
  error(reason: unknown): void;
}

function createRecorder(dispose: () => unknown): Recorder {
  let newest: unknown = null;
  const log: string[] = [];
  return {
    subscriber: {
      get newest() {
        return newest;
      },
      log,
      [Symbol.asyncDispose]: async () => void (await dispose()),
    },
    next(data) {
      newest = data;
      log.push("next");
    },
    complete: () => void log.push("complete"),
    error: (reason) => void log.push(`error ${JSON.stringify(reason)}`),
  };
}

const endpointOf = (url: string) => `${url}/graphql`;
const webSocketOf = (url: string) => endpointOf(url).replace("http", "ws");
/** The shortest retry that still leaves the server time to start. */
const retryMs = 200;
const pause = () => new Promise<void>((resolve) => setTimeout(resolve, retryMs));

function wsClient(url: string): WsClient {
  return createWsClient({
    url: webSocketOf(url),
    webSocketImpl: WebSocket,
    retryAttempts: Number.POSITIVE_INFINITY,
    shouldRetry: () => true,
    retryWait: pause,
  });
}

/** The client may have closed its socket itself a moment before, since nothing is subscribed: then it rejects with that. */
async function disposeOf(client: WsClient): Promise<void> {
  await Promise.resolve(client.dispose()).catch(() => {});
}

const graphqlWs: Subscribe = (url, query) => {
  const client = wsClient(url);
  const recorder = createRecorder(() => disposeOf(client));
  client.subscribe(
    { query },
    { next: ({ data }) => recorder.next(data), complete: recorder.complete, error: recorder.error },
  );
  return recorder.subscriber;
};

const graphqlSse: Subscribe = (url, query) => {
  const client = createSseClient({ url: endpointOf(url), retryAttempts: 200, retry: pause });
  const recorder = createRecorder(() => client.dispose());
  client.subscribe(
    { query },
    { next: ({ data }) => recorder.next(data), complete: recorder.complete, error: recorder.error },
  );
  return recorder.subscriber;
};

const apollo: Subscribe = (url, query) => {
  const socket = wsClient(url);
  const client = new ApolloClient({
    link: ApolloLink.from([new GraphQLWsLink(socket)]),
    cache: new InMemoryCache(),
  });
  const recorder = createRecorder(() => {
    client.stop();
    return disposeOf(socket);
  });
  client.subscribe({ query: gql(query) }).subscribe({
    next: ({ data, error }) => (error === undefined ? recorder.next(data) : recorder.error(error)),
    complete: recorder.complete,
    error: recorder.error,
  });
  return recorder.subscriber;
};

/** urql with another library that carries the subscription. */
function urqlOver(
  forward: (url: string) => {
    readonly subscribe: (
      query: string,
      sink: { next(value: object): void; error(error: unknown): void; complete(): void },
    ) => () => void;
    readonly dispose: () => unknown;
  },
): Subscribe {
  return (url, query) => {
    const { subscribe, dispose } = forward(url);
    const client = new UrqlClient({
      url: endpointOf(url),
      preferGetMethod: false,
      exchanges: [
        cacheExchange,
        fetchExchange,
        subscriptionExchange({
          forwardSubscription: (operation) => ({
            subscribe: (sink) => ({ unsubscribe: subscribe(operation.query ?? "", sink as never) }),
          }),
        }),
      ],
    });
    const recorder = createRecorder(() => {
      unsubscribe();
      return dispose();
    });
    const { unsubscribe } = client.subscription(query, {}).subscribe(({ data, error, hasNext }) => {
      if (error !== undefined) recorder.error(error);
      else recorder.next(data);
      if (!hasNext) recorder.complete();
    });
    return recorder.subscriber;
  };
}

const urqlWs = urqlOver((url) => {
  const client = wsClient(url);
  return {
    subscribe: (query, sink) => client.subscribe({ query }, sink as never),
    dispose: () => disposeOf(client),
  };
});

const urqlSse = urqlOver((url) => {
  const client = createSseClient({ url: endpointOf(url), retryAttempts: 200, retry: pause });
  return {
    subscribe: (query, sink) => client.subscribe({ query }, sink as never),
    dispose: () => client.dispose(),
  };
});

const python = new URL("../../.cache/gql/bin/python3", import.meta.url).pathname;

/** Why the Python client cannot run; null when it can, and in CI, where it must. */
export const whyNoGql: string | null =
  process.env.CI === "true" || isExecutable(python) ? null : "no gql: run script/test, which installs it";

/** Python's gql reports a lost connection as an exception, after which its user subscribes again. */
const pythonGql: Subscribe = (url, query) => {
  const program = new URL("gql-subscriber.py", import.meta.url).pathname;
  const child = spawn(python, [program, webSocketOf(url), query], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close");
  const recorder = createRecorder(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const [what = "", rest = ""] = line.split(/ (.*)/, 2);
    if (what === "next") recorder.next(JSON.parse(rest));
    else if (what === "complete") recorder.complete();
    else recorder.error(rest);
  });
  child.stderr.on("data", (chunk: Buffer) => recorder.error(String(chunk)));
  return recorder.subscriber;
};

/** By their names, with the version of each library that package.json or script/install-gql names. */
export const subscribers: Readonly<Record<string, Subscribe>> = {
  "graphql-ws": graphqlWs,
  "graphql-sse": graphqlSse,
  "Apollo Client over WebSocket": apollo,
  "urql over WebSocket": urqlWs,
  "urql over SSE": urqlSse,
  ...(whyNoGql === null ? { "Python gql": pythonGql } : {}),
};
