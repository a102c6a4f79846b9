import fc from "fast-check";
import { GraphQLError, getIntrospectionQuery, Lexer, parse } from "graphql";
import { describe, expect, test, vi } from "vitest";
import { schema } from "../../src/api/schema.ts";
import { AppError, type ErrorCode } from "../../src/core/errors.ts";
import { shapeOf } from "../../src/limits/document-bounds.ts";
import { requestBounds } from "../../src/limits/request-bounds.ts";
import { createRequestGuard } from "../../src/limits/request-guard.ts";

const maxEvents = 1_000;
const bounds = requestBounds(maxEvents);
const guard = createRequestGuard({ maxQueues: 100, maxEvents, introspection: true });

/** The code with which something is refused; null when it passes. */
function refusalOf(look: () => unknown): string | null {
  try {
    look();
    return null;
  } catch (error) {
    if (error instanceof AppError) return error.code;
    throw error;
  }
}

/** Looks at documents as those of one request. */
function read(...documents: readonly string[]): void {
  const budget = guard.begin(documents.map((query) => ({ query })));
  for (const document of documents) budget.spend(guard.parse(document));
}

const repeat = (count: number, text: (index: number) => string): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(" ");

interface DocumentRow {
  readonly bound: Exclude<keyof typeof bounds, "bodyBytes" | "errors">;
  readonly code: ErrorCode;
  /** A document with this number of what is bounded. */
  readonly document: (count: number) => string;
  readonly why: string;
}

