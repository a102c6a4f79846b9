import { type ExecutionResult, GraphQLError, Source } from "graphql";
import { describe, expect, test } from "vitest";
import { briefErrors, briefResult, useBriefErrors } from "../../src/server/use-brief-errors.ts";

const options = { maxErrors: 5, introspection: true };
const brief = (error: GraphQLError, more: Partial<typeof options> = {}) =>
  briefErrors([error], { ...options, ...more })[0] as GraphQLError;

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

  test("tells at most two places", () => {
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

test("an answer has at most so many errors, the first ones", () => {
  const errors = Array.from({ length: 9 }, (_, i) => new GraphQLError(`error ${i}`));
  const result: ExecutionResult = { data: { a: 1 }, errors, extensions: { cost: 1 } };
  expect(briefResult(result, options)).toEqual({ ...result, errors: errors.slice(0, 5) });
  expect(briefResult({ data: null }, options)).toEqual({ data: null });
});

describe("in an answer over HTTP", () => {
  const long = new GraphQLError("x".repeat(301));
  /** What the plugin makes of a result. */
  function processed(result: unknown): unknown {
    let answer = result;
    const { onResultProcess } = useBriefErrors(options);
    void onResultProcess?.({
      result,
      setResult(briefed: unknown) {
        answer = briefed;
      },
      resultProcessor() {},
    } as unknown as Parameters<NonNullable<typeof onResultProcess>>[0]);
    return answer;
  }

  test("every push of a stream is brief", async () => {
    async function* pushes() {
      yield { errors: [long] };
      yield { data: 1 };
      yield { errors: Array(9).fill(long) };
    }
    const briefed: ExecutionResult[] = [];
    for await (const push of processed(pushes()) as AsyncIterable<ExecutionResult>) briefed.push(push);
    expect(briefed.map(({ errors = [] }) => errors.map(({ message }) => message.length))).toEqual([
      [300],
      [],
      Array(5).fill(300),
    ]);
  });

  test.each([
    { operations: 2, each: 3 },
    { operations: 5, each: 1 },
    { operations: 50, each: 1 },
  ])("$operations operations of a batch share the errors: $each for each", ({ operations, each }) => {
    const batch = Array(operations).fill({ errors: Array(9).fill(long) });
    const answers = processed(batch) as ExecutionResult[];
    expect(answers.map(({ errors }) => errors?.length)).toEqual(Array(operations).fill(each));
    expect(processed([])).toEqual([]);
  });
});
