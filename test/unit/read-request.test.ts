import { GraphQLError, validate } from "graphql";
import { describe, expect, test, vi } from "vitest";
import { schema } from "../../src/api/schema.ts";
import type { SentParams } from "../../src/core/request-guard.ts";
import { createRequestGuard } from "../../src/limits/request-guard.ts";
import { type Parser, readRequest } from "../../src/server/read-request.ts";
import { attacks, repeat } from "../support/hostile-documents.ts";

const guard = createRequestGuard({ maxQueues: 100, maxEvents: 1_000, introspection: true });

/** Reads as the server does, and counts what it takes. */
function read(...batch: readonly SentParams[]) {
  const parse = vi.fn(guard.parse);
  const validated = vi.fn(validate);
  const { refusal, operations } = readRequest(
    batch,
    (_, budget): Parser => ({
      schema,
      parse(source) {
        const document = parse(source);
        budget.spend(document);
        return document;
      },
      validate: validated,
    }),
    guard,
  );
  return { refusal, operations, parsed: parse.mock.calls.length, validated: validated.mock.calls.length };
}

/** Refused before the document is taken apart, by the code they get. */
const byTheirSize: readonly string[] = attacks
  .filter(({ query, variables }) => query.length > 620_000 || /\n{30000}|#\n#/.test(query) || variables)
  .map(({ attack }) => attack);

describe("an attack is refused before the step that it would make dear", () => {
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

  test("comes with its document, name and variables", () => {
    const { refusal, operations } = read({ query, operationName: "A", variables: { a: 1 } });
    expect(refusal).toBeNull();
    expect(operations).toMatchObject([
      {
        operation: { document: { kind: "Document" }, operationName: "A", variables: { a: 1 } },
        problems: [],
      },
    ]);
    expect(read({ query, operationName: null, variables: null }).operations).toMatchObject([
      { operation: { operationName: null, variables: {} } },
    ]);
  });

  test("comes with what GraphQL says where it is not valid, each operation by itself", () => {
    const { refusal, operations } = read(
      { query: "{ nothing }" },
      { query: "{" },
      { query: "{ __typename }" },
    );
    expect(refusal).toBeNull();
    expect(operations.map(({ operation, problems }) => [operation !== null, problems.length])).toEqual([
      [false, 1],
      [false, 1],
      [true, 0],
    ]);
    for (const { problems } of operations) {
      for (const problem of problems) expect(problem).toBeInstanceOf(GraphQLError);
    }
  });

  test.each([
    { query: 1 },
    { query: ["{ __typename }"] },
    { query: "{ __typename }", variables: [] },
    { query: "{ __typename }", variables: "{}" },
    { query: "{ __typename }", operationName: 1 },
    { query: "{ __typename }", extensions: "x" },
    null,
    1,
    "{ __typename }",
    [],
    {},
  ])("is left to Yoga, and not even parsed, when it is %j", (params) => {
    expect(read(params as SentParams)).toEqual({
      refusal: null,
      operations: [{ operation: null, problems: [] }],
      parsed: 0,
      validated: 0,
    });
  });
});
