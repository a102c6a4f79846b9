import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApolloClient, gql, HttpLink, InMemoryCache } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { fetchExchange, Client as UrqlClient } from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import * as dashboardDocuments from "../../src/dashboard/graphql/documents.ts";
import { uniquePrefix } from "../support/redis.ts";
import { type GraphQLAnswer, post, startApp } from "../support/server.ts";
import { sseTransport, websocketTransport } from "../support/streams.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const query = "query States($queues: [String!]!) {\n  queueLatency(queues: $queues) {\n    state\n  }\n}";
const variables = { queues: ["a"] };
const data = { queueLatency: [{ state: "MISSING" }] };
const persistedQuery = { version: 1, sha256Hash: sha256(query) };
const app = (env: Readonly<Record<string, string>> = {}) =>
  startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), ...env });

const codesOf = (body: GraphQLAnswer) => body.errors?.map(({ extensions }) => extensions.code);

/** A fetch that keeps what was sent. */
function recordingFetch() {
  const sent: { readonly method: string; readonly text: string }[] = [];
  const recorded: typeof fetch = async (input, init) => {
    sent.push({
      method: init?.method ?? "GET",
      text: `${decodeURIComponent(String(input))} ${init?.body ?? ""}`,
    });
    return await fetch(input, init);
  };
  return { fetch: recorded, sent };
}

