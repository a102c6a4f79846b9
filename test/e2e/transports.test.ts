import { ApolloClient, gql, InMemoryCache } from "@apollo/client/core";
import { BatchHttpLink } from "@apollo/client/link/batch-http";
import { createClient as createSseClient } from "graphql-sse";
import { createClient } from "graphql-ws";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { WebSocket } from "ws";
import { uniquePrefix } from "../support/redis.ts";
import { type GraphQLAnswer, startApp } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";

/** One table of requests, sent by every transport in the form of every client library: each gives the same answer. */
let tokens: TestTokens;
let app: Awaited<ReturnType<typeof startApp>>;
beforeAll(async () => {
  tokens = await tokenFile({ all: "read,record,admin", reader: "read", recorder: "record" });
  app = await startApp({
    REDIS_URL: inject("redisUrl"),
    KEY_PREFIX: uniquePrefix(),
    API_TOKENS_FILE: tokens.path,
    MAX_COST: "100",
    MAX_QUEUES: "60",
  });
});
afterAll(async () => {
  await app.stop();
  await tokens[Symbol.asyncDispose]();
});

interface Params {
  readonly query?: unknown;
  readonly operationName?: unknown;
  readonly variables?: unknown;
  readonly extensions?: unknown;
}

interface Answer {
  readonly body: GraphQLAnswer;
  /** Of a transport that has one. */
  readonly status?: number;
}

interface Transport {
  readonly name: string;
  /** It cannot send these. */
  readonly sends?: (params: Params) => boolean;
  readonly send: (params: Params, token: string) => Promise<Answer>;
}

const urqlAccept =
  "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed";
const isMutation = ({ query }: Params) => String(query).startsWith("mutation");

const transports: readonly Transport[] = [
  { name: "POST as fetch sends it", send: postWith({ accept: "*/*" }) },
  { name: "POST for JSON", send: postWith({ accept: "application/json" }) },
  {
    name: "POST as Apollo Client sends it",
    send: postWith({ accept: "application/graphql-response+json,application/json;q=0.9" }),
  },
  { name: "POST as urql sends it", send: postWith({ accept: urqlAccept }) },
  { name: "POST as Relay's fetch sends it, in chunks", send: postInChunks },
  { name: "GET, as KEDA sends it", sends: (params) => !isMutation(params) && isSearch(params), send: get },
  { name: "a batch of one", send: postBatch },
  { name: "server-sent events", send: postWith({ accept: "text/event-stream" }) },
  // graphql-ws refuses other types by closing the socket, in its own words.
  {
    name: "a WebSocket",
    sends: ({ query }) => typeof query === "string" && query !== "",
    send: overWebSocket,
  },
];

interface Row {
  readonly why: string;
  readonly params: Params;
  /** Of the first error; null: data alone. */
  readonly code: string | null;
  readonly token?: string;
}

const names = (count: number) => Array.from({ length: count }, (_, i) => `q${i}`);
const states = "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue state } }";
const asking = (count: number) => ({ query: states, variables: { queues: names(count) } });
const two = "query A { queues(first: 1) { edges { cursor } } } query B { __typename }";

