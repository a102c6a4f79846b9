import type { ErrorCode } from "../../src/core/errors.ts";

/** One operation that a client sends to keep the server busy. */
export interface Attack {
  readonly attack: string;
  readonly why: string;
  readonly query: string;
  readonly variables?: Readonly<Record<string, unknown>>;
  /** How it is refused. */
  readonly code: ErrorCode | "GRAPHQL_VALIDATION_FAILED" | "GRAPHQL_PARSE_FAILED";
}

export const repeat = (count: number, text: (index: number) => string): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(" ");

const read = 'queueLatency(queues: ["a"])';

/** Against a server with its own settings; all took it long, or made it say much, before there were bounds. */
export const attacks: readonly Attack[] = [
  {
    attack: "300,000 comments",
    why: "none of them is a token",
    query: `{ __typename } ${"#\n".repeat(300_000)}`,
    code: "DOCUMENT_TOO_LARGE",
  },
  {
    attack: "a block string of 500,000 empty lines",
    why: "it is taken apart line by line",
    query: `{ queueLatency(queues: ["""${"\n".repeat(500_000)}"""]) { queue } }`,
    code: "DOCUMENT_TOO_LARGE",
  },
  {
    attack: "800,000 characters",
    why: "each is looked at",
    query: `{ __typename ${" ".repeat(800_000)} }`,
    code: "DOCUMENT_TOO_LARGE",
  },
  {
    attack: "20,000 aliases",
    why: "`__typename` costs nothing, and each is an answer",
    query: `{ ${repeat(20_000, (i) => `a${i}: __typename`)} }`,
    code: "DOCUMENT_TOO_LARGE",
  },
  {
    attack: "201 aliases",
    why: "one more than the most",
    query: `{ ${repeat(201, (i) => `a${i}: __typename`)} }`,
    code: "TOO_MANY_ALIASES",
  },
  {
    attack: "10,000 levels of selections",
    why: "the parser calls itself for each",
    query: `${"{ a ".repeat(10_000)}${"}".repeat(10_000)}`,
    code: "DOCUMENT_TOO_DEEP",
  },
  {
    attack: "10,000 levels of lists",
    why: "the parser calls itself for each",
    query: `{ queueLatency(queues: ${"[".repeat(10_000)}${"]".repeat(10_000)}) { queue } }`,
    code: "DOCUMENT_TOO_DEEP",
  },
  {
    attack: "a list of 15,000 numbers for names",
    why: "each would be an error",
    query: `{ queueLatency(queues: [${"1 ".repeat(15_000)}]) { queue } }`,
    code: "LIST_TOO_LONG",
  },
  {
    attack: "a string of 100,000 characters",
    why: "errors repeat strings",
    query: `{ queueLatency(queues: ["${"x".repeat(100_000)}"]) { queue } }`,
    code: "STRING_TOO_LONG",
  },
  {
    attack: "a name of 100,000 characters",
    why: "answers repeat names",
    query: `{ ${"x".repeat(100_000)}: __typename }`,
    code: "STRING_TOO_LONG",
  },
  {
    attack: "10,000 directives",
    why: "each is looked up",
    query: `{ __typename ${"@a ".repeat(10_000)} }`,
    code: "TOO_MANY_DIRECTIVES",
  },
  {
    attack: "2,000 fragments",
    why: "validation compares them in pairs",
    query: `{ ${repeat(2_000, (i) => `...F${i}`)} } ${repeat(2_000, (i) => `fragment F${i} on Query { __typename }`)}`,
    code: "TOO_MANY_FRAGMENTS",
  },
  {
    attack: "1,000 operations",
    why: "validation looks through the fragments of each",
    query: repeat(1_000, (i) => `query Q${i} { __typename }`),
    code: "TOO_MANY_OPERATIONS",
  },
  {
    attack: "4,000 variables",
    why: "none is used, and each is looked for",
    query: `query (${repeat(4_000, (i) => `$v${i}: Int`)}) { __typename }`,
    code: "TOO_MANY_VARIABLES",
  },
  {
    attack: "1,000 times the same field",
    why: "validation compares each with each other: 500,000 pairs",
    query: `{ ${repeat(1_000, () => `${read} { queue depth }`)} }`,
    code: "TOO_MANY_FIELDS",
  },
  {
    attack: "introspection with aliases below each other",
    why: "8 MB of answer for 3 KB, at no cost",
    query: `{ __schema { types { ${repeat(10, (i) => `a${i}: fields { ${repeat(10, (j) => `b${j}: type { name fields { name } }`)} }`)} } } }`,
    code: "TOO_MUCH_INTROSPECTION",
  },
  {
    attack: "ten introspections",
    why: "each is as large as the schema",
    query: `{ ${repeat(10, (i) => `a${i}: __schema { types { fields { type { fields { name description } } } } }`)} }`,
    code: "TOO_MUCH_INTROSPECTION",
  },
  {
    attack: "30 fragments that each spread the next one twice",
    why: "written out they are a thousand million fields",
    query: `{ ...F0 } ${repeat(30, (i) => `fragment F${i} on Query { ...F${i + 1} ...F${i + 1} }`)} fragment F30 on Query { ${read} { queue } }`,
    code: "MAX_COST_EXCEEDED",
  },
  {
    attack: "50 fragments that each spread the next nine",
    why: "validation compares fields in pairs, in each pair of fragments",
    query: `{ ...F0 } ${repeat(50, (i) => `fragment F${i} on Query { ${repeat(Math.min(9, 49 - i), (j) => `...F${i + j + 1}`)} ${repeat(i % 3 === 0 ? 2 : 1, () => `${read} { queue state latency oldestSince depth scheduled lost accuracy measuredAt stale clockSkew }`)} }`)}`,
    code: "MAX_COST_EXCEEDED",
  },
  {
    attack: "fragments of a queue's fields that spread each other",
    why: "they cost nothing, and are compared as often as they are written out",
    query: `{ ${read} { ...F0 } } ${repeat(40, (i) => `fragment F${i} on QueueLatency { queue ...F${i + 1} ...F${i + 1} }`)} fragment F40 on QueueLatency { queue }`,
    code: "TOO_MANY_FIELDS",
  },
  {
    attack: "2,000 unknown fields with names near a known one",
    why: "each would be an error with a suggestion",
    query: `{ ${repeat(2_000, (i) => `queueLatenc${i}`)} }`,
    code: "GRAPHQL_VALIDATION_FAILED",
  },
  {
    attack: "a thousand jobs that are none",
    why: "each would be two errors",
    query: `mutation { removeWaitingJobs(queue: "a", jobs: [${repeat(1_000, () => "{ jobbId: [], atempt: 1 }")}]) }`,
    code: "GRAPHQL_VALIDATION_FAILED",
  },
  {
    attack: "a cycle of fragments",
    why: "following it never ends",
    query: "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    code: "GRAPHQL_VALIDATION_FAILED",
  },
  {
    attack: "types of its own",
    why: "21,000 tokens that are no operation",
    query: `{ __typename } type A { ${repeat(5_000, (i) => `a${i}: Int`)} }`,
    code: "GRAPHQL_VALIDATION_FAILED",
  },
  {
    attack: "a string where no string can be",
    why: "the parser's error repeats it",
    query: `{ "${"x".repeat(900)}" }`,
    code: "GRAPHQL_PARSE_FAILED",
  },
  {
    attack: "a variable of 100,000 characters",
    why: "errors repeat values",
    query: "query ($first: Int!) { queues(first: $first) { edges { cursor } } }",
    variables: { first: "x".repeat(100_000) },
    code: "STRING_TOO_LONG",
  },
  {
    attack: "a variable of 900 characters",
    why: "errors repeat values",
    query: "query ($first: Int!) { queues(first: $first) { edges { cursor } } }",
    variables: { first: "x".repeat(900) },
    code: "BAD_USER_INPUT",
  },
  {
    attack: "a variable with 40,000 names",
    why: "a list is copied before it is counted",
    query: "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }",
    variables: { queues: Array(40_000).fill("a") },
    code: "LIST_TOO_LONG",
  },
  {
    attack: "a variable with 16 levels of lists",
    why: "what is no name is repeated in an error",
    query: "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }",
    variables: { queues: JSON.parse("[".repeat(16) + "]".repeat(16)) },
    code: "BAD_USER_INPUT",
  },
];
