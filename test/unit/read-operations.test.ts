import { hash } from "node:crypto";
import { type DocumentNode, validate } from "graphql";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { schema } from "../../src/api/schema.ts";
import type { AppError } from "../../src/core/errors.ts";
import { createRequestGuard } from "../../src/limits/request-guard.ts";
import { createPersistedDocuments } from "../../src/server/persisted-documents.ts";
import { createOperationReader, isValid, type ReadOperation } from "../../src/server/read-operations.ts";
import type { Sent } from "../../src/server/sent-request.ts";
import { attacks, repeat } from "../support/hostile-documents.ts";

const guard = createRequestGuard({ maxQueues: 100, maxEvents: 1_000, introspection: true });

/** Reads as the server does, and counts what it takes. */
function read(...sent: readonly unknown[]) {
  const parse = vi.fn(guard.parse);
  const validated = vi.fn((document: DocumentNode) => validate(schema, document));
  let refusal: AppError | null = null;
  let operations: readonly ReadOperation[] = [];
  try {
    const reader = createOperationReader(
      { parse, validate: validated },
      guard,
      createPersistedDocuments(null),
    );
    operations = reader.read(reader.parse({ params: sent }));
  } catch (error) {
    refusal = error as AppError;
  }
  return { refusal, operations, parsed: parse.mock.calls.length, validated: validated.mock.calls.length };
}

