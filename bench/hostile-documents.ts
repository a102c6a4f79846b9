/**
 * What the worst requests take that pass all bounds on their form, and the ones that do not: ms of a core to read (parse,
 * count, validate) and to price, the median of many. Run it with `node bench/hostile-documents.ts`; it needs no Redis.
 */
import { createRequire } from "node:module";
import type { DocumentNode } from "graphql";
import { schema } from "../src/api/schema.ts";
import { AppError } from "../src/core/errors.ts";
import type { SentParams } from "../src/core/request-guard.ts";
import { priceOf } from "../src/limits/cost.ts";
import { createRequestGuard } from "../src/limits/request-guard.ts";
import { createPersistedDocuments } from "../src/server/persisted-documents.ts";
import { createOperationReader, isValid, type ReadOperation } from "../src/server/read-operations.ts";
import { attacks, repeat } from "../test/support/hostile-documents.ts";

// That of the server: the one beside this file is the peers', and takes no schema of another's.
const fromServer = createRequire(import.meta.resolve("../src/main.ts"));
const { getIntrospectionQuery, GraphQLError, validate } = fromServer("graphql") as typeof import("graphql");

const settings = { maxQueues: 100, maxEvents: 1_000, introspection: true };
const guard = createRequestGuard(settings);
const costOptions = {
  schema,
  context: { limits: { ...settings, sources: [] } },
};
const times = 21;

const event = `{ type: ENQUEUED, queue: "some/queue", jobId: "6f7d0c9e-5f1c-4a8e-9a55-1f1b7a3c9f10", attempt: 0,
  at: "2026-11-23T08:15:30.250Z", availableAt: "2026-11-23T08:15:30.250Z" }`;
const smallEvent = '{type:ENQUEUED queue:"a" jobId:1}';
const estimate = "{ low likely high }";
const fields = `queue source state latency oldestSince depth scheduled lost accuracy measuredAt stale clockSkew
  throughput { enqueuedPerSecond dequeuedPerSecond } waitTime { count mean p50 p95 p99 max } health objective
  forecast { unstable drainSeconds ${estimate} breachSeconds ${estimate} capacityRatio ${estimate} }`;
const queue = `queueLatency(queues: ["a"]) { ${fields} }`;
const longQueue = `queueLatency(queues: [${repeat(290, (i) => `"q${i}"`)}]) { queue }`;
const spreadAll = repeat(50, (i) => `...F${i}`);
const fragments = (body: (index: number) => string, type = "Query") =>
  repeat(50, (i) => `fragment F${i} on ${type} { ${body(i)} }`);
const following = (index: number, count: number) =>
  repeat(Math.min(count, 49 - index), (i) => `...F${index + i + 1}`);