const documentRows: readonly DocumentRow[] = [
  {
    bound: "characters",
    code: "DOCUMENT_TOO_LARGE",
    document: (count) => "{ a }".padEnd(count),
    why: "half a megabyte of blanks is looked at one by one",
  },
  {
    bound: "lines",
    code: "DOCUMENT_TOO_LARGE",
    document: (count) => `{ a }${"\n".repeat(count - 1)}`,
    why: "as comments are",
  },
  {
    bound: "lines",
    code: "DOCUMENT_TOO_LARGE",
    document: (count) => `{ a }${"\r".repeat(count - 1)}`,
    why: "a carriage return ends a line, too",
  },
  {
    bound: "lines",
    code: "DOCUMENT_TOO_LARGE",
    document: (count) => `{ a } ${"#\n".repeat(count - 1)}`,
    why: "comments are tokens that are not counted",
  },
  {
    bound: "tokens",
    code: "DOCUMENT_TOO_LARGE",
    // Five tokens, and lists of at most 2,000.
    document: (count) => {
      const lists = Math.ceil(count / 1_500);
      const values = count - 5 - 4 * lists;
      const sizes = Array.from({ length: lists }, (_, i) => Math.floor((values + i) / lists));
      return `{ a(${sizes.map((size, i) => `b${i}: [${"1 ".repeat(size)}]`).join(" ")}) }`;
    },
    why: "each becomes a node that every rule looks at",
  },
  {
    bound: "depth",
    code: "DOCUMENT_TOO_DEEP",
    document: (count) => `${"{ a ".repeat(count)}${"}".repeat(count)}`,
    why: "the parser calls itself for each selection",
  },
  {
    bound: "depth",
    code: "DOCUMENT_TOO_DEEP",
    document: (count) => `{ ${"... { ".repeat(count - 1)} a ${"}".repeat(count)}`,
    why: "inline fragments are selections",
  },
  {
    bound: "depth",
    code: "DOCUMENT_TOO_DEEP",
    document: (count) => `{ a(b: ${"[".repeat(count - 2)}${"]".repeat(count - 2)}) }`,
    why: "and for each list",
  },
  {
    bound: "depth",
    code: "DOCUMENT_TOO_DEEP",
    document: (count) => `{ a(b: ${"{ c: ".repeat(count - 2)} 1 ${"}".repeat(count - 2)}) }`,
    why: "and for each object",
  },
  {
    bound: "depth",
    code: "DOCUMENT_TOO_DEEP",
    document: (count) => `query ($a: ${"[".repeat(count - 1)} Int ${"]".repeat(count - 1)}) { a }`,
    why: "and for each type of lists",
  },
  {
    bound: "string",
    code: "STRING_TOO_LONG",
    document: (count) => `{ a(b: "${"x".repeat(count - 2)}") }`,
    why: "error messages repeat strings",
  },
  {
    bound: "string",
    code: "STRING_TOO_LONG",
    document: (count) => `{ a(b: """${"x".repeat(count - 6)}""") }`,
    why: "and block strings",
  },
  {
    bound: "string",
    code: "STRING_TOO_LONG",
    document: (count) => `{ a(b: ${"1".repeat(count)}) }`,
    why: "and numbers",
  },
  {
    bound: "name",
    code: "STRING_TOO_LONG",
    document: (count) => `{ ${"x".repeat(count)}: a }`,
    why: "an alias comes back in the answer, for each queue",
  },
  {
    bound: "name",
    code: "STRING_TOO_LONG",
    document: (count) => `query ($${"x".repeat(count)}: Int) { a }`,
    why: "error messages repeat names",
  },
  {
    bound: "list",
    code: "LIST_TOO_LONG",
    document: (count) => `{ a(b: [${"1 ".repeat(count)}]) }`,
    why: "every value is checked against its type",
  },
  {
    bound: "fields",
    code: "TOO_MANY_FIELDS",
    document: (count) => `{ ${repeat(count, (i) => `a${i}`)} }`,
    why: "each may be in the answer for each queue",
  },
  {
    bound: "writtenOut",
    code: "TOO_MANY_FIELDS",
    document: (count) =>
      `{ ${"...F ".repeat(100)} ${repeat(count % 100, (i) => `c${i}`)} } fragment F on Query { ${repeat(Math.floor(count / 100), (i) => `b${i}`)} }`,
    why: "a fragment counts wherever it is spread",
  },
  {
    bound: "repeats",
    code: "TOO_MANY_FIELDS",
    document: (count) => `{ ${repeat(count + 1, () => "a")} }`,
    why: "validation compares each with each other",
  },
  {
    bound: "repeats",
    code: "TOO_MANY_FIELDS",
    document: (count) => `{ ${repeat(count + 1, () => "... { ... on Query { a } }")} }`,
    why: "inline fragments do not hide them",
  },
  {
    bound: "repeats",
    code: "TOO_MANY_FIELDS",
    document: (count) => `{ ... { ... { ${"a ".repeat(count + 1)} } } }`,
    why: "nor do they count twice",
  },
  {
    bound: "repeats",
    code: "TOO_MANY_FIELDS",
    document: (count) => `{ a { b } ${repeat(count, () => "c { a }")} c { a b } }`,
    why: "what is repeated below each other counts by itself",
  },
  {
    bound: "aliases",
    code: "TOO_MANY_ALIASES",
    document: (count) => `{ ${repeat(count, (i) => `a${i}: __typename`)} }`,
    why: "`__typename` costs nothing, and is an answer each time",
  },
  {
    bound: "directives",
    code: "TOO_MANY_DIRECTIVES",
    document: (count) => `{ a ${"@b ".repeat(count)} }`,
    why: "of one field",
  },
  {
    bound: "directives",
    code: "TOO_MANY_DIRECTIVES",
    document: (count) => `query @a { ${repeat(count - 1, (i) => `a${i} @skip(if: true)`)} }`,
    why: "of many",
  },
  {
    bound: "fragments",
    code: "TOO_MANY_FRAGMENTS",
    document: (count) => `{ a } ${repeat(count, (i) => `fragment F${i} on Query { a }`)}`,
    why: "validation compares fragments in pairs",
  },
  {
    bound: "spreads",
    code: "TOO_MANY_FRAGMENTS",
    document: (count) => `{ ${"...F ".repeat(count)} } fragment F on Query { a }`,
    why: "each is looked up",
  },
  {
    bound: "operations",
    code: "TOO_MANY_OPERATIONS",
    document: (count) => repeat(count, (i) => `query Q${i} { a }`),
    why: "variables are looked for in the fragments of each",
  },
  {
    bound: "variables",
    code: "TOO_MANY_VARIABLES",
    document: (count) => `query (${repeat(count, (i) => `$v${i}: Int`)}) { a }`,
    why: "each is looked for",
  },
  {
    bound: "schemas",
    code: "TOO_MUCH_INTROSPECTION",
    document: (count) => `{ ${repeat(count, (i) => `a${i}: __schema { description }`)} }`,
    why: "the largest answer that there is costs nothing",
  },
  {
    bound: "types",
    code: "TOO_MUCH_INTROSPECTION",
    document: (count) => `{ ${repeat(count, (i) => `a${i}: __type(name: "A") { name }`)} }`,
    why: "single types are asked for by some tools, a few at a time",
  },
  {
    bound: "schemaAliases",
    code: "TOO_MUCH_INTROSPECTION",
    document: (count) => `{ __schema { types { name ${repeat(count, (i) => `a${i}: fields { name }`)} } } }`,
    why: "aliases below each other multiply the answer: 8 MB for 3 KB",
  },
  {
    bound: "schemaAliases",
    code: "TOO_MUCH_INTROSPECTION",
    document: (count) =>
      `{ __type(name: "A") { ...T } } fragment T on __Type { ${repeat(count, (i) => `a${i}: name`)} kind }`,
    why: "a fragment does not hide them",
  },
];

