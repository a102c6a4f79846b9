import type { HistoryStep } from "../../src/core/history.ts";
import { encodeCursor } from "../../src/core/queue-order.ts";
import type { QueueOrder } from "../../src/core/queue-page.ts";
import type { StepRecord } from "../../src/history/step-record.ts";

export interface CostRow {
  readonly what: string;
  /** How often it is asked in one round. */
  readonly times: number;
  /** How long after the last answer it is asked again, in ms: for what is read once for all that ask within a second. @default 0 */
  readonly pauseMs?: number;
  /** The request of a turn: no two turns ask for quite the same, so nothing is answered from what was read before. */
  readonly request: (turn: number) => object;
}

export const queueNames: readonly string[] = Array.from(
  { length: 1_000 },
  (_, i) => `queue-${String(i).padStart(4, "0")}`,
);

/** A number such that all of them together are a little fewer than `queues` puts in an order. Their names are as long as names may be. */
export const longNames: readonly string[] = Array.from({ length: 8_500 }, (_, i) =>
  `long-${String(i).padStart(4, "0")}-`.padEnd(200, "x"),
);

const hourMs = 3_600_000;
export const keptMs: Readonly<Record<HistoryStep, number>> = {
  TEN_SECONDS: 6 * hourMs,
  ONE_MINUTE: 48 * hourMs,
  ONE_HOUR: 90 * 24 * hourMs,
};

/** Which steps are there: 1,000 minutes of four queues, and the last six minutes of 100. */
export function historyQueues(nowMs: number) {
  const steps = (queue: string, step: HistoryStep, stepMs: number, count: number) => {
    const last = nowMs - (nowMs % stepMs);
    return Array.from({ length: count }, (_, i) => ({ queue, step, atMs: last - (count - i) * stepMs }));
  };
  return [
    ...queueNames.slice(0, 4).flatMap((queue) => steps(queue, "ONE_MINUTE", 60_000, 1_000)),
    ...queueNames.slice(0, 100).flatMap((queue) => steps(queue, "TEN_SECONDS", 10_000, 36)),
  ];
}

export function stepOf(): StepRecord {
  return {
    samples: 60,
    waitingSamples: 60,
    pausedSamples: 0,
    incompleteSamples: 0,
    maxLatencyMs: 12_345,
    sumLatencyMs: 456_789,
    lastLatencyMs: 4_567,
    maxDepth: 123,
    lastDepth: 45,
    counts: {
      enqueued: 600,
      dequeued: 590,
      waits: 590,
      sumMs: 1_234_567,
      maxMs: 9_876,
      buckets: new Map(Array.from({ length: 20 }, (_, i) => [60 + 2 * i, 30])),
    },
  };
}

const repeat = (count: number, of: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => of(i)).join(" ");
const some = (turn: number, count: number) =>
  Array.from({ length: count }, (_, i) => queueNames[(turn * 37 + i) % queueNames.length] ?? "");
const list = (names: readonly string[]) => JSON.stringify(names);
const asked = (names: readonly string[], selection: string) => ({
  query: `query ($queues: [String!]!) { queueLatency(queues: $queues) { ${selection} } }`,
  variables: { queues: names },
});
const few = "queue latency state";
const leaves =
  "queue source state latency oldestSince depth scheduled lost accuracy measuredAt stale clockSkew objective";
const cursorOf = (order: QueueOrder, rank: readonly number[], turn: number) =>
  encodeCursor(order, { queue: "a", rank, atMs: Date.now() - turn });
const wait = "{ count mean p50 p95 p99 max }";
const rates = "{ enqueuedPerSecond dequeuedPerSecond }";
const estimate = "{ low likely high }";
const forecast = `{ drainSeconds ${estimate} breachSeconds ${estimate} capacityRatio ${estimate} unstable }`;
const everything = `id ${leaves} throughput ${rates} waitTime ${wait} health forecast ${forecast}`;
const point = `at step samples maxLatency meanLatency maxDepth enqueued dequeued waitTime ${wait}`;
const history = (steps: number, selection: string) => {
  const from = new Date(Date.now() - steps * 60_000 + 30_000).toISOString();
  return `history(from: "${from}", step: ONE_MINUTE) { ${selection} }`;
};

const record = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
const events = (count: number, queueOf: (i: number) => string, turn: number) =>
  Array.from({ length: count }, (_, i) => ({
    ...{ type: "ENQUEUED", queue: queueOf(i), jobId: `turn-${turn}-${i}`, at: new Date().toISOString() },
  }));