const passing: Readonly<Record<string, string>> = {
  "a normal query":
    '{ queueLatency(queues: ["a", "b"]) { queue state latency depth throughput { enqueuedPerSecond } } }',
  "GraphiQL's introspection": getIntrospectionQuery(),
  "1,000 events as literals": `mutation { recordEvents(events: [${repeat(1_000, () => event)}]) { accepted } }`,
  "the same, the last of them wrong": `mutation { recordEvents(events: [${repeat(1_000, () => event)} {}]) { accepted } }`,
  "1,900 small events, too many": `mutation { recordEvents(events: [${repeat(1_900, () => smallEvent)}]) { accepted } }`,
  "10 lists of 2,000 names": `{ ${repeat(10, (i) => `a${i}: queueLatency(queues: [${'"a" '.repeat(2_000)}]) { queue }`)} }`,
  "fields repeated, here and in 50 fragments": `{ ${repeat(2, () => queue)} ${spreadAll} } ${fragments((i) => `${i < 18 ? queue : ""} ${queue} ${following(i, 9)}`)}`,
  "long lists repeated, here and in 50 fragments": `{ ${repeat(20, () => longQueue)} ${spreadAll} } ${fragments(() => longQueue)}`,
  "pages repeated, here and in 50 fragments": `{ ${repeat(10, () => `queues { ${repeat(2, () => `edges { node { ${fields} } }`)} }`)} ${spreadAll} } ${fragments(() => `queues { edges { node { ${fields} } } }`)}`,
  "all fields of a queue, with 200 aliases": `{ ${repeat(200, (i) => `a${i}: ${queue}`)} }`,
  "200 aliases that spread 50 fragments": `{ ${repeat(200, (i) => `a${i}: queueLatency(queues: ["a"]) { ...F${i % 50} }`)} } ${fragments((i) => `${fields} ${following(i, 5)}`, "QueueLatency")}`,
  "50 operations over 50 fragments": `${repeat(50, (i) => `query Q${i}(${repeat(10, (j) => `$v${j}: Int!`)}) { ...F0 }`)} ${fragments((i) => `${repeat(4, (k) => `a${i}_${k}: queues(first: $v${(i * 4 + k) % 10}) { edges { cursor } }`)} ${following(i, 3)}`)}`,
  "fragments that spread the next one twice": `{ ...F0 } ${fragments((i) => (i < 49 ? `...F${i + 1} ...F${i + 1}` : queue))}`,
  "a type of 7,000 fields": `type A { ${repeat(6_900, (i) => `a${i}: Int`)} }`,
  "an undefined variable, 2,000 times": `query (${repeat(500, (i) => `$a${i}: String!`)}) { queueLatency(queues: [${repeat(2_000, (i) => `$b${i}`)}]) { queue } }`,
};

const rows: readonly (SentParams & { readonly what: string; readonly query: string })[] = [
  ...Object.entries(passing).map(([what, query]) => ({ what, query })),
  ...attacks.map(({ attack, query, variables }) => ({ what: `refused: ${attack}`, query, variables })),
];

const reader = createOperationReader(
  {
    parse: guard.parse,
    validate: (document: DocumentNode) =>
      validate(schema, document, undefined, { maxErrors: guard.maxErrors - 1 }),
  },
  guard,
  createPersistedDocuments(null),
);

/** Parses and validates, as the server does it with no cache. */
function read(params: SentParams): ReadOperation {
  try {
    const [operation] = reader.read(reader.parse({ params }));
    return operation ?? { errors: [] };
  } catch (error) {
    if (error instanceof AppError) return { errors: [error] };
    throw error;
  }
}

function codeOf(error: unknown): string | undefined {
  if (error instanceof AppError) return error.code;
  return error instanceof GraphQLError ? String(error.extensions.code ?? "not valid") : undefined;
}

/** Of a core, in ms: what others do on the machine hardly counts. */
function medianMs(run: () => void): number {
  const all = Array.from({ length: times }, () => {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  });
  return all.toSorted((one, other) => one - other)[Math.floor(times / 2)] ?? 0;
}

const numbers = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`v${i}`, 1]));

const table: Record<string, object> = {};
for (const { what, ...sent } of rows) {
  const params = what.startsWith("50 op") ? { ...sent, operationName: "Q1" } : sent;
  const first = read(params);
  const readMs = medianMs(() => read(params));
  const costMs = !isValid(first)
    ? 0
    : medianMs(() => {
        const { operation } = first;
        const named = { ...operation, variables: { ...operation.variables, ...numbers } };
        try {
          priceOf(named, costOptions);
        } catch {
          // Refused for its cost, or an argument: that is an answer, too.
        }
      });
  const kilobytes = JSON.stringify(params).length / 1_000;
  table[what] = {
    KB: kilobytes.toFixed(1),
    "read, ms": readMs.toFixed(2),
    "price, ms": costMs.toFixed(2),
    "ms per KB": ((readMs + costMs) / kilobytes).toFixed(2),
    answer: isValid(first) ? "passes" : (codeOf(first.errors[0]) ?? "not valid"),
  };
}
console.table(table);
