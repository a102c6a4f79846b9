import fc from "fast-check";
import {
  buildSchema,
  defaultFieldResolver,
  type ExecutionArgs,
  execute as executeByGraphQL,
  type GraphQLError,
  type GraphQLResolveInfo,
  type GraphQLScalarType,
  getIntrospectionQuery,
  getNamedType,
  getOperationAST,
  getVariableValues,
  isLeafType,
  isObjectType,
  parse,
  specifiedRules,
  validate,
} from "graphql";
import { describe, expect, test } from "vitest";
import { schema as ownSchema } from "../../src/api/schema.ts";
import { missingSnapshot } from "../../src/core/snapshot.ts";
import { execute } from "../../src/executor/execute.ts";

/** Every form of a type, and resolvers that answer at once, later, with nothing, or with an error. */
const schema = buildSchema(`
  enum Color { RED GREEN }
  input Deep { x: Int = 7 list: [Int!] color: Color deep: Deep }
  scalar Odd
  interface Node { id: ID! self: Node }
  union Thing = A | B
  type A implements Node {
    id: ID! self: Node a: A n(x: Int = 1, color: Color): Int must: Int! text: String color: Color odd: Odd flag: Boolean
    list: [A!] loose: [A] strict: [A!]! numbers: [Int] matrix: [[Int!]!] thing: Thing things: [Thing]
    took(deep: Deep = { x: 1, deep: { color: GREEN } }, deeps: [Deep!], x: Int): String
  }
  type B implements Node { id: ID! self: Node b: String must: Int! color: Color! deep: A! }
  type Query { a: A b: B must: A! node: Node thing: Thing things: [Thing!] n(x: Int!): Int }
  type Mutation { a: A b: B n(x: Int!): Int }
`);
const odd = schema.getType("Odd") as GraphQLScalarType;
odd.serialize = (value) => (value === "nothing" ? undefined : { odd: [value, null, "\u2028\ud800"] });