describe("a document", () => {
  test.each(documentRows)(
    "with too much of $bound is refused with $code: $why",
    ({ bound, code, document }) => {
      const { most } = bounds[bound];
      expect(refusalOf(() => read(document(most)))).toBeNull();
      expect(refusalOf(() => read(document(most + 1)))).toBe(code);
      expect(bounds[bound].code).toBe(code);
    },
  );

  test.each(documentRows.filter(({ bound }) => !["depth", "string", "name", "list"].includes(bound)))(
    "shares the bound of $bound with those that came in the same batch: $why",
    ({ bound, code, document }) => {
      const { most } = bounds[bound];
      // Whatever else there is of it in the second document, there is some of it.
      expect(refusalOf(() => read(document(most), document(Math.max(most, 1))))).toBe(code);
    },
  );

  test.each([
    { deep: "selections", document: "{ a ".repeat(100_000), code: "DOCUMENT_TOO_DEEP", most: 100 },
    { deep: "lists", document: `{ a(b: ${"[".repeat(100_000)}`, code: "DOCUMENT_TOO_DEEP", most: 100 },
    { deep: "fields", document: `{ ${"a ".repeat(100_000)} }`, code: "DOCUMENT_TOO_LARGE", most: 22_001 },
    { deep: "characters", document: `{ ${"a ".repeat(400_000)} }`, code: "DOCUMENT_TOO_LARGE", most: 0 },
    {
      deep: "lines",
      document: `{ a(b: """${"\n".repeat(500_000)}""") }`,
      code: "DOCUMENT_TOO_LARGE",
      most: 0,
    },
  ])("with 100,000 $deep is refused after at most $most tokens", ({ document, code, most }) => {
    const advance = vi.spyOn(Lexer.prototype, "advance");
    expect(refusalOf(() => read(document))).toBe(code);
    expect(advance.mock.calls.length).toBeLessThanOrEqual(most);
    advance.mockRestore();
  });

  test("that is no GraphQL is refused as the parser does it, with a code", () => {
    const expected = (() => {
      try {
        return parse("{ a(");
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(() => guard.parse("{ a(")).toThrow(expect.any(GraphQLError));
    expect(() => guard.parse("{ a(")).toThrow(
      expect.objectContaining({ message: expected, extensions: { code: "GRAPHQL_PARSE_FAILED" } }),
    );
  });

  test("is refused in words that say the bound and do not repeat the document", () => {
    const document = `{ a(b: "${"attack".repeat(10_000)}") }`;
    expect(() => guard.parse(document)).toThrow(
      "expected at most 20000 characters in one string or number, got 60002",
    );
  });

  const typeRef = (levels: number): string =>
    levels === 0 ? "kind name" : `kind name ofType { ${typeRef(levels - 1)} }`;
  const introspections = [
    { tool: "graphql-js, and so GraphiQL and graphql-codegen", document: getIntrospectionQuery() },
    {
      tool: "graphql-js with everything that it can ask for",
      document: getIntrospectionQuery({
        descriptions: true,
        specifiedByUrl: true,
        directiveIsRepeatable: true,
        schemaDescription: true,
        inputValueDeprecation: true,
        oneOf: true,
      }),
    },
    {
      tool: "a tool that uses no fragments",
      document: `{ __schema { types { fields(includeDeprecated: true) { args { type { ${typeRef(9)} } } } } } }`,
    },
    {
      tool: "a tool that first asks what the server can do",
      document: `query { ${["Schema", "Type", "Field", "Directive", "InputValue", "EnumValue"]
        .map((name) => `${name.toLowerCase()}: __type(name: "__${name}") { fields { name } }`)
        .join(" ")} }`,
    },
  ];
  test.each(introspections)("passes with the introspection of $tool", ({ document }) => {
    expect(refusalOf(() => read(document))).toBeNull();
    const shape = shapeOf(parse(document));
    for (const name of Object.keys(shape) as (keyof typeof shape)[]) {
      if (!["schemas", "schemaAliases"].includes(name)) {
        // With room for what tools will come to ask for.
        expect(shape[name], name).toBeLessThan(0.7 * bounds[name].most);
      }
    }
  });

  test("passes with all fields of a queue for each of the most aliases", () => {
    const type = schema.getType("QueueLatency");
    const all = buildAll(type as { getFields(): Record<string, { type: unknown }> });
    const document = `{ ${repeat(bounds.aliases.most, (i) => `a${i}: queueLatency(queues: ["a"]) { ${all} }`)} }`;
    expect(refusalOf(() => read(document))).toBeNull();
  });

  test.each([
    { events: "small", event: `{ type: ENQUEUED, queue: "mail", jobId: "42" }` },
    {
      events: "large",
      event: `{
        type: DEQUEUED,
        queue: "${"q".repeat(200)}",
        jobId: "${"j".repeat(200)}",
        attempt: 12,
        at: "2026-11-23T08:15:30.250Z",
        availableAt: "2026-11-23T08:15:30.250Z"
      }`.replaceAll(/\n\s+/g, "\n  "),
    },
  ])("passes with MAX_EVENTS $events events as literals", ({ event }) => {
    const document = `mutation { recordEvents(events: [\n${repeat(maxEvents, () => `${event},\n`)}]) { accepted } }`;
    expect(refusalOf(() => read(document))).toBeNull();
  });

  test("may not ask for the schema where introspection is off, but for its own types", () => {
    const off = createRequestGuard({ maxQueues: 100, maxEvents, introspection: false });
    const refusal = (document: string) => refusalOf(() => off.begin([]).spend(off.parse(document)));
    expect(refusal("{ __schema { description } }")).toBe("INTROSPECTION_DISABLED");
    expect(refusal('{ a { b } ...F } fragment F on Query { x: __type(name: "A") { name } }')).toBe(
      "INTROSPECTION_DISABLED",
    );
    expect(refusal("{ __typename a { __typename } }")).toBeNull();
  });
});

/** The names of all fields below, as a selection. */
function buildAll(type: { getFields(): Record<string, { type: unknown }> }): string {
  return Object.entries(type.getFields())
    .map(([name, field]) => {
      const below = field.type as { getFields?: () => Record<string, { type: unknown }> };
      return below.getFields === undefined
        ? name
        : `${name} { ${buildAll({ getFields: below.getFields.bind(below) })} }`;
    })
    .join(" ");
}

interface VariablesRow {
  readonly bound: "values" | "valueDepth" | "list" | "string";
  readonly code: ErrorCode;
  readonly variables: (count: number) => unknown;
  readonly why: string;
}

/** Lists of lists, so deep. */
const nested = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth));

const variablesRows: readonly VariablesRow[] = [
  {
    bound: "values",
    code: "VARIABLES_TOO_LARGE",
    variables: (count) =>
      Object.fromEntries(
        Array.from({ length: 52 }, (_, i) => [`v${i}`, Array(Math.floor((count - 52 + i) / 52)).fill(1)]),
      ),
    why: "in many lists",
  },
  {
    bound: "values",
    code: "VARIABLES_TOO_LARGE",
    variables: (count) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`v${i}`, null])),
    why: "in one object",
  },
  {
    bound: "valueDepth",
    code: "VARIABLES_TOO_DEEP",
    variables: (count) => ({ v: nested(count - 1) }),
    why: "a function that looks through it calls itself",
  },
  {
    bound: "list",
    code: "LIST_TOO_LONG",
    variables: (count) => ({ v: Array(count).fill("a") }),
    why: "every value is checked against its type",
  },
  {
    bound: "string",
    code: "STRING_TOO_LONG",
    variables: (count) => ({ v: [{ w: "x".repeat(count) }] }),
    why: "error messages repeat strings",
  },
];