const literal = (event: object) =>
  JSON.stringify(event)
    .replaceAll(/"(\w+)":/g, "$1: ")
    .replace('"ENQUEUED"', "ENQUEUED");
const literals = (count: number, turn: number, last = "") =>
  `mutation { recordEvents(events: [${events(count, () => "literal", turn)
    .map(literal)
    .join(" ")} ${last}]) { accepted } }`;

const introspection = (
  turn: number,
) => `query Introspection${turn} { __schema { queryType { name } types { kind name description
  fields(includeDeprecated: true) { name description args { name description type { kind name ofType { kind name } } defaultValue }
  type { kind name ofType { kind name ofType { kind name ofType { kind name } } } } isDeprecated deprecationReason }
  inputFields { name description type { kind name ofType { kind name } } defaultValue } enumValues(includeDeprecated: true) { name description }
  possibleTypes { kind name } } directives { name description locations args { name description } } } }`;

const inFragments = (count: number, next: number, body: string) =>
  repeat(
    count,
    (i) =>
      `fragment F${i} on Query { ${repeat(Math.min(next, count - 1 - i), (j) => `...F${i + j + 1}`)} ${body} }`,
  );

const worst = (orderBy: string, offset: number) =>
  `{ queues(first: 10, orderBy: ${orderBy}, offset: ${offset}) {
    edges { node { ${few} health } } totalCount healthCounts { health count } sourceCounts { source count }
  } }`;

