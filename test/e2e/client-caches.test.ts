import { ApolloClient, gql, HttpLink, InMemoryCache, split } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { type Client, createClient, fetchExchange } from "@urql/core";
import { cacheExchange } from "@urql/exchange-graphcache";
import { getIntrospectionQuery } from "graphql";
import { createClient as createWsClient } from "graphql-ws";
import {
  type ConcreteRequest,
  Environment,
  type GraphQLResponse,
  Network,
  Observable,
  RecordSource,
  requestSubscription,
  Store,
} from "relay-runtime";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { sse } from "../support/streams.ts";

/** What a page shows: the queues of one query, as the client's cache has them. */
interface Shown {
  /** Resolves when a queue is shown in this state; the newest result of the query is looked at again with each change. */
  until(queue: string, state: string): Promise<void>;
  stop(): void;
}

interface Row {
  readonly queue: string;
  readonly state: string;
}

const query = `query Two($queues: [String!]!) { queueLatency(queues: $queues) { id queue state depth } }`;
const subscription = query.replace("query Two", "subscription Changes");
const queues = ["a", "b"];

/** Keeps the newest rows, and who waits for some. */
function createShown(stop: () => void): Shown & { show(rows: readonly Row[]): void } {
  let shown: readonly Row[] = [];
  let look = () => {};
  return {
    stop,
    show(rows) {
      shown = rows;
      look();
    },
    until: (queue, state) =>
      new Promise((resolve) => {
        look = () => {
          if (shown.some((row) => row.queue === queue && row.state === state)) resolve();
        };
        look();
      }),
  };
}

async function apollo(url: string): Promise<Shown> {
  const socket = createWsClient({ url: `${url.replace("http", "ws")}/graphql`, webSocketImpl: WebSocket });
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: split(
      ({ operationType }) => operationType === "subscription",
      new GraphQLWsLink(socket),
      new HttpLink({ uri: `${url}/graphql` }),
    ),
  });
  const variables = { queues };
  const shown = createShown(() => {
    client.stop();
    void socket.dispose();
  });
  client
    .watchQuery<{ readonly queueLatency: Row[] }>({ query: gql(query), variables })
    .subscribe(({ data }) => shown.show((data?.queueLatency ?? []) as Row[]));
  await shown.until("a", "MISSING");
  client.subscribe({ query: gql(subscription), variables }).subscribe({});
  return shown;
}

function urqlWith(options: Parameters<typeof cacheExchange>[0]): (url: string) => Promise<Shown> {
  return async (url) => {
    const client: Client = createClient({
      url: `${url}/graphql`,
      preferGetMethod: false,
      fetchSubscriptions: true,
      exchanges: [cacheExchange(options), fetchExchange],
    });
    const ends: (() => void)[] = [];
    const shown = createShown(() => {
      for (const end of ends) end();
    });
    const asked = client.query<{ readonly queueLatency: Row[] }>(query, { queues });
    ends.push(asked.subscribe(({ data }) => shown.show(data?.queueLatency ?? [])).unsubscribe);
    await shown.until("a", "MISSING");
    ends.push(client.subscription(subscription, { queues }).subscribe(() => {}).unsubscribe);
    return shown;
  };
}

/** What Relay's compiler makes of an operation: this one has no fragments, so both trees are the same. */
function relayRequest(kind: "query" | "subscription", text: string): ConcreteRequest {
  const name = /(?:query|subscription) (\w+)/.exec(text)?.[1] ?? expect.unreachable();
  const argumentDefinitions = [{ defaultValue: null, kind: "LocalArgument", name: "queues" }] as const;
  const scalar = (field: string) => ({
    alias: null,
    args: null,
    kind: "ScalarField",
    name: field,
    storageKey: null,
  });
  const selections = [
    {
      alias: null,
      args: [{ kind: "Variable", name: "queues", variableName: "queues" }],
      concreteType: "QueueLatency",
      kind: "LinkedField",
      name: "queueLatency",
      plural: true,
      selections: ["id", "queue", "state", "depth"].map(scalar),
      storageKey: null,
    },
  ];
  const type = kind === "query" ? "Query" : "Subscription";
  return {
    kind: "Request",
    fragment: {
      argumentDefinitions,
      kind: "Fragment",
      metadata: null,
      name,
      selections,
      type,
      abstractKey: null,
    },
    operation: { argumentDefinitions, kind: "Operation", name, selections },
    params: { cacheID: name, id: null, metadata: {}, name, operationKind: kind, text },
  } as unknown as ConcreteRequest;
}

async function relay(url: string): Promise<Shown> {
  const environment = new Environment({
    store: new Store(new RecordSource()),
    network: Network.create(
      async ({ text }, variables) => (await ask(url, text ?? "", variables)).body as GraphQLResponse,
      ({ text }, variables) =>
        Observable.create((sink) => {
          const stream = sse(url, text ?? "", variables);
          void (async () => {
            for await (const push of stream) sink.next(push as GraphQLResponse);
          })();
          return () => stream.abort();
        }),
    ),
  });
  const { createOperationDescriptor, fetchQuery } = await import("relay-runtime");
  const asked = relayRequest("query", query);
  await fetchQuery(environment, asked, { queues }).toPromise();
  const operation = createOperationDescriptor(asked, { queues });
  const snapshot = environment.lookup(operation.fragment);
  const ends = [
    environment.retain(operation).dispose,
    environment.subscribe(snapshot, ({ data }) => shown.show(rowsOf(data))).dispose,
    requestSubscription(environment, {
      subscription: relayRequest("subscription", subscription),
      variables: { queues },
    }).dispose,
  ];
  const shown = createShown(() => {
    for (const end of ends) end();
  });
  shown.show(rowsOf(snapshot.data));
  return shown;
}

function rowsOf(data: unknown): readonly Row[] {
  return (data as { readonly queueLatency?: readonly Row[] } | undefined)?.queueLatency ?? [];
}

let app: Awaited<ReturnType<typeof startApp>>;
beforeAll(async () => {
  app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
});
afterAll(() => app.stop());

const graphcacheWithSchema = async (url: string) => {
  const { body } = await ask(url, getIntrospectionQuery({ descriptions: false }));
  return urqlWith({ schema: body.data })(url);
};

test.each([
  { client: "Apollo Client", show: apollo },
  { client: "urql's Graphcache without a schema", show: urqlWith({}) },
  { client: "urql's Graphcache with the schema", show: graphcacheWithSchema },
  { client: "Relay", show: relay },
])("$client shows a push in the result of a query, with its default cache", async ({ show }) => {
  const shown = await show(app.url);
  const jobId = crypto.randomUUID();
  const record = (type: string) =>
    ask(
      app.url,
      `mutation ($jobId: ID!) { recordEvents(events: [{ type: ${type}, queue: "b", jobId: $jobId }]) { accepted } }`,
      {
        jobId,
      },
    );
  await record("ENQUEUED");
  await shown.until("b", "WAITING");
  await record("DEQUEUED");
  await shown.until("b", "EMPTY");
  await shown.until("a", "MISSING");
  shown.stop();
});