describe("automatic persisted queries", () => {
  test.each([true, false])(
    "serve Apollo's link, by GET for hashed queries: %s",
    async (useGETForHashedQueries) => {
      await using server = await app();
      const { fetch, sent } = recordingFetch();
      const link = new PersistedQueryLink({ sha256, useGETForHashedQueries }).concat(
        new HttpLink({ uri: `${server.url}/graphql`, fetch }),
      );
      for (const expected of [2, 1]) {
        sent.length = 0;
        const client = new ApolloClient({ link, cache: new InMemoryCache({ addTypename: false } as object) });
        const result = await client.query({ query: gql(query), variables });
        expect(result.data).toMatchObject({ queueLatency: [{ state: "MISSING" }] });
        expect(sent).toHaveLength(expected);
        expect(sent[0]?.text).not.toContain("queueLatency(");
        expect(sent[0]?.method).toBe(useGETForHashedQueries ? "GET" : "POST");
      }
    },
  );

  test.each([true, false])("serve urql's exchange, by GET for hashed queries: %s", async (preferGet) => {
    await using server = await app();
    const { fetch, sent } = recordingFetch();
    for (const expected of [2, 1]) {
      sent.length = 0;
      const client = new UrqlClient({
        url: `${server.url}/graphql`,
        fetch,
        preferGetMethod: false,
        exchanges: [persistedExchange({ preferGetForPersistedQueries: preferGet }), fetchExchange],
      });
      const { data, error } = await client.query(query, variables).toPromise();
      expect([data, error]).toMatchObject([{ queueLatency: [{ state: "MISSING" }] }, undefined]);
      expect(sent).toHaveLength(expected);
      expect(sent[0]?.text).not.toContain("queueLatency(");
    }
  });

  test("come by every transport, once one of them has brought the document", async () => {
    await using server = await app();
    const asked = { query: undefined as unknown as string, variables, extensions: { persistedQuery } };
    expect(codesOf((await post(server.url, asked)).body)).toEqual(["PERSISTED_QUERY_NOT_FOUND"]);
    expect((await post(server.url, { ...asked, query })).body.data).toEqual(data);
    expect((await post(server.url, asked)).body.data).toEqual(data);
    expect((await post(server.url, [asked, asked])).body).toMatchObject([{ data }, { data }]);
    const { sha256Hash } = persistedQuery;
    for (const id of [{ documentId: `sha256:${sha256Hash}` }, { doc_id: sha256Hash }, { id: sha256Hash }])
      expect((await post(server.url, { ...id, variables })).body.data).toEqual(data);

    await using transports = new AsyncDisposableStack();
    const clients = { Sse: sseTransport(server.url), WebSocket: websocketTransport(server.url) };
    for (const [name, transport] of Object.entries(clients)) {
      const client = transports.use(transport);
      // A document of its own for each.
      const subscription = `subscription ${name} { queueLatency(queues: ["a"]) { state } }`;
      const extensions = { persistedQuery: { version: 1, sha256Hash: sha256(subscription) } };
      const firstOf = async (text: string) => {
        const stream = client.subscribe(text, {}, extensions);
        const { value } = await stream.next();
        stream.abort();
        return value;
      };
      expect(codesOf((await firstOf("")) ?? {})).toEqual(["PERSISTED_QUERY_NOT_FOUND"]);
      expect(await firstOf(subscription)).toMatchObject({ data });
      expect(await firstOf("")).toMatchObject({ data });
    }
  });

  test.each([
    { why: "the hash of another text", sent: { query: `${query} ` }, code: "BAD_REQUEST" },
    {
      why: "a document that is not valid",
      sent: { query: "{ nothing }" },
      code: "GRAPHQL_VALIDATION_FAILED",
    },
  ])("keep nothing of $why", async ({ sent, code }) => {
    await using server = await app();
    const sha256Hash = code === "BAD_REQUEST" ? persistedQuery.sha256Hash : sha256(sent.query);
    const extensions = { persistedQuery: { version: 1, sha256Hash } };
    expect(codesOf((await post(server.url, { ...sent, variables, extensions })).body)).toEqual([code]);
    expect(codesOf((await post(server.url, { variables, extensions })).body)).toEqual([
      "PERSISTED_QUERY_NOT_FOUND",
    ]);
  });

  test("cost and are bounded as the document is", async () => {
    await using server = await app({ MAX_COST: "100" });
    const document = `{ queueLatency(queues: ["a", "b"]) { state } }`;
    const extensions = { persistedQuery: { version: 1, sha256Hash: sha256(document) } };
    const costOf = ({ body }: { readonly body: GraphQLAnswer }) => body.extensions?.cost?.requestedQueryCost;
    expect(costOf(await post(server.url, { query: document, extensions }))).toBe(2);
    expect(costOf(await post(server.url, { extensions }))).toBe(2);
    // Fifty operations of a long document are too much text, whether it is sent or named.
    const long = `{ queueLatency(queues: ["a"]) { state } }${" ".repeat(15_000)}`;
    const named = { extensions: { persistedQuery: { version: 1, sha256Hash: sha256(long) } } };
    expect((await post(server.url, { query: long, ...named })).body.errors).toBeUndefined();
    const { body } = await post(server.url, Array(50).fill(named));
    expect(codesOf((body as unknown as readonly GraphQLAnswer[])[0] ?? {})).toEqual(["DOCUMENT_TOO_LARGE"]);
  });
});