/** Refused before the document is taken apart, by the code they get. */
const byTheirSize: readonly string[] = attacks
  .filter(({ query, variables }) => query.length > 620_000 || /\n{30000}|#\n#/.test(query) || variables)
  .map(({ attack }) => attack);

describe("an attack is refused before the step that it would make expensive", () => {
  const bounded = attacks.filter(
    ({ code }) =>
      !["GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "BAD_USER_INPUT", "MAX_COST_EXCEEDED"].includes(
        code,
      ),
  );

  test.each(bounded)("$attack: $code", ({ attack, query, variables, code }) => {
    const { refusal, parsed, validated } = read({ query, variables });
    expect(refusal?.code).toBe(code);
    expect(validated).toBe(0);
    expect(parsed).toBe(byTheirSize.includes(attack) ? 0 : 1);
  });

  test("a batch of which each document is just within the bounds: after the second of 50", () => {
    const query = `{ ${repeat(150, (i) => `a${i}: __typename`)} }`;
    const { refusal, parsed, validated } = read(...Array(50).fill({ query }));
    expect(refusal?.code).toBe("TOO_MANY_ALIASES");
    expect({ parsed, validated }).toEqual({ parsed: 2, validated: 1 });
  });

  test("a batch that is too long as a whole: before any of it is parsed", () => {
    const { refusal, parsed } = read(...Array(50).fill({ query: "{ a }".padEnd(15_000) }));
    expect(refusal?.code).toBe("DOCUMENT_TOO_LARGE");
    expect(parsed).toBe(0);
  });
});

describe("what is not refused", () => {
  const query = "query A($a: Int!) { queues(first: $a) { edges { cursor } } }";

  test("comes with its kind, document, name and variables", () => {
    const { refusal, operations } = read({ query, operationName: "A", variables: { a: 1 } });
    expect(refusal).toBeNull();
    expect(operations).toMatchObject([
      {
        kind: "query",
        operation: { document: { kind: "Document" }, operationName: "A", variables: { a: 1 } },
      },
    ]);
    expect(read({ query, operationName: null, variables: null }).operations).toMatchObject([
      { operation: { operationName: null, variables: {} } },
    ]);
  });

  test("comes with its errors where it cannot run, each operation by itself", () => {
    const { refusal, operations } = read(
      { query: "{ nothing }" },
      { query: "{" },
      { query: "{ __typename }" },
      { query: "query A { __typename } query B { __typename }" },
      null,
    );
    expect(refusal).toBeNull();
    expect(operations.map((each) => (isValid(each) ? 0 : each.errors.length))).toEqual([1, 1, 0, 1, 1]);
  });

  const parameters: readonly { readonly sent: unknown; readonly code: string; readonly why: string }[] = [
    { sent: { query: 1 }, code: "BAD_REQUEST", why: "no text" },
    { sent: { query: ["{ __typename }"] }, code: "BAD_REQUEST", why: "a list of texts" },
    { sent: { query: "{ __typename }", variables: [] }, code: "BAD_REQUEST", why: "variables have names" },
    { sent: { query: "{ __typename }", variables: "{}" }, code: "BAD_REQUEST", why: "JSON within JSON" },
    { sent: { query: "{ __typename }", operationName: 1 }, code: "BAD_REQUEST", why: "a name is a text" },
    { sent: { query: "{ __typename }", extensions: "x" }, code: "BAD_REQUEST", why: "extensions have names" },
    {
      sent: { query: "{ __typename }", more: 1 },
      code: "BAD_REQUEST",
      why: "an unknown parameter is a typo",
    },
    { sent: null, code: "BAD_REQUEST", why: "nothing" },
    { sent: 1, code: "BAD_REQUEST", why: "a number" },
    { sent: "{ __typename }", code: "BAD_REQUEST", why: "the bare document" },
    { sent: [], code: "BAD_REQUEST", why: "a batch in a batch" },
    { sent: {}, code: "BAD_REQUEST", why: "no query" },
    { sent: { query: "" }, code: "BAD_REQUEST", why: "an empty query" },
    {
      sent: { extensions: { persistedQuery: { version: 1, sha256Hash: "x" } } },
      code: "PERSISTED_QUERY_NOT_FOUND",
      why: "Apollo's and urql's persisted query links send the document after this answer",
    },
    { sent: { extensions: { persistedQuery: 1 } }, code: "BAD_REQUEST", why: "no persisted query either" },
  ];

  test.each(parameters)("is not even parsed when its parameters are $sent: $why", ({ sent, code }) => {
    const { refusal, operations, parsed } = read(sent);
    expect({ refusal, parsed }).toEqual({ refusal: null, parsed: 0 });
    expect(operations).toMatchObject([{ errors: [{ code }] }]);
  });
});

describe("a text that was read before", () => {
  const query = "query ($a: Int!) { queues(first: $a) { edges { cursor } } }";
  const body = JSON.stringify({ query, variables: { a: 1 } });
  const inBatch = JSON.stringify([{ query, variables: { a: 1 } }, { query: "{ __typename }" }]);
  const target = `/graphql?query=${encodeURIComponent("{ __typename }")}`;
  const event = 'recordEvents(events: [{ type: ENQUEUED, queue: "a", jobId: 1 }]) { accepted }';
  const rows: readonly { readonly sent: Sent; readonly isKept: boolean; readonly why: string }[] = [
    { sent: { body }, isKept: true, why: "clients ask the same again and again" },
    { sent: { body: inBatch }, isKept: true, why: "a batch of queries is as good" },
    { sent: { target }, isKept: true, why: "the target of a GET is a text" },
    { sent: { params: { query } }, isKept: false, why: "what is parsed has no text" },
    {
      sent: { body: JSON.stringify({ query: `mutation { ${event} }` }) },
      isKept: false,
      why: "no two batches of events are the same",
    },
    {
      sent: { body: JSON.stringify({ query: 'subscription { queueLatency(queues: "a") { queue } }' }) },
      isKept: false,
      why: "it is sent once",
    },
    { sent: { body: '{"query":"{ nothing }"}' }, isKept: false, why: "it is not valid" },
    { sent: { body: '{"query":1}' }, isKept: false, why: "it is not a request" },
    {
      sent: { body: JSON.stringify({ query: "#".padEnd(4_000) + query }) },
      isKept: false,
      why: "it is long",
    },
  ];

  test.each(rows)("is read again: $isKept, since $why", ({ sent, isKept }) => {
    const checked = vi.spyOn(guard, "begin");
    onTestFinished(() => checked.mockRestore());
    const reader = createOperationReader(
      { parse: guard.parse, validate: (document) => validate(schema, document) },
      guard,
      createPersistedDocuments(null),
    );
    const [first, second] = [0, 1].map(() => reader.read(reader.parse(sent)));
    expect(second?.map(isValid)).toEqual(first?.map(isValid));
    expect(checked).toHaveBeenCalledTimes(isKept ? 1 : 2);
  });

  test("and names long documents by their hashes is kept for as many characters as they have", () => {
    const parse = vi.fn(guard.parse);
    const reader = createOperationReader(
      { parse, validate: (document) => validate(schema, document) },
      guard,
      createPersistedDocuments(null),
    );
    const long = `{ __typename }${" ".repeat(20_000)}`;
    const documentId = hash("sha256", long);
    const parsedBy = (sent: object) => {
      parse.mockClear();
      expect(reader.read(reader.parse({ body: JSON.stringify(sent) })).every(isValid)).toBe(true);
      return parse.mock.calls.length;
    };
    parsedBy({ query: long, documentId });
    // 25 of them are half a million characters.
    const named = Array.from({ length: 30 }, (_, variable) => ({ documentId, variables: { variable } }));
    expect(named.map(parsedBy)).toEqual(Array(30).fill(1));
    expect(parsedBy(named[29] as object)).toBe(0);
    expect(parsedBy(named[0] as object)).toBe(1);
    // What would fill the cache by itself is not kept.
    const batch = Array(5).fill({ documentId });
    expect([parsedBy(batch), parsedBy(batch), parsedBy(named[29] as object)]).toEqual([5, 5, 0]);
  });

  test("is not that of another transport", () => {
    const reader = createOperationReader(
      { parse: guard.parse, validate: (document) => validate(schema, document) },
      guard,
      createPersistedDocuments(null),
    );
    expect(reader.read(reader.parse({ target })).every(isValid)).toBe(true);
    expect(() => reader.parse({ body: target })).toThrow("expected the body to be JSON");
  });

  test("has the key of all queries that ask the same, and of no others", () => {
    const parsed = new Map<string, DocumentNode>();
    const parse = (source: string) => parsed.get(source) ?? guard.parse(source);
    for (const source of [query, `${query} `]) parsed.set(source, guard.parse(source));
    const reader = createOperationReader(
      { parse, validate: (document) => validate(schema, document) },
      guard,
      createPersistedDocuments(null),
    );
    const keyOf = (params: object) => {
      const [read] = reader.read(reader.parse({ body: JSON.stringify(params) }));
      return read !== undefined && isValid(read) ? read.operation.key : undefined;
    };
    const key = keyOf({ query, variables: { a: 1 } });
    expect(key).toBeDefined();
    expect(keyOf({ variables: { a: 1 }, extensions: {}, query })).toBe(key);
    for (const other of [
      { query, variables: { a: 2 } },
      { query: `${query} `, variables: { a: 1 } },
    ])
      expect(keyOf(other)).not.toBe(key);
  });
});