const rows: readonly Row[] = [
  { why: "a query", params: asking(2), code: null },
  {
    why: "no queue's name that is ASCII",
    params: { query: states, variables: { queues: ["größe 🚦"] } },
    code: null,
  },
  {
    why: "null for what need not be sent",
    params: { ...asking(1), operationName: null, extensions: null },
    code: null,
  },
  { why: "extensions of a client's own", params: { ...asking(1), extensions: { a: 1 } }, code: null },
  { why: "one of two operations", params: { query: two, operationName: "B" }, code: null },
  { why: "two operations and no name", params: { query: two }, code: "OPERATION_RESOLUTION_FAILURE" },
  {
    why: "an unknown operation",
    params: { query: two, operationName: "C" },
    code: "OPERATION_RESOLUTION_FAILURE",
  },
  { why: "nothing but the name of the type", params: { query: "{ __typename }" }, code: null },
  {
    why: "all fields skipped",
    params: { query: '{ queueLatency(queues: "a") @skip(if: true) { queue } }' },
    code: null,
  },
  { why: "the schema", params: { query: "{ __schema { queryType { name } } }" }, code: null },
  { why: "no query", params: {}, code: "BAD_REQUEST" },
  { why: "a query that is a number", params: { query: 1 }, code: "BAD_REQUEST" },
  { why: "no GraphQL", params: { query: "{ queueLatency" }, code: "GRAPHQL_PARSE_FAILED" },
  { why: "an unknown field", params: { query: "{ nothing }" }, code: "GRAPHQL_VALIDATION_FAILED" },
  {
    why: "a hash in the place of a query",
    params: { extensions: { persistedQuery: { version: 1, sha256Hash: "0" } } },
    code: "PERSISTED_QUERY_NOT_FOUND",
  },
  {
    why: "variables of a wrong type",
    params: { query: states, variables: { queues: [1] } },
    code: "BAD_USER_INPUT",
  },
  {
    why: "no name of a queue",
    params: { query: states, variables: { queues: ["*"] } },
    code: "BAD_USER_INPUT",
  },
  { why: "too many queues", params: asking(61), code: "TOO_MANY_QUEUES" },
  {
    why: "too expensive a request",
    params: {
      query: "{ a: queues(first: 600) { edges { cursor } } b: queues(first: 600) { edges { cursor } } }",
    },
    code: "MAX_COST_EXCEEDED",
  },
  {
    why: "a document that is too deep",
    params: { query: `${"{ a".repeat(21)}${" }".repeat(21)}` },
    code: "DOCUMENT_TOO_DEEP",
  },
  {
    why: "too many aliases",
    params: {
      query: `{ ${names(201)
        .map((each) => `${each}: __typename`)
        .join(" ")} }`,
    },
    code: "TOO_MANY_ALIASES",
  },
  { why: "a mutation", params: { query: 'mutation { forgetQueue(queue: "unknown") }' }, code: null },
  {
    why: "no scope for it",
    params: { query: 'mutation { forgetQueue(queue: "unknown") }' },
    code: "FORBIDDEN",
    token: "reader",
  },
];

describe.each(rows)("$why", ({ params, code, token = "all" }) => {
  test.each(transports.filter(({ sends }) => sends?.(params) ?? true))("by $name", async ({ send }) => {
    const { body } = await send(params, token);
    expect(body.errors?.[0]?.extensions.code ?? null).toBe(code);
    expect(timeless(body)).toEqual(timeless((await transports[1]!.send(params, token)).body));
  });
});

/** PERSISTED_QUERY_NOT_FOUND is a step of a protocol, of which some clients read no other status than 200. */
const dataStatuses = rows.filter(
  ({ code }) => code !== null && !/^(GRAPHQL_|PERSISTED_QUERY_NOT_FOUND)/.test(code),
);

test.each(dataStatuses)(
  "has a status of 4xx for whatever media type: $why",
  async ({ params, token = "all" }) => {
    for (const { send } of transports.slice(0, 4)) {
      expect((await send(params, token)).status).toBeGreaterThanOrEqual(400);
    }
  },
);

test.each<Row>([
  { why: "no document", params: { query: "subscription {" }, code: "GRAPHQL_PARSE_FAILED" },
  {
    why: "an unknown field",
    params: { query: "subscription { nothing }" },
    code: "GRAPHQL_VALIDATION_FAILED",
  },
  {
    why: "no name of a queue",
    params: { query: 'subscription { queueLatency(queues: ["*"]) { queue } }' },
    code: "BAD_USER_INPUT",
  },
  {
    why: "too many queues",
    params: { query: `subscription { queueLatency(queues: ${JSON.stringify(names(61))}) { queue } }` },
    code: "TOO_MANY_QUEUES",
  },
  {
    why: "too expensive a subscription",
    params: {
      query:
        "subscription { queues(first: 1000) { edges { node { health throughput { enqueuedPerSecond } } } } }",
    },
    code: "MAX_COST_EXCEEDED",
  },
  {
    why: "no scope for it",
    params: { query: "subscription { queues { edges { cursor } } }" },
    code: "FORBIDDEN",
    token: "recorder",
  },
])(
  "graphql-sse shows the error of a refused subscription, and asks once: $why",
  async ({ params, code, token }) => {
    let requests = 0;
    const client = createSseClient({
      url: `${app.url}/graphql`,
      headers: bearer(token ?? "all"),
      fetchFn: (...args: Parameters<typeof fetch>) => {
        requests += 1;
        return fetch(...args);
      },
    });
    const results: unknown[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    client.subscribe(params as never, {
      next: (result) => void results.push(result),
      error: reject,
      complete: resolve,
    });
    await promise.finally(() => client.dispose());
    expect(results).toMatchObject([{ errors: [{ extensions: { code } }] }]);
    expect(requests).toBe(1);
  },
);

test("Apollo's BatchHttpLink shows the error of a batch that is refused as a whole", async () => {
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: new BatchHttpLink({ uri: `${app.url}/graphql`, headers: bearer("all"), batchInterval: 20 }),
  });
  const page = (alias: string) => gql(`{ ${alias}: queues(first: 600) { edges { cursor } } }`);
  const answers = await Promise.allSettled(
    ["a", "b"].map((alias) => client.query({ query: page(alias), fetchPolicy: "no-cache" })),
  );
  client.stop();
  const codeOf = (answer: PromiseSettledResult<unknown>) =>
    answer.status === "rejected" ? answer.reason.errors?.[0]?.extensions?.code : "none";
  expect(answers.map(codeOf)).toEqual(Array(2).fill("MAX_COST_EXCEEDED"));
});