describe("variables", () => {
  const look = (...all: readonly unknown[]) => guard.begin(all.map((variables) => ({ variables })));

  test.each(variablesRows)(
    "with too much of $bound are refused with $code: $why",
    ({ bound, code, variables }) => {
      const { most } = bounds[bound];
      expect(refusalOf(() => look(variables(most)))).toBeNull();
      expect(refusalOf(() => look(variables(most + 1)))).toBe(code);
    },
  );

  test("share the bound on values with those that came in the same batch", () => {
    const half = { v: Array.from({ length: 20 }, () => Array(bounds.values.most / 40).fill(1)) };
    expect(refusalOf(() => look(half))).toBeNull();
    expect(refusalOf(() => look(half, half))).toBe("VARIABLES_TOO_LARGE");
  });

  test("pass with seven batches of MAX_EVENTS events", () => {
    const event = { type: "ENQUEUED", queue: "a", jobId: "b", attempt: 0, at: "c", availableAt: "d" };
    const batch = { events: Array(maxEvents).fill(event) };
    expect(refusalOf(() => look(...Array(7).fill(batch)))).toBeNull();
  });

  test.each([undefined, null, 1, "text", true, [], [[]], {}])(
    "may be %j, which others refuse",
    (variables) => {
      expect(refusalOf(() => look(variables))).toBeNull();
    },
  );
});