describe("trusted documents", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "ql-documents-"));
  });
  afterAll(() => rm(directory, { recursive: true }));

  const operations = [{ id: "one", name: "States", type: "query", body: query }];
  const manifests = [
    {
      tool: "Apollo",
      manifest: { format: "apollo-persisted-query-manifest", version: 1, operations },
      id: "one",
    },
    { tool: "GraphQL Code Generator", manifest: { [sha256(query)]: query }, id: sha256(query) },
    {
      tool: "Relay",
      manifest: { "5d41402abc4b2a76b9719d911017c592": query },
      id: "5d41402abc4b2a76b9719d911017c592",
    },
  ];

  test.each(manifests)(
    "of $tool's manifest run, by id and by text, and no others",
    async ({ manifest, id }) => {
      const file = join(directory, "manifest.json");
      await writeFile(file, JSON.stringify(manifest));
      await using server = await app({ TRUSTED_DOCUMENTS_FILE: file });
      const bodyOf = async (sent: object) => (await post(server.url, { variables, ...sent })).body;
      expect((await bodyOf({ query })).data).toEqual(data);
      expect((await bodyOf({ documentId: id })).data).toEqual(data);
      expect((await bodyOf({ doc_id: id })).data).toEqual(data);
      expect((await bodyOf({ extensions: { persistedQuery: { version: 1, sha256Hash: id } } })).data).toEqual(
        data,
      );

      const other = "{ queueLatency(queues: []) { state } }";
      const named = { extensions: { persistedQuery: { version: 1, sha256Hash: sha256(other) } } };
      const refused = await post(server.url, { query: other, ...named });
      expect([refused.status, codesOf(refused.body)]).toEqual([403, ["UNTRUSTED_DOCUMENT"]]);
      expect(codesOf(await bodyOf(named))).toEqual(["PERSISTED_QUERY_NOT_FOUND"]);
      expect(codesOf((await post(server.url, { query: "{ __schema { types { name } } }" })).body)).toEqual([
        "UNTRUSTED_DOCUMENT",
      ]);
      await using client = websocketTransport(server.url);
      const streamed = client.subscribe('subscription { queueLatency(queues: ["a"]) { state } }');
      expect(codesOf((await streamed.next()).value as GraphQLAnswer)).toEqual(["UNTRUSTED_DOCUMENT"]);

      // The dashboard's own documents run.
      const viewer = Object.values(dashboardDocuments).find((each) => String(each).includes("viewer"));
      expect(codesOf((await post(server.url, { query: String(viewer) })).body) ?? []).not.toContain(
        "UNTRUSTED_DOCUMENT",
      );
    },
  );

  test("keep the server from starting when the file is wrong, and say what is", async () => {
    const file = join(directory, "wrong.json");
    for (const [text, reason] of [
      ["{", "expected JSON"],
      ["[]", "expected an Apollo manifest"],
      ['{"a":1}', "document 1: expected an id and a document"],
    ]) {
      await writeFile(file, text ?? "");
      await expect(app({ TRUSTED_DOCUMENTS_FILE: file })).rejects.toThrow(reason);
    }
  });
});

describe("an answer to GET", () => {
  const ask = (url: string, headers: Readonly<Record<string, string>> = {}, method = "GET") =>
    fetch(`${url}/graphql?query=${encodeURIComponent('{ queueLatency(queues: ["a"]) { state } }')}`, {
      method,
      headers,
    });

  test("has a tag of its data, whatever it costs, by which a client is spared the same answer", async () => {
    await using server = await app();
    const first = await ask(server.url);
    const etag = first.headers.get("etag") ?? "";
    expect(etag).toMatch(/^W\/"[\w-]{27}"$/);
    expect(first.headers.get("cache-control")).toBe("private, no-cache");
    const again = await ask(server.url, { "if-none-match": etag });
    expect([again.status, await again.text(), again.headers.get("etag")]).toEqual([304, "", etag]);
    expect((await ask(server.url, { "if-none-match": 'W/"another"' })).status).toBe(200);
    // As a strong tag, too: the comparison is weak.
    for (const tag of ["*", etag.slice(2)])
      expect((await ask(server.url, { "if-none-match": tag })).status, tag).toBe(304);

    await post(server.url, {
      query: 'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "a", jobId: 1 }]) { accepted } }',
    });
    const changed = await ask(server.url, { "if-none-match": etag });
    expect([changed.status, changed.headers.get("etag") === etag]).toEqual([200, false]);
  });

  test("is JSON for a client that accepts multipart/mixed alone; a subscription is refused with what to do", async () => {
    await using server = await app();
    const accept = "multipart/mixed;deferSpec=20220824";
    const answer = await ask(server.url, { accept });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([
      200,
      "application/json; charset=utf-8",
    ]);
    const subscription = { query: 'subscription { queueLatency(queues: ["a"]) { state } }' };
    const { status, body } = await post(server.url, subscription, { accept });
    expect([status, body.errors?.[0]?.message]).toEqual([406, expect.stringContaining("text/event-stream")]);
  });
});