test("subscriptions are answered by the transports that the refusals of others name", async () => {
  const params = { query: 'subscription { queueLatency(queues: ["a"]) { queue } }' };
  const multipart = 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/json';
  const refused = await postWith({ accept: multipart })(params, "all");
  expect(refused.status).toBe(406);
  expect(refused.body.errors?.[0]?.message).toMatch(/text\/event-stream.*graphql-transport-ws/);
  const single = await fetch(`${app.url}/graphql`, { method: "PUT", headers: bearer("all") });
  expect(single.status).toBe(405);
  expect(((await single.json()) as GraphQLAnswer).errors?.[0]?.message).toContain(
    "distinct connections mode",
  );
});

test("pushes pass through nginx as they come", async () => {
  const { headers, body } = await fetch(`${app.url}/graphql`, {
    ...posted({ query: 'subscription { queueLatency(queues: ["a"]) { queue } }' }, "all"),
    headers: { ...posted({}, "all").headers, accept: "text/event-stream" },
  });
  expect(headers.get("x-accel-buffering")).toBe("no");
  await body?.cancel();
});

function postWith(headers: Readonly<Record<string, string>>): Transport["send"] {
  return (params, token) =>
    fetched(
      fetch(`${app.url}/graphql`, {
        ...posted(params, token),
        headers: { ...posted(params, token).headers, ...headers },
      }),
    );
}

function postInChunks(params: Params, token: string): Promise<Answer> {
  const { headers, body } = posted(params, token);
  const chunks = new ReadableStream({
    start(controller) {
      const bytes = Buffer.from(body);
      for (const part of [bytes.subarray(0, 1), bytes.subarray(1)])
        if (part.length > 0) controller.enqueue(part);
      controller.close();
    },
  });
  const init: RequestInit & { duplex: "half" } = {
    method: "POST",
    headers: { ...headers, accept: "application/json" },
    body: chunks,
    duplex: "half",
  };
  return fetched(fetch(`${app.url}/graphql`, init));
}

async function postBatch(params: Params, token: string): Promise<Answer> {
  const { headers } = posted(params, token);
  const response = await fetch(`${app.url}/graphql`, {
    method: "POST",
    headers,
    body: JSON.stringify([params]),
  });
  const body = [await response.json()].flat()[0] as GraphQLAnswer;
  return { body, status: response.status };
}

function get(params: Params, token: string): Promise<Answer> {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value != null) search.set(name, typeof value === "string" ? value : JSON.stringify(value));
  }
  return fetched(fetch(`${app.url}/graphql?${search}`, { headers: bearer(token) }));
}

/** In an address every value is a text, and it is no longer than one may be. */
function isSearch(params: Params): boolean {
  return typeof params.query !== "number" && JSON.stringify(params).length < 8_000;
}

async function overWebSocket(params: Params, token: string): Promise<Answer> {
  const client = createClient({
    url: `${app.url.replace("http", "ws")}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
  });
  const { promise, resolve, reject } = Promise.withResolvers<GraphQLAnswer>();
  client.subscribe(params as Parameters<typeof client.subscribe>[0], {
    next: (answer) => resolve(answer as GraphQLAnswer),
    error: (errors) => (Array.isArray(errors) ? resolve({ errors }) : reject(errors)),
    complete() {},
  });
  return { body: await promise.finally(() => client.dispose()) };
}

function posted(params: Params, token: string) {
  return {
    method: "POST",
    headers: { "content-type": "application/json", ...bearer(token) },
    body: JSON.stringify(params),
  };
}

async function fetched(asked: Promise<Response>): Promise<Answer> {
  const response = await asked;
  const text = await response.text();
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") === true;
  const [, json = text] = isStream ? (/^event: next\ndata: (.*)$/m.exec(text) ?? []) : [];
  return { body: JSON.parse(json) as GraphQLAnswer, status: response.status };
}

/** Without what it cost: an `error` message of a WebSocket has it in its first error. */
function timeless({ data, errors }: GraphQLAnswer) {
  return {
    data,
    errors: errors?.map(({ extensions: { cost: _, ...extensions }, ...error }) => ({ ...error, extensions })),
  };
}