describe("JSON", () => {
  test.each([
    { json: "[".repeat(20) + "]".repeat(20), code: null, why: "as deep as it may be" },
    { json: "[".repeat(21) + "]".repeat(21), code: "VARIABLES_TOO_DEEP", why: "one deeper" },
    { json: '{"a":'.repeat(1_000_000), code: "VARIABLES_TOO_DEEP", why: "it need not be JSON to be refused" },
    { json: `[${"[],".repeat(25_999)}1]`, code: null, why: "as many values as there may be" },
    { json: `[${"[],".repeat(26_000)}1]`, code: "VARIABLES_TOO_LARGE", why: "one more" },
    { json: `["${'[{,"'.replaceAll('"', '\\"').repeat(50_000)}"]`, code: null, why: "a string is one value" },
    {
      json: `["\\\\",${"1,".repeat(60_000)}1]`,
      code: "VARIABLES_TOO_LARGE",
      why: "a backslash may be itself",
    },
  ])("of which $why: $code", ({ json, code }) => {
    const parseJson = vi.spyOn(JSON, "parse");
    expect(refusalOf(() => guard.parseJson(json))).toBe(code);
    expect(parseJson).toHaveBeenCalledTimes(code === null ? 1 : 0);
    parseJson.mockRestore();
  });

  test("that people write is what JSON.parse makes of it", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        const text = JSON.stringify(value);
        expect(guard.parseJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  test("that is none is refused by JSON.parse", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("[", "]", "{", "}", '"', "\\", ",", "1", ":") }),
        (text) => {
          const outcome = (parseText: (text: string) => unknown) => {
            try {
              return parseText(text);
            } catch (error) {
              return (error as Error).name;
            }
          };
          expect([outcome(JSON.parse), "AppError"]).toContainEqual(outcome(guard.parseJson));
        },
      ),
    );
  });
});

describe("whatever is sent", () => {
  const anyToken = fc.constantFrom(
    ..."{}[]()@$!:=|&".split(""),
    "...",
    "a",
    "on",
    "fragment",
    "query",
    '"x"',
    '"""',
    "1",
    "-",
    "\n",
    "#",
    " ",
  );
  test("is parsed, or refused with an error for the client", () => {
    const anyDocument = fc.oneof(
      fc.array(anyToken, { maxLength: 300 }).map((tokens) => tokens.join(" ")),
      fc.string({ unit: "binary", maxLength: 200 }),
    );
    fc.assert(
      fc.property(fc.array(anyDocument, { maxLength: 4 }), (documents) => {
        try {
          read(...documents);
        } catch (error) {
          expect(error instanceof AppError || error instanceof GraphQLError).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});