/** The first is what the others are compared with. */
export const costRows: readonly CostRow[] = [
  { what: "queueLatency of one queue", times: 200, request: (turn) => asked(some(turn, 1), few) },
  { what: "queueLatency of ten queues", times: 100, request: (turn) => asked(some(turn, 10), few) },
  { what: "queueLatency of 100 queues", times: 20, request: (turn) => asked(some(turn, 100), few) },
  { what: "all leaves of one queue", times: 100, request: (turn) => asked(some(turn, 1), leaves) },
  { what: "all of one queue", times: 50, request: (turn) => asked(some(turn, 1), everything) },
  { what: "all of 100 queues", times: 5, request: (turn) => asked(some(turn, 100), everything) },
  { what: "throughput", times: 50, request: (turn) => asked(some(turn, 1), `throughput ${rates}`) },
  { what: "waitTime", times: 50, request: (turn) => asked(some(turn, 1), `waitTime ${wait}`) },
  { what: "health", times: 50, request: (turn) => asked(some(turn, 1), "health") },
  { what: "health of 100 queues", times: 10, request: () => asked(queueNames.slice(0, 100), "health") },
  {
    what: "forecast of 100 queues",
    times: 10,
    request: () => asked(queueNames.slice(0, 100), `forecast ${forecast}`),
  },
  {
    what: "node",
    times: 100,
    request: (turn) => ({
      query: "query ($id: ID!) { node(id: $id) { ... on QueueLatency { queue latency state } } }",
      variables: { id: Buffer.from(`QueueLatency:${some(turn, 1)[0]}`).toString("base64url") },
    }),
  },
  {
    what: "aliases of a leaf: 100 queues, 190 of latency",
    times: 3,
    request: (turn) =>
      asked(
        some(turn, 100),
        repeat(190, (i) => `a${i}: latency`),
      ),
  },
  {
    what: "aliases of a leaf: 25 queues, 190 of queue",
    times: 5,
    request: (turn) =>
      asked(
        some(turn, 25),
        repeat(190, (i) => `a${i}: queue`),
      ),
  },
  {
    what: "aliases of a leaf: one queue, 190 of oldestSince",
    times: 20,
    request: (turn) =>
      asked(
        some(turn, 1),
        repeat(190, (i) => `a${i}: oldestSince`),
      ),
  },
  {
    what: "aliases of a field: 190 of one queue",
    times: 5,
    request: (turn) => ({
      query: `{ ${repeat(190, (i) => `a${i}: queueLatency(queues: ${list(some(turn + i, 1))}) { ${few} }`)} }`,
    }),
  },
  {
    what: "aliases with long names: 100 queues, 40 of 190 letters",
    times: 5,
    request: (turn) =>
      asked(
        some(turn, 100),
        repeat(40, (i) => `a${"x".repeat(186)}${i}: latency`),
      ),
  },
  {
    what: "queues(first: 50)",
    times: 20,
    request: () => ({ query: `{ queues(first: 50) { edges { node { ${few} } } } }` }),
  },
  {
    what: "queues(first: 1000)",
    times: 5,
    request: () => ({ query: `{ queues(first: 1000) { edges { node { ${few} } } } }` }),
  },
  {
    what: "queues(first: 1000), all leaves",
    times: 3,
    request: () => ({ query: `{ queues(first: 1000) { edges { cursor node { ${leaves} } } } }` }),
  },
  {
    what: "queues(first: 1000), throughput and waitTime",
    times: 3,
    request: () => ({
      query: `{ queues(first: 1000) { edges { node { queue throughput ${rates} waitTime ${wait} } } } }`,
    }),
  },
  {
    what: "queues(first: 1000), health and forecast",
    times: 3,
    request: () => ({
      query: `{ queues(first: 1000) { edges { node { queue health forecast ${forecast} } } } }`,
    }),
  },
  {
    what: "queues(first: 500), 80 aliases",
    times: 3,
    request: () => ({
      query: `{ queues(first: 500) { edges { node { ${repeat(80, (i) => `a${i}: latency`)} } } } }`,
    }),
  },
  {
    what: "queues(first: 500), 200 aliases",
    times: 3,
    request: () => ({
      query: `{ queues(first: 500) { edges { node { ${repeat(200, (i) => `a${i}: latency`)} } } } }`,
    }),
  },
  {
    what: "queues(first: 1000) with id and cursor, names of 200 letters",
    times: 3,
    request: () => ({
      query: `{ queues(first: 1000, prefix: "long-") { edges { cursor node { id ${leaves} } } } }`,
    }),
  },
  {
    what: "queues(first: 200), 190 aliases of queue, names of 200 letters",
    times: 3,
    request: () => ({
      query: `{ queues(first: 200, prefix: "long-") { edges { node { ${repeat(190, (i) => `a${i}: queue`)} } } } }`,
    }),
  },
  {
    what: "queues(first: 100), 190 aliases of id, names of 200 letters",
    times: 3,
    request: () => ({
      query: `{ queues(first: 100, prefix: "long-") { edges { node { ${repeat(190, (i) => `a${i}: id`)} } } } }`,
    }),
  },
  {
    what: "aliases of a leaf: 25 queues, 190 of queue, names of 200 letters",
    times: 5,
    request: (turn) =>
      asked(
        longNames.slice(turn * 7, turn * 7 + 25),
        repeat(190, (i) => `a${i}: queue`),
      ),
  },
  {
    what: "ordered: by LATENCY, the first in its second",
    times: 5,
    pauseMs: 1_000,
    request: () => ({ query: `{ queues(first: 10, orderBy: LATENCY) { edges { node { ${few} } } } }` }),
  },
  {
    what: "ordered: by LATENCY, again in the same second",
    times: 100,
    request: (turn) => ({
      query: `query Q${turn} { queues(first: 10, orderBy: LATENCY) { edges { node { ${few} } } } }`,
    }),
  },
  {
    what: "ordered: by LATENCY, behind a cursor of another instant",
    times: 30,
    request: (turn) => ({
      query: `{ queues(first: 10, orderBy: LATENCY, after: "${cursorOf("LATENCY", [1e12, 0], turn)}") { edges { node { ${few} } } } }`,
    }),
  },
  {
    what: "ordered: by HEALTH with all counts, the first in its second",
    times: 5,
    pauseMs: 1_000,
    request: () => ({ query: worst("HEALTH", 0) }),
  },
  {
    what: "ordered: by HEALTH with all counts, again in the same second",
    times: 100,
    request: (turn) => ({ query: worst("HEALTH", turn) }),
  },
  {
    what: "ordered: by WAIT_TIME_P95, the first in its second",
    times: 5,
    pauseMs: 1_000,
    request: () => ({ query: `{ queues(first: 10, orderBy: WAIT_TIME_P95) { edges { node { ${few} } } } }` }),
  },
  {
    what: "ordered: by BREACH_SECONDS, the first in its second",
    times: 5,
    pauseMs: 1_000,
    request: () => ({
      query: `{ queues(first: 10, orderBy: BREACH_SECONDS) { edges { node { ${few} } } } }`,
    }),
  },
  {
    what: "ordered: by HEALTH, behind a cursor of another instant",
    times: 30,
    request: (turn) => ({
      query: `{ queues(first: 10, orderBy: HEALTH, after: "${cursorOf("HEALTH", [9, 0, 0], turn)}") { edges { node { ${few} } } } }`,
    }),
  },
  {
    what: "ordered: a search that finds nothing",
    times: 30,
    request: (turn) => ({
      query: `{ queues(first: 10, search: "nothing-${turn}") { edges { node { ${few} } } } }`,
    }),
  },
  {
    what: "ordered: a glob that finds nothing",
    times: 30,
    request: (turn) => ({
      query: `{ queues(first: 10, search: "*x*x*x*x-${turn}") { edges { node { ${few} } } } }`,
    }),
  },
  {
    what: "queues(first: 0), 100 times",
    times: 5,
    request: () => ({
      query: `{ ${repeat(100, (i) => `a${i}: queues(first: 0) { pageInfo { hasNextPage } }`)} }`,
    }),
  },
  {
    what: "history of one queue, 60 steps",
    times: 20,
    request: () => asked(queueNames.slice(0, 1), history(60, "at maxLatency meanLatency maxDepth")),
  },
  {
    what: "history of one queue, 1,000 steps",
    times: 5,
    request: () => asked(queueNames.slice(0, 1), history(1_000, "at maxLatency")),
  },
  {
    what: "history of one queue, 1,000 steps, all",
    times: 5,
    request: () => asked(queueNames.slice(0, 1), history(1_000, point)),
  },
  {
    what: "history of four queues, 1,000 steps, all",
    times: 3,
    request: () => asked(queueNames.slice(0, 4), history(1_000, point)),
  },
  {
    what: "history of four queues, 1,000 steps, 14 aliases",
    times: 3,
    request: () =>
      asked(
        queueNames.slice(0, 4),
        history(
          1_000,
          repeat(14, (i) => `a${i}: maxLatency`),
        ),
      ),
  },
  {
    what: "history of four queues, 1,000 steps, 199 aliases",
    times: 3,
    request: () =>
      asked(
        queueNames.slice(0, 4),
        history(
          1_000,
          repeat(199, (i) => `a${i}: maxLatency`),
        ),
      ),
  },
  {
    what: "history of one step, 100 queues, 4 times",
    times: 3,
    request: (turn) =>
      asked(
        some(turn, 100),
        repeat(4, (i) => `a${i}: ${history(1, "at")}`),
      ),
  },
  {
    what: "history of ten steps on a page of 400 queues",
    times: 3,
    request: () => ({
      query: `{ queues(first: 400) { edges { node { ${history(10, "at maxLatency")} } } } }`,
    }),
  },
  {
    what: "alerts(first: 50)",
    times: 20,
    request: () => ({ query: "{ alerts(first: 50) { id rule queue state since } }" }),
  },
  {
    what: "alerts(first: 1000), all",
    times: 3,
    request: () => ({
      query: `{ alerts(first: 1000) { id rule queue state since firedAt endedAt end subject value threshold severity labels { name text } annotations { name text } facts { measuredAt latency oldestSince depth accuracy health { health since } } acknowledgedAt acknowledgedBy } }`,
    }),
  },
  {
    what: "alertStatus",
    times: 50,
    request: () => ({ query: "{ alertStatus { pending firing outbox receivers { receiver } } }" }),
  },
  {
    what: "waitingJobs(first: 20)",
    times: 50,
    request: (turn) => ({
      query: `{ waitingJobs(queue: "${some(turn, 1)[0]}", first: 20) { jobId since waited } }`,
    }),
  },
  {
    what: "waitingJobs(first: 1000)",
    times: 5,
    request: () => ({ query: `{ waitingJobs(queue: "many", first: 1000) { jobId attempt since waited } }` }),
  },
  {
    what: "record one event",
    times: 100,
    request: (turn) => ({ query: record, variables: { events: events(1, () => "many", turn) } }),
  },
  {
    what: "record 1,000 events of one queue",
    times: 5,
    request: (turn) => ({ query: record, variables: { events: events(1_000, () => "many", turn) } }),
  },
  {
    what: "record 500 events of 500 queues",
    times: 3,
    request: (turn) => ({
      query: record,
      variables: { events: events(500, (i) => queueNames[i] ?? "", turn) },
    }),
  },
  {
    what: "record 500 events of 500 new queues",
    times: 3,
    request: (turn) => ({
      query: record,
      variables: { events: events(500, (i) => `new-${turn}-${i}`, turn) },
    }),
  },
  {
    what: "record 1,000 events of 1,000 new queues",
    times: 3,
    request: (turn) => ({
      query: record,
      variables: { events: events(1_000, (i) => `newer-${turn}-${i}`, turn) },
    }),
  },
  {
    what: "record 1,000 events, all wrong",
    times: 5,
    request: (turn) => ({ query: record, variables: { events: events(1_000, () => "*", turn) } }),
  },
  {
    what: "record 1,000 events as literals",
    times: 3,
    request: (turn) => ({ query: literals(1_000, turn) }),
  },
  {
    what: "record 1,000 events as literals, the last wrong",
    times: 3,
    request: (turn) => ({ query: literals(999, turn, "{ type: ENQUEUED }") }),
  },
  {
    what: "record one event with 50 aliases",
    times: 5,
    request: (turn) => ({
      query: `mutation { ${repeat(50, (i) => `a${i}: recordEvents(events: [${literal(events(1, () => "many", turn * 100 + i)[0] ?? {})}]) { accepted }`)} }`,
    }),
  },
  {
    what: "removeWaitingJobs of 1,000",
    times: 5,
    request: (turn) => ({
      query: 'mutation ($jobs: [WaitingJobInput!]!) { removeWaitingJobs(queue: "many", jobs: $jobs) }',
      variables: { jobs: Array.from({ length: 1_000 }, (_, i) => ({ jobId: `turn-${turn}-${i}` })) },
    }),
  },
  {
    what: "removeWaitingJobs of one",
    times: 50,
    request: (turn) => ({
      query: `mutation { removeWaitingJobs(queue: "many", jobs: [{ jobId: "turn-${turn}-0" }]) }`,
    }),
  },
  {
    what: "forgetQueue",
    times: 50,
    request: (turn) => ({ query: `mutation { forgetQueue(queue: "new-0-${turn}") }` }),
  },
  {
    what: "trustQueue",
    times: 50,
    request: (turn) => ({ query: `mutation { trustQueue(queue: "${some(turn, 1)[0]}") }` }),
  },
  { what: "{ __typename }", times: 200, request: () => ({ query: "{ __typename }" }) },
  {
    what: "introspection, each time another text",
    times: 5,
    request: (turn) => ({ query: introspection(turn) }),
  },
  { what: "introspection, the same text", times: 5, request: () => ({ query: introspection(0) }) },
  {
    what: "refused for its price: 1,000 queues with throughput",
    times: 50,
    request: () => ({ query: `{ queueLatency(queues: ${list(some(0, 101))}) { ${few} } }` }),
  },
  {
    what: "refused for its price: fragments that each spread the next nine",
    times: 10,
    request: (turn) => ({
      query: `query Q${turn} { ...F0 } ${inFragments(50, 9, `queueLatency(queues: ["a"]) { ${leaves} }`)}`,
    }),
  },
  {
    what: "refused: a document of 3,900 letters that is not valid",
    times: 20,
    request: (turn) => ({
      query: `query Q${turn} { ${repeat(380, (i) => `unknown${i}`)} }`,
    }),
  },
  {
    what: "refused: 8,000 unknown fields",
    times: 5,
    request: (turn) => ({ query: `query Q${turn} { ${repeat(8_000, (i) => `u${i}`)} }` }),
  },
  {
    what: "a document of 3,400 characters, each time another",
    times: 20,
    request: (turn) => ({
      query:
        `query Q${turn} { ${repeat(80, (i) => `a${i}: queueLatency(queues: []) { ${i % 2 === 0 ? "queue" : "depth"} }`)} }`.slice(
          0,
          3_990,
        ),
    }),
  },
  {
    what: "fragments written out as often as they may be",
    times: 5,
    request: (turn) => ({
      query: `query Q${turn} { ...F0 } ${inFragments(13, 12, "queueLatency(queues: []) { queue latency }")}`,
    }),
  },
  {
    what: "20 fields repeated, here and in 50 fragments",
    times: 5,
    request: (turn) => ({
      query: `query Q${turn} { ${repeat(2, () => `queueLatency(queues: []) { ${leaves} }`)} ${repeat(50, (i) => `...F${i}`)} } ${repeat(50, (i) => `fragment F${i} on Query { queueLatency(queues: []) { ${leaves} } }`)}`,
    }),
  },
];
