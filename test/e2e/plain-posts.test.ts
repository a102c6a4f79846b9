import { once } from "node:events";
import { type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { uniquePrefix } from "../support/redis.ts";
import { startApp } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";

/**
 * A request whose length is announced may be answered past Yoga, one that comes in chunks never is. Two servers are told the
 * same, the one in this and the other in that way, and have to say the same.
 */
let tokens: TestTokens;
let direct: Awaited<ReturnType<typeof startApp>>;
let throughYoga: Awaited<ReturnType<typeof startApp>>;
beforeAll(async () => {
  tokens = await tokenFile({ all: "read,record,admin", reader: "read", poor: "read" });
  const env = { REDIS_URL: inject("redisUrl"), API_TOKENS_FILE: tokens.path, RATE_LIMIT_MAX: "120" };
  const start = () =>
    startApp({
      ...env,
      RATE_LIMIT_WINDOW: "1h",
      MAX_COST: "100",
      MAX_QUEUES: "60",
      KEY_PREFIX: uniquePrefix(),
    });
  [direct, throughYoga] = await Promise.all([start(), start()]);
});
afterAll(async () => {
  await Promise.all([direct.stop(), throughYoga.stop()]);
  await tokens[Symbol.asyncDispose]();
});

interface Row {
  readonly why: string;
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly path?: string;
}

const names = (count: number) => Array.from({ length: count }, (_, i) => `q${i}`);
const states = "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue state depth } }";
const record =
  "mutation ($events: [QueueEventInput!]!, $batchId: ID) { recordEvents(events: $events, batchId: $batchId) { accepted duplicates early } }";
const asking = (count: number) => ({ query: states, variables: { queues: names(count) } });
const recording = (jobId: string) => ({
  query: record,
  variables: { events: [{ type: "ENQUEUED", queue: "q0", jobId }], batchId: "batch" },
});
const aliases = (count: number) =>
  names(count)
    .map((name) => `${name}: __typename`)
    .join(" ");
const two = `query A { ${"queues(first: 1) { edges { node { queue } } }"} } query B { __typename }`;

const rows: readonly Row[] = [
  { why: "a query", status: 200, body: asking(2) },
  { why: "a batch of events", status: 200, body: recording("1") },
  { why: "the same batch again", status: 200, body: recording("1") },
  { why: "another batch with its id, which fails while it runs", status: 400, body: recording("2") },
  { why: "what was recorded", status: 200, body: asking(3) },
  {
    why: "one field that fails beside one that does not",
    status: 400,
    body: {
      query: `mutation { good: trustQueue(queue: "q0") bad: recordEvents(events: [{ type: ENQUEUED, queue: "q1", jobId: 1 }], batchId: "x") { accepted }
        worse: recordEvents(events: [{ type: ENQUEUED, queue: "q1", jobId: 2 }], batchId: "x") { accepted } }`,
    },
  },
  { why: "one of two operations", status: 200, body: { query: two, operationName: "B" } },
  { why: "two operations without a name", status: 400, body: { query: two } },
  { why: "an operation that is not there", status: 400, body: { query: two, operationName: "C" } },
  { why: "nothing but the name of the type", status: 200, body: { query: "{ __typename }" } },
  {
    why: "all of it skipped",
    status: 200,
    body: { query: '{ queueLatency(queues: "a") @skip(if: true) { queue } }' },
  },
  { why: "the schema", status: 200, body: { query: "{ __schema { queryType { name } } }" } },
  {
    why: "the type of an input object",
    status: 200,
    body: { query: '{ __type(name: "QueueEventInput") { name kind } }' },
  },
  {
    why: "parameters that are null",
    status: 200,
    body: { ...asking(1), operationName: null, extensions: null },
  },
  { why: "extensions", status: 200, body: { ...asking(1), extensions: { a: 1 } } },
  { why: "extensions that are none", status: 400, body: { ...asking(1), extensions: "a" } },
  { why: "a parameter that there is not", status: 400, body: { ...asking(1), more: 1 } },
  { why: "no query", status: 200, body: {} },
  { why: "an empty query", status: 200, body: { query: "" } },
  { why: "a query that is a number", status: 400, body: { query: 1 } },
  { why: "variables that are a list", status: 400, body: { query: states, variables: [] } },
  { why: "variables that do not fit", status: 400, body: { query: states, variables: { queues: [1] } } },
  { why: "a name that no queue has", status: 400, body: { query: states, variables: { queues: ["*"] } } },
  { why: "too many queues", status: 400, body: asking(61) },
  {
    why: "too dear a request",
    status: 400,
    body: {
      query: `{ a: queues(first: 60) { edges { cursor } } b: queues(first: 60) { edges { cursor } } }`,
    },
  },
  { why: "no GraphQL", status: 200, body: { query: "{ queueLatency" } },
  {
    why: "no GraphQL, as it was before, for a media type in which that is no 200",
    status: 400,
    body: { query: "{ queueLatency" },
    headers: { accept: "application/graphql-response+json" },
  },
  { why: "a field that there is not", status: 200, body: { query: "{ nothing }" } },
  {
    why: "more fields that there are not than are told",
    status: 200,
    body: { query: `{ ${names(9).join(" ")} ${"n".repeat(199)} }` },
  },
  {
    why: "something wrong in many places, and a name that nearly is one",
    status: 200,
    body: { query: "query ($a: Int, $a: Int, $a: Int) { queueLatenzy(a: $b) }" },
  },
  {
    why: "a document that is too deep",
    status: 400,
    body: { query: `${"{ a".repeat(21)}${" }".repeat(21)}` },
  },
  { why: "a document with too many aliases", status: 400, body: { query: `{ ${aliases(201)} }` } },
  { why: "a list that is too long", status: 400, body: asking(2_001) },
  {
    why: "JSON that is too deep",
    status: 400,
    body: { query: states, variables: { queues: JSON.parse(`${"[".repeat(20)}${"]".repeat(20)}`) } },
  },
  {
    why: "a subscription with a queue too many, with an Accept of JSON",
    status: 406,
    body: {
      query: "subscription ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }",
      variables: { queues: names(61) },
    },
  },
  { why: "a subscription that is not valid", status: 200, body: { query: "subscription { nothing }" } },
  {
    why: "a subscription, with an Accept of JSON",
    status: 406,
    body: { query: 'subscription { queueLatency(queues: "a") { queue } }' },
  },
  { why: "a batch", status: 200, body: [asking(1), { query: "{ __typename }" }] },
  { why: "an empty batch", status: 200, body: [] },
  { why: "null", status: 400, body: null },
  { why: "a number", status: 400, body: 3 },
  { why: "no JSON", status: 400, body: Buffer.from('{"query": ') },
  {
    why: "no UTF-8",
    status: 400,
    body: Buffer.from('{"query":"{ queueLatency(queues: \\"\xff\\") { queue } }"}', "latin1"),
  },
  { why: "a byte order mark", status: 400, body: Buffer.from(`\ufeff${JSON.stringify(asking(1))}`) },
  { why: "more than ASCII", status: 200, body: { query: states, variables: { queues: ["größe 🚦"] } } },
  { why: "no right to it", status: 403, body: recording("3"), headers: bearer("reader") },
  { why: "no token", status: 401, body: asking(1), headers: { authorization: undefined } },
  { why: "a token that is not known", status: 401, body: asking(1), headers: bearer("nobody") },
  {
    why: "a token that is not known, and no JSON",
    status: 401,
    body: Buffer.from("{"),
    headers: bearer("nobody"),
  },
  { why: "points enough", status: 200, body: asking(60), headers: bearer("poor") },
  { why: "points enough once more", status: 200, body: asking(60), headers: bearer("poor") },
  { why: "no points left", status: 429, body: asking(60), headers: bearer("poor") },
  { why: "no Accept", status: 200, body: asking(1), headers: { accept: undefined } },
  { why: "any Accept", status: 200, body: asking(1), headers: { accept: "*/*" } },
  { why: "an error for any Accept", status: 400, body: asking(61), headers: { accept: "*/*" } },
  {
    why: "the newer media type",
    status: 200,
    body: asking(1),
    headers: { accept: "application/graphql-response+json" },
  },
  {
    why: "an Accept of two",
    status: 200,
    body: asking(1),
    headers: { accept: "text/html, application/json;q=0.5" },
  },
  {
    why: "an Accept of nothing that there is",
    status: 406,
    body: asking(1),
    headers: { accept: "text/html" },
  },
  {
    why: "a charset",
    status: 200,
    body: asking(1),
    headers: { "content-type": "application/json; charset=utf-8" },
  },
  { why: "a form", status: 415, body: asking(1), headers: { "content-type": "text/plain" } },
  { why: "no media type", status: 415, body: asking(1), headers: { "content-type": undefined } },
  { why: "a compressed body", status: 415, body: asking(1), headers: { "content-encoding": "gzip" } },
  { why: "something after the path", status: 200, body: asking(1), path: "/graphql?a=1" },
  { why: "a foreign page", status: 403, body: asking(1), headers: { "sec-fetch-site": "cross-site" } },
];

describe("past Yoga and through it, the same is said of", { shuffle: false }, () => {
  // In this order: what some leave behind others find.
  for (const row of rows) {
    test(row.why, async () => {
      const [past, through] = [
        await send(direct.url, row, "at once"),
        await send(throughYoga.url, row, "in chunks"),
      ];
      expect(past).toEqual(through);
      expect(past.status).toBe(row.status);
    });
  }
});

interface Answered {
  readonly status: number | undefined;
  readonly statusMessage: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

async function send(
  url: string,
  { body, headers, path = "/graphql" }: Row,
  how: "at once" | "in chunks",
): Promise<Answered> {
  const bytes = body instanceof Buffer ? body : Buffer.from(JSON.stringify(body));
  const all = {
    "content-type": "application/json",
    accept: "application/json",
    ...bearer("all"),
    ...headers,
  };
  const asked = request(`${url}${path}`, {
    method: "POST",
    agent: false,
    headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
  });
  if (how === "in chunks") asked.write(bytes.subarray(0, 1));
  asked.end(how === "in chunks" ? bytes.subarray(1) : bytes);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  const { date: _, ...told } = answer.headers;
  const { statusCode: status, statusMessage } = answer;
  return { status, statusMessage, headers: told, body: await text(answer) };
}
