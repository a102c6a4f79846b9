import { getOperationAST, parse } from "graphql";
import { expect, test } from "vitest";
import { createRequestSchema } from "../../src/api/request-schema.ts";
import { schema } from "../../src/api/schema.ts";
import { coerceVariables } from "../../src/limits/coerce-variables.ts";
import { deferredVariables } from "../../src/limits/deferred-variables.ts";

const requestSchema = createRequestSchema(schema);

test.each([
  {
    text: "mutation { recordEvents(events: [{ jobId: $a, at: $b }]) { early } }",
    names: ["a", "b"],
    why: "in events",
  },
  { text: "mutation { recordEvents(events: { jobId: $a }) { early } }", names: ["a"], why: "in one event" },
  {
    text: "mutation { recordEvents(events: [{ jobId: [$a] }]) { early } }",
    names: ["a"],
    why: "deep in one",
  },
  {
    text: "mutation { recordEvents(events: $a, batchId: $b) { early } }",
    names: [],
    why: "in place of events",
  },
  { text: "mutation { recordEvents(events: [$a, { jobId: $b }]) { early } }", names: ["b"], why: "both" },
  {
    text: "mutation { recordEvents(events: [{ jobId: $a, queue: $b }], batchId: $a) { early } }",
    names: ["b"],
    why: "one is used elsewhere, too",
  },
  {
    text: "mutation { ...F } fragment F on Mutation { recordEvents(events: [{ jobId: $a }]) { early } }",
    names: ["a"],
    why: "in a fragment",
  },
  {
    text: "mutation { recordEvents(events: [{ jobId: $a }]) { early } ...F } fragment F on Mutation { forgetQueue(queue: $a) }",
    names: [],
    why: "a fragment uses it elsewhere",
  },
  {
    text: 'mutation { removeWaitingJobs(queue: "a", jobs: [{ jobId: $a }]) }',
    names: [],
    why: "in what GraphQL checks",
  },
  { text: "query { queueLatency(queues: [$a]) { queue } }", names: [], why: "in a query" },
])("$names wait to be coerced: $why", ({ text, names }) => {
  expect([...deferredVariables(requestSchema, parse(text))].sort()).toEqual(names);
});

test("variables that wait are taken as they were sent, beside others that graphql has to look at", () => {
  const document = parse(`mutation ($ids: [String!]!, $at: DateTime, $id: ID!, $attempt: Int = 3) {
    recordEvents(events: [{ jobId: $id, at: $at, attempt: $attempt }]) { early }
    removeWaitingJobs(queue: $ids, jobs: []) 
  }`);
  const node = getOperationAST(document) ?? expect.unreachable();
  const deferred = deferredVariables(requestSchema, document);
  // A single value for a list is left to graphql.
  expect(coerceVariables(requestSchema, node, { ids: "a", at: "soon", id: 1.5 }, deferred)).toEqual({
    coerced: { ids: ["a"], at: "soon", id: 1.5, attempt: 3 },
  });
  for (const sent of [
    { ids: [], at: "soon" },
    { ids: [], id: null },
    { ids: 5, id: "a" },
  ]) {
    expect(coerceVariables(requestSchema, node, sent, deferred).errors).toHaveLength(1);
  }
});
