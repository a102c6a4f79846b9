import { GraphQLError, Source } from "graphql";
import { describe, expect, test } from "vitest";
import { boundErrors, boundResult } from "../../src/server/bounded-errors.ts";

const options = { maxErrors: 5, introspection: true };
const brief = (error: GraphQLError, more: Partial<typeof options> = {}) =>
  boundErrors([error], { ...options, ...more })[0] as GraphQLError;

describe("an error in an answer", () => {
  test("is what it was while it is short", () => {
    const error = new GraphQLError("x".repeat(300), { extensions: { code: "BAD_USER_INPUT" } });
    expect(brief(error)).toBe(error);
  });

  test("has at most 300 characters, and all else that it had", () => {
    const original = new Error("why");
    const extensions = { code: "BAD_USER_INPUT", http: { status: 400 } };
    const error = new GraphQLError("x".repeat(301), { path: ["a", 1], originalError: original, extensions });
    const { message, path, originalError, extensions: kept } = brief(error);
    expect(message).toBe(`${"x".repeat(299)}…`);
    expect({ path, originalError, kept }).toEqual({
      path: ["a", 1],
      originalError: original,
      kept: extensions,
    });
  });

  test("has at most two locations", () => {
    const source = new Source("{ a a a a }");
    const error = new GraphQLError("conflict", { source, positions: [2, 4, 6, 8] });
    expect(brief(error).locations).toEqual([
      { line: 1, column: 3 },
      { line: 1, column: 5 },
    ]);
  });

  test.each([
    { message: 'Cannot query field "a". Did you mean "b"?', brief: 'Cannot query field "a".' },
    {
      message: 'Value " Did you mean x" is odd. Did you mean "b", "c", or "d"?',
      brief: 'Value " Did you mean x" is odd.',
    },
    { message: "No suggestion.", brief: "No suggestion." },
    { message: `"${"x".repeat(1_000)}" is unknown. Did you mean "b"?`, brief: `"${"x".repeat(298)}…` },
  ])("suggests nothing where introspection is off: $brief", ({ message, brief: expected }) => {
    expect(brief(new GraphQLError(message), { introspection: false }).message).toBe(expected);
    if (message.length < 300) expect(brief(new GraphQLError(message)).message).toBe(message);
  });
});

test("an answer has at most five errors, the first ones", () => {
  const errors = Array.from({ length: 9 }, (_, i) => new GraphQLError(`error ${i}`));
  expect(boundResult({ data: "{}", errors }, options)).toEqual({ data: "{}", errors: errors.slice(0, 5) });
  expect(boundResult({ data: "null" }, options)).toEqual({ data: "null" });
});
