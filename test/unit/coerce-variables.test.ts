import fc from "fast-check";
import {
  buildSchema,
  getOperationAST,
  getVariableValues,
  type OperationDefinitionNode,
  parse,
} from "graphql";
import { expect, test } from "vitest";
import { schema } from "../../src/api/schema.ts";
import { coerceVariables } from "../../src/limits/coerce-variables.ts";

function operation(text: string): OperationDefinitionNode {
  return getOperationAST(parse(text)) ?? expect.unreachable();
}

function expectTheSame(
  of: typeof schema,
  node: OperationDefinitionNode,
  sent: Record<string, unknown>,
): void {
  const ours = coerceVariables(of, node, sent);
  const theirs = getVariableValues(of, node.variableDefinitions ?? [], sent, { maxErrors: 1 });
  expect(ours.coerced).toEqual(theirs.coerced);
  expect(ours.errors?.map(({ message }) => message)).toEqual(theirs.errors?.map(({ message }) => message));
}

const record = operation(
  "mutation ($events: [QueueEventInput!]!, $batchId: ID) { recordEvents(events: $events, batchId: $batchId) { early } }",
);
const time = fc.oneof(
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constant("soon"),
);
const event = fc.record(
  {
    type: fc.constantFrom("ENQUEUED", "DEQUEUED", "REMOVED", "LOST", null),
    queue: fc.oneof({ weight: 9, arbitrary: fc.string() }, { weight: 1, arbitrary: fc.jsonValue() }),
    jobId: fc.oneof({ weight: 9, arbitrary: fc.string() }, { weight: 1, arbitrary: fc.jsonValue() }),
    attempt: fc.oneof(fc.nat(), fc.constant(null), fc.double()),
    at: fc.oneof(time, fc.constant(null)),
    availableAt: time,
    more: fc.constant(1),
  },
  { requiredKeys: ["type", "queue", "jobId"] },
);

test("events become what graphql makes of them, or are refused in its words", () => {
  const plainly = fc.record(
    { type: fc.constant("ENQUEUED"), queue: fc.string(), jobId: fc.string(), at: time, attempt: fc.nat() },
    { requiredKeys: ["type", "queue", "jobId"] },
  );
  const events = fc.oneof(fc.array(plainly), fc.array(event, { maxLength: 3 }), event, fc.jsonValue());
  const sent = fc.record({ events, batchId: fc.jsonValue(), other: fc.nat() }, { requiredKeys: [] });
  fc.assert(fc.property(sent, (variables) => expectTheSame(schema, record, variables)));
});

const every = buildSchema(`
  input One @oneOf { a: Int b: String }
  input Inner { a: Int! = 3 b: [Int!] }
  input Outer { inner: Inner! one: One list: [[String]] }
  type Query { f(a: Int, b: Float!, c: Outer, d: [Boolean], e: One): Int }
`);

test("variables of any type, with and without defaults, become what graphql makes of them", () => {
  const node = operation(
    "query ($a: Int = 5, $b: Float!, $c: Outer, $d: [Boolean] = [true], $e: One, $constructor: Int) { f(a: $a, b: $b) }",
  );
  const outer = fc.record(
    {
      inner: fc.record(
        { a: fc.oneof(fc.integer(), fc.constant(null)), b: fc.jsonValue() },
        { requiredKeys: [] },
      ),
      one: fc.oneof(fc.constantFrom({ a: 1 }, { a: 1, b: "b" }, { a: null }, {}), fc.jsonValue()),
      list: fc.jsonValue(),
    },
    { requiredKeys: ["inner"] },
  );
  const sent = fc.record(
    {
      a: fc.oneof(fc.integer(), fc.jsonValue()),
      b: fc.oneof(fc.double(), fc.jsonValue()),
      c: fc.oneof(outer, fc.jsonValue()),
      d: fc.oneof(fc.array(fc.boolean()), fc.boolean(), fc.jsonValue()),
      e: fc.oneof(fc.constantFrom({ a: 1 }, { a: 1, b: "b" }, { a: null }, {}), fc.jsonValue()),
    },
    { requiredKeys: ["b"] },
  );
  fc.assert(fc.property(sent, (variables) => expectTheSame(every, node, variables)));
});

test("a variable may have the name of what every object has", () => {
  const node = operation("query ($__proto__: Outer, $toString: Int, $b: Float!) { f(c: $__proto__, b: $b) }");
  for (const text of [
    '{ "__proto__": { "inner": {} }, "b": 1 }',
    '{ "b": 1 }',
    '{ "__proto__": 3, "b": 1 }',
  ]) {
    expectTheSame(every, node, JSON.parse(text));
  }
  const { coerced } = coerceVariables(every, node, JSON.parse('{ "__proto__": { "inner": {} }, "b": 1 }'));
  expect(Object.keys(coerced ?? {})).toEqual(["__proto__", "b"]);
});
