import { execute, GraphQLInt, GraphQLList, GraphQLObjectType, GraphQLSchema, parse } from "graphql";
import { expect, test } from "vitest";
import { inSlices } from "../../src/api/in-slices.ts";

/** Takes a tenth of a millisecond to write one element. */
function busily<T>(value: T): T {
  const untilMs = performance.now() + 0.1;
  while (performance.now() < untilMs);
  return value;
}

const Element = new GraphQLObjectType<number>({
  name: "Element",
  fields: { value: { type: GraphQLInt, resolve: busily } },
});
const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: "Query",
    fields: {
      numbers: {
        type: new GraphQLList(Element),
        args: { count: { type: GraphQLInt } },
        resolve: (_, { count }) => inSlices(Array.from({ length: count }, (_, i) => i)),
      },
    },
  }),
});

const run = (query: string) => execute({ schema, document: parse(query) });

test("the event loop turns while long lists are written, which share its turns", async () => {
  let turns = 0;
  let isOver = false;
  const turn = () => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  const result = await run("{ a: numbers(count: 600) { value } b: numbers(count: 400) { value } }");
  isOver = true;
  expect(result.errors).toBeUndefined();
  // 100 ms of work in slices of 5 ms, each of which begins within them.
  expect(turns).toBeGreaterThan(10);
  const values = (count: number) => Array.from({ length: count }, (_, value) => ({ value }));
  expect(result.data).toEqual({ a: values(600), b: values(400) });
});

test("a short list is a list", () => {
  const short = [1, 2, 3];
  expect(inSlices(short)).toBe(short);
  expect(run("{ numbers(count: 3) { value } }")).toEqual({
    data: { numbers: [{ value: 0 }, { value: 1 }, { value: 2 }] },
  });
});
