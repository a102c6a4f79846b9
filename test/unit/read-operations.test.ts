import { type DocumentNode, validate } from "graphql";
import { describe, expect, test, vi } from "vitest";
import { schema } from "../../src/api/schema.ts";
import type { AppError } from "../../src/core/errors.ts";
import { createRequestGuard } from "../../src/limits/request-guard.ts";
import { isValid, type ReadOperation, readOperations } from "../../src/server/read-operations.ts";
import { attacks, repeat } from "../support/hostile-documents.ts";

const guard = createRequestGuard({ maxQueues: 100, maxEvents: 1_000, introspection: true });

/** Reads as the server does, and counts what it takes. */
function read(...sent: readonly unknown[]) {
  const parse = vi.fn(guard.parse);
  const validated = vi.fn((document: DocumentNode) => validate(schema, document));
  let refusal: AppError | null = null;
  let operations: readonly ReadOperation[] = [];
  try {
    operations = readOperations(sent, { parse, validate: validated }, guard);
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
      code: "PERSISTED_QUERY_NOT_SUPPORTED",
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