/** What a field of a type is resolved to, by a number that stands for chance. */
function resultOf({ returnType, path }: GraphQLResolveInfo, chance: number, isAtOnce: boolean): unknown {
  const name = String(returnType);
  const pick = (...values: unknown[]) => values[chance % values.length];
  const object = { chance };
  const thing = { __typename: pick("A", "A", "B", "Color", undefined) };
  if (chance % 11 === 0) return null;
  if (chance % 13 === 0) throw new Error(`thrown at ${path.key}`);
  if (chance % 17 === 0) return new Error(`returned at ${path.key}`);
  if (name.startsWith("[[")) return pick([[1, 2], []], [[1, null]], [null], [["x"]], "no list");
  if (/^\[Int/.test(name)) return pick([1, null, Promise.resolve(2)], new Set([1]), [rejected()]);
  // graphql leaves a rejection unhandled when an element after a pending one is wrong at once.
  if (/^\[Thing/.test(name))
    return isAtOnce ? [pick(thing, null), thing] : [pick(thing, null, Promise.resolve(thing))];
  if (name.startsWith("[")) {
    const first = pick(object, null, new Error("item"));
    return isAtOnce ? [first, object, object] : [pick(first, Promise.resolve(first))];
  }
  if (/^(Thing|Node)/.test(name)) return thing;
  if (/^Int/.test(name)) return pick(0, -1, 2 ** 31, "5", 1.5, true);
  if (/^(String|ID)/.test(name)) return pick("", 'a "quoted" \n\u2028', "é€😀", 5, true, {});
  if (/^Color/.test(name)) return pick("RED", "BLUE");
  if (/^Boolean/.test(name)) return pick(true, false, "x");
  if (/^Odd/.test(name)) return pick("value", "nothing");
  return object;
}

/** Most of these are never looked at. */
function rejected(): Promise<never> {
  const promise = Promise.reject(new Error("item"));
  promise.catch(() => {});
  return promise;
}

function hash(text: string): number {
  let sum = 7;
  for (let i = 0; i < text.length; i++) sum = (sum * 31 + text.charCodeAt(i)) % 1_000_003;
  return sum;
}

for (const type of Object.values(schema.getTypeMap())) {
  if (!isObjectType(type) || type.name.startsWith("__")) continue;
  for (const field of Object.values(type.getFields())) {
    field.resolve = (_, args, seed, info) => {
      let at = "";
      for (let each: typeof info.path | undefined = info.path; each; each = each.prev) at += ` ${each.key}`;
      const chance = hash(`${seed} ${at} ${JSON.stringify(args)}`);
      const isAtOnce = seed % 2 === 0;
      if (info.fieldName === "took") return JSON.stringify(args);
      if (isAtOnce || chance % 3 !== 0) return resultOf(info, chance, isAtOnce);
      return Promise.resolve().then(() => resultOf(info, chance, isAtOnce));
    };
  }
}

const fields: Readonly<Record<string, readonly string[]>> = {
  Query: [
    ...["a", "b", "must", "node", "thing", "things", "n(x: 2)", "n(x: $x)", "x: n(x: 3)"],
    '__type(name: "A") { name kind fields(includeDeprecated: $yes) { name args { name defaultValue type { name } } } }',
    "__schema { queryType { name } types { kind possibleTypes { name } enumValues { name } inputFields { name } } }",
  ],
  Mutation: ["a", "b", "n(x: 2)", "x: n(x: $x)"],
  A: [
    ...[
      "id",
      "self",
      "a",
      "a",
      "n",
      "n2: n(x: $x)",
      "n3: n(color: RED)",
      "must",
      "text",
      "color",
      "odd",
      "flag",
    ],
    ...["list", "loose", "strict", "numbers", "matrix", "thing", "things"],
    ...[
      "took",
      "took2: took(x: $x, deep: null)",
      "took3: took(deep: { x: $x, deep: { list: [1, $x], color: $color } })",
    ],
    ...[
      "took4: took(deep: $deep)",
      "took5: took(deeps: [{ deep: $deep }, $given], x: 3)",
      "took6: took(deeps: $given)",
    ],
  ],
  B: ["id", "self", "b", "must", "color", "deep"],
  Node: ["id", "self"],
  Thing: [],
};
const typeBelow: Readonly<Record<string, string>> = {
  ...{ self: "Node", a: "A", list: "A", loose: "A", strict: "A", thing: "Thing", things: "Thing", deep: "A" },
  ...{ b: "B", node: "Node" },
};

function selection(type: string, depth: number): fc.Arbitrary<string> {
  const condition = fc.constantFrom(
    ...["", "", "", " @skip(if: $yes)", " @include(if: $no)", " @include(if: $yes)"],
    ...[" @skip(if: $no) @include(if: $yes)", " @skip(if: false)", " @include(if: false)"],
  );
  const leafOrObject = fc
    .constantFrom("__typename", "name: __typename", ...(fields[type] ?? []))
    .chain((name) => {
      if (name.endsWith("}")) return fc.constant(name);
      const bare = name.replace(/^\w+: /, "").replace(/\(.*/, "");
      const below =
        type === "A" && bare === "b" ? undefined : type === "B" && bare === "b" ? undefined : typeBelow[bare];
      const isLeaf = below === undefined || (type === "B" && bare === "b");
      if (isLeaf) return condition.map((text) => name + text);
      if (depth === 0) return fc.constant("__typename");
      return fc
        .tuple(selection(below, depth - 1), condition)
        .map(([inner, text]) => `${name}${text} ${inner}`);
    });
  const onType =
    depth === 0
      ? []
      : [
          fc
            .tuple(fc.constantFrom("A", "B", "Node"), condition)
            .chain(([on, text]) => selection(on, depth - 1).map((inner) => `... on ${on}${text} ${inner}`)),
          fc.tuple(condition, selection(type, depth - 1)).map(([text, inner]) => `...${text} ${inner}`),
        ];
  const isAbstract = type === "Node" || type === "Thing";
  const spread = isAbstract || type === "A" ? [fc.constantFrom("...OnNode", "...OnA")] : [];
  return fc
    .array(fc.oneof({ weight: 4, arbitrary: leafOrObject }, ...(isAbstract ? onType : []), ...spread), {
      minLength: 1,
      maxLength: 5,
    })
    .map((all) => `{ ${all.join(" ")} }`);
}

const fragments =
  "fragment OnNode on Node { id self { __typename } ... on A @skip(if: $no) { flag } } fragment OnA on A { text list { id ...OnNode @include(if: $yes) } }";
const declarations =
  "$x: Int = 4, $yes: Boolean = true, $no: Boolean = false, $color: Color, $deep: Deep, $given: Deep = { x: 2 }";
const documents = fc
  .constantFrom("query", "mutation")
  .chain((kind) =>
    selection(kind === "query" ? "Query" : "Mutation", 3).map(
      (text) => `${kind} (${declarations}) ${text} ${fragments}`,
    ),
  );
/** As a client sends them; absent ones have their defaults. */
const deep = fc.record(
  {
    x: fc.constantFrom(null, 5),
    list: fc.constantFrom(null, 6, [7, 8]),
    color: fc.constantFrom("RED", null),
    deep: fc.constantFrom({ x: 9 }, null),
  },
  { requiredKeys: [] },
);
const anyVariables = fc.record(
  {
    ...{ x: fc.constantFrom(0, 3, null), color: fc.constantFrom("GREEN", null), deep, given: deep },
    ...{ yes: fc.constantFrom(true, true, false, null), no: fc.constantFrom(true, false, false, null) },
  },
  { requiredKeys: [] },
);

/**
 * Errors by the null that each has made. Of several that make the same one, as in a list of which two elements are missing, which are
 * reported is a matter of time. The words about values of a wrong type are each library's own, and clients never see them.
 */
function nullsOf(data: unknown, errors: readonly GraphQLError[] = []): readonly string[] {
  const nulls = errors.map((error) => {
    let value = data;
    const path = (error.path ?? []).filter((key) => {
      if (value === null) return false;
      value = (value as Record<string, unknown>)[key];
      return true;
    });
    expect(value).toBeNull();
    const isItsOwn = path.length === error.path?.length;
    const message = /^[Ee]xpected|^Abstract|^Schema|^Runtime/.test(error.message) ? "" : error.message;
    return JSON.stringify([path, isItsOwn && [message, error.locations]]);
  });
  return [...new Set(nulls)].sort();
}

/** As resolvers get them. */
function coerced({
  schema,
  document,
  variableValues = {},
}: ExecutionArgs): Readonly<Record<string, unknown>> {
  const definitions = getOperationAST(document)?.variableDefinitions ?? [];
  const { coerced, errors } = getVariableValues(schema, definitions, variableValues ?? {});
  if (coerced === undefined) throw new Error(`expected variables that fit, got ${errors?.join()}`);
  return coerced;
}

const rules = specifiedRules.filter(({ name }) => !name.startsWith("NoUnused"));

async function results(args: ExecutionArgs) {
  const expected = await executeByGraphQL(args);
  const { data, errors } = await execute({ ...args, variableValues: coerced(args) });
  return { expected, data: JSON.parse(data), errors };
}

describe("executes as graphql does", () => {
  test("whatever is selected, and whatever resolvers answer", async () => {
    let compared = 0;
    const run = fc.asyncProperty(
      documents,
      anyVariables,
      anyVariables,
      fc.nat(),
      async (text, first, second, seed) => {
        const document = parse(text);
        if (validate(schema, document, rules).length > 0) return;
        compared += 1;
        // More than once, since the later runs find what the first has found out, which is to fit other variables too.
        for (const variableValues of [first, second, first]) {
          const args = { schema, document, variableValues, contextValue: seed };
          const { expected, data, errors } = await results(args);
          expect(data).toEqual(JSON.parse(JSON.stringify(expected.data)));
          expect(nullsOf(data, errors)).toEqual(nullsOf(data, expected.errors));
        }
      },
    );
    await fc.assert(run, { numRuns: 500 });
    expect(compared).toBeGreaterThan(100);
  });

  test("a list in which one element fails later, and the next one at once", async () => {
    const later = buildSchema("type Item { now: Int! later: Int! } type Query { items: [Item!] }");
    const failing = { now: 1, later: () => Promise.reject(new Error("later")) };
    const items = [failing, { now: null, later: 1 }];
    const document = parse("{ items { now later } }");
    const { data, errors = [] } = await execute({ schema: later, document, rootValue: { items } });
    expect(data).toBe('{"items":null}');
    expect(errors.map(({ path }) => path?.join("."))).toContain("items.1.now");
  });

  test("what is asked of the schema", async () => {
    const { expected, data } = await results({ schema: ownSchema, document: parse(getIntrospectionQuery()) });
    expect(data).toEqual(JSON.parse(JSON.stringify(expected.data)));
  });
});

/** Takes a tenth of a millisecond. */
function busily<T>(value: T): T {
  const untilMs = performance.now() + 0.1;
  while (performance.now() < untilMs);
  return value;
}

test("the event loop turns while long lists are written, which share its turns", async () => {
  const numbers = buildSchema("type Element { value: Int } type Query { numbers(count: Int!): [Element] }");
  const element = numbers.getType("Element");
  if (!isObjectType(element)) throw new Error("Element is an object");
  Object.assign(element.getFields().value ?? {}, { resolve: busily });
  const rootValue = { numbers: ({ count }: { count: number }) => Array.from({ length: count }, (_, i) => i) };
  let turns = 0;
  let isOver = false;
  const turn = () => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  const document = parse("{ a: numbers(count: 600) { value } b: numbers(count: 400) { value } }");
  const { data, errors } = await execute({ schema: numbers, document, rootValue });
  isOver = true;
  expect(errors).toBeUndefined();
  // 100 ms of work in slices of 5 ms, each of which begins within them.
  expect(turns).toBeGreaterThan(10);
  const values = (count: number) => Array.from({ length: count }, (_, value) => ({ value }));
  expect(JSON.parse(data)).toEqual({ a: values(600), b: values(400) });
});

test("an element of a long list that fails while others are still to be written fails the list, and nothing else", async () => {
  const failing = buildSchema("type Element { now: Int later: Int! } type Query { elements: [Element!] }");
  const elements = Array.from({ length: 200 }, () => ({
    now: () => busily(1),
    later: () => Promise.reject(new Error("later")),
  }));
  const document = parse("{ elements { now later } }");
  const { data, errors } = await execute({ schema: failing, document, rootValue: { elements } });
  expect(data).toBe('{"elements":null}');
  expect(errors?.[0]?.message).toBe("later");
});

describe("JSON that is kept by its object", () => {
  const queueLatency = ownSchema.getType("QueueLatency");
  const fieldsOf = (type: unknown) => (isObjectType(type) ? Object.values(type.getFields()) : []);
  const leaves = fieldsOf(queueLatency).filter(
    ({ type, args }) => isLeafType(getNamedType(type)) && args.length === 0,
  );
  const snapshot = { ...missingSnapshot("mails", 0), latencyMs: 1_500, oldestSinceMs: 5 };
  const forbidden = new Proxy({}, { get: (_, name) => expect.fail(`reads ${String(name)} of the context`) });
  const ofSnapshot = leaves.filter(({ extensions }) => extensions.readsContext !== true);

  test.each(ofSnapshot)(
    "$name depends on nothing but its snapshot",
    ({ name, resolve = defaultFieldResolver }) => {
      expect(resolve(snapshot, {}, forbidden, { fieldName: name } as GraphQLResolveInfo)).not.toBeUndefined();
    },
  );

  test("is the same for another document, and another one for other names and other objects", async () => {
    const read = async () => [snapshot];
    const ask = async (fields: string, objects = read) => {
      const document = parse(`{ queueLatency(queues: ["mails"]) { ${fields} } }`);
      const contextValue = { tracker: { read: objects }, limits: { maxQueues: 1 } };
      const { data } = await execute({ schema: ownSchema, document, contextValue });
      return JSON.parse(data).queueLatency[0];
    };
    expect(await ask("queue latency")).toEqual({ queue: "mails", latency: 1.5 });
    expect(await ask("... on Node { ... on QueueLatency { queue } } latency")).toEqual({
      queue: "mails",
      latency: 1.5,
    });
    expect(await ask("latency: queue queue: latency")).toEqual({ queue: 1.5, latency: "mails" });
    expect(await ask("queue latency", async () => [{ ...snapshot, latencyMs: 0 }])).toEqual({
      queue: "mails",
      latency: 0,
    });
  });
});
