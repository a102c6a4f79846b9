import { type GraphQLScalarType, getIntrospectionQuery, parse, validate } from "graphql";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { ArgumentLimits } from "../../src/api/context.ts";
import { schema } from "../../src/api/schema.ts";
import { AppError } from "../../src/core/errors.ts";
import { createMinCostCheck, createPriceList, priceOf } from "../../src/limits/cost.ts";

const dayMs = 86_400_000;
const limits: ArgumentLimits = {
  maxQueues: 10,
  maxEvents: 3,
  sources: ["faktory"],
  historyKeptMs: { TEN_SECONDS: dayMs / 4, ONE_MINUTE: 2 * dayMs, ONE_HOUR: 90 * dayMs },
};

const costOptions = { schema, context: { limits } };

interface Sent {
  readonly query: string;
  readonly variables?: Readonly<Record<string, unknown>>;
  readonly operationName?: string;
}

function cost({ query, variables = {}, operationName }: Sent): number {
  const document = parse(query);
  expect(validate(schema, document)).toEqual([]);
  return priceOf({ document, variables, operationName: operationName ?? null }, costOptions).cost;
}

function refusal(sent: Sent): AppError {
  try {
    cost(sent);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error(`not refused: ${sent.query}`);
}

const rates = "{ enqueuedPerSecond dequeuedPerSecond }";
const event = `{ type: ENQUEUED, queue: "a", jobId: 1 }`;

describe("a price that was computed before", () => {
  const price = createPriceList(costOptions);
  const query = "query A($q: [String!]!) { queueLatency(queues: $q) { queue } } query B { __typename }";
  const document = parse(query);
  const of = (key: string, variables: Readonly<Record<string, unknown>>) =>
    price({ document, operationName: "A", variables, key });

  test("is used again for a query of the same key, and for no other", () => {
    const first = of("two", { q: ["a", "b"] });
    expect(first.cost).toBe(2);
    expect(of("two", { q: ["a", "b"] })).toBe(first);
    expect(of("one", { q: ["a"] }).cost).toBe(1);
  });

  test("is calculated anew where it depends on the time, and for mutations", () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-01-01T00:10:00Z") });
    onTestFinished(() => void vi.useRealTimers());
    const steps =
      '{ queueLatency(queues: "a") { history(from: "2026-01-01T00:00:00Z", step: TEN_SECONDS) { at } } }';
    const history = { document: parse(steps), operationName: null, variables: {}, key: "history" };
    const before = price(history).cost;
    vi.setSystemTime(Date.parse("2026-01-01T01:00:00Z"));
    expect(price(history).cost).toBeGreaterThan(before);
    const record = {
      document: parse(`mutation { recordEvents(events: [${event}]) { accepted } }`),
      operationName: null,
    };
    expect(price({ ...record, variables: {} })).not.toBe(price({ ...record, variables: {} }));
  });
});

test("a history is for queries: a push would read it again and again at no cost", () => {
  const selection =
    '{ queueLatency(queues: ["q"]) { history(from: "2026-01-01T00:00:00Z", to: "2026-01-01T01:00:00Z") { at } } }';
  expect(cost({ query: `query ${selection}` })).toBe(2);
  expect(refusal({ query: `subscription ${selection}` })).toMatchObject({ code: "BAD_USER_INPUT" });
});

describe("an operation costs", () => {
  test.each<Sent & { readonly points: number; readonly why: string }>([
    { points: 0, query: "{ __typename a: __typename }", why: "clients add it everywhere" },
    { points: 3, query: '{ queueLatency(queues: ["a", "b", "c"]) { queue } }', why: "one for each queue" },
    { points: 2, query: '{ queueLatency(queues: ["a", "a", "b"]) { queue } }', why: "a queue is read once" },
    { points: 1, query: '{ queueLatency(queues: "a") { queue } }', why: "one name stands for a list of it" },
    { points: 0, query: "{ queueLatency(queues: []) { queue } }", why: "nothing is read" },
    {
      points: 4,
      query:
        '{ a: queueLatency(queues: ["a", "b"]) { queue } b: queueLatency(queues: ["a", "b"]) { queue } }',
      why: "each alias is read",
    },
    {
      points: 1,
      query:
        '{ queueLatency(queues: ["a"]) { queue source state latency oldestSince depth scheduled accuracy measuredAt stale __typename } }',
      why: "scalars are free",
    },
    {
      points: 4,
      query: `{ queueLatency(queues: ["a", "b"]) { throughput ${rates} } }`,
      why: "a throughput costs as much as its queue",
    },
    {
      points: 6,
      query: `{ queueLatency(queues: ["a", "b"]) { throughput ${rates} waitTime { p50 p95 p99 } } }`,
      why: "wait times cost as much again, however many quantiles",
    },
    {
      points: 8,
      query: `{ queueLatency(queues: ["a", "b"]) {
        throughput ${rates} five: throughput(window: FIVE_MINUTES) ${rates} waitTime(window: ONE_MINUTE) { max }
      } }`,
      why: "each window is read",
    },
    {
      points: 4,
      query: '{ queueLatency(queues: ["a", "b"]) { health objective } }',
      why: "a health is made of the history, an objective is known",
    },
    {
      points: 6,
      query:
        '{ queueLatency(queues: ["a", "b"]) { health forecast { unstable drainSeconds { low high } } } }',
      why: "so is a forecast, whatever it has",
    },
    {
      points: 5,
      query: "{ queues { edges { node { queue } } } }",
      why: "the default of `first`, ten for a point",
    },
    {
      points: 3,
      query: "{ queues(first: 21) { edges { node { queue depth } } } }",
      why: "ten queues of a page cost a point, and so do fewer",
    },
    {
      points: 3,
      query: "{ queues(first: 21) { pageInfo { endCursor } } }",
      why: "they are read all the same",
    },
    { points: 100, query: "{ queues(first: 1000) { edges { node { queue } } } }", why: "the largest page" },
    {
      points: 42,
      query: "{ queues(first: 61, orderBy: LATENCY, health: STALLED) { edges { node { queue } } } }",
      why: "all queues are read, and histories to filter by health",
    },
    ...[
      "orderBy: DEPTH",
      'search: "a"',
      'source: "events"',
      "state: WAITING",
      "reverse: true",
      "offset: 1",
    ].map((argument) => ({
      points: 16,
      query: `{ queues(first: 1, ${argument}) { edges { node { queue } } } }`,
      why: `all queues are read for ${argument}`,
    })),
    {
      points: 1,
      query: '{ queues(first: 1, prefix: "a", search: "") { edges { node { queue } } } }',
      why: "the index is in the order of names",
    },
    {
      points: 42,
      query: "{ queues(first: 61, orderBy: HEALTH) { edges { node { queue } } } }",
      why: "an order by health needs what a filter by health does",
    },
    {
      points: 46,
      query: "{ queues(first: 1, orderBy: WAIT_TIME_P95) { edges { node { queue } } } }",
      why: "the counts of all queues are read",
    },
    {
      points: 56,
      query: "{ queues(first: 1, orderBy: BREACH_SECONDS) { edges { node { queue } } } }",
      why: "a forecast of all queues takes longer than their health",
    },
    {
      points: 22,
      query: "{ queues(first: 61) { totalCount } }",
      why: "all queues are read, once, however long the page is",
    },
    {
      points: 57,
      query: "{ queues(first: 61) { sourceCounts { source count } healthCounts { health count } } }",
      why: "and the health of all of them",
    },
    { points: 1, query: "{ queues(first: 0) { pageInfo { hasNextPage } } }", why: "even none is looked up" },
    { points: 0, query: "{ viewer { scopes } }", why: "nothing is looked up" },
    { points: 5, query: '{ waitingJobs(queue: "a") { jobId } }', why: "the default of `first`" },
    {
      points: 2,
      query: '{ waitingJobs(queue: "a", first: 11) { since waited } }',
      why: "ten jobs for a point",
    },
    { points: 2, query: "{ alerts(first: 11) { id } }", why: "ten alerts for a point" },
    { points: 1, query: '{ waitingJobs(queue: "a", first: 0) { jobId } }', why: "even none is looked up" },
    {
      points: 9,
      query: `{ queues(first: 21) { edges { node { throughput ${rates} waitTime { mean } } } } }`,
      why: "in a page as in a list",
    },
    {
      points: 1,
      query: `mutation { recordEvents(events: [${event}, ${event}]) { early } }`,
      why: "a batch of one queue",
    },
    {
      points: 2,
      query: `mutation { recordEvents(events: [${event}, ${event}, { type: DEQUEUED, queue: "b", jobId: 1 }]) { early } }`,
      why: "each queue of a batch once",
    },
    {
      points: 2,
      query: `mutation { a: recordEvents(events: []) { early } b: forgetQueue(queue: "a") }`,
      why: "each mutation, also one of nothing",
    },
    {
      points: 2,
      query: `mutation { removeWaitingJobs(queue: "a", jobs: [{ jobId: 1 }, { jobId: 2 }]) trustQueue(queue: "a") }`,
      why: "ten jobs for a point",
    },
    {
      points: 4,
      query: `subscription { queueLatency(queues: ["a", "b"]) { throughput ${rates} } }`,
      why: "as a query does, once",
    },
    {
      points: 2,
      query: "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }",
      variables: { queues: ["a", "b", "a"] },
      why: "variables count as what they are",
    },
    {
      points: 3,
      query: 'query ($queues: [String!]! = ["a", "b", "c"]) { queueLatency(queues: $queues) { queue } }',
      why: "a default counts when nothing is given",
    },
    {
      points: 1,
      query: 'query ($queues: [String!]! = ["a", "b", "c"]) { queueLatency(queues: $queues) { queue } }',
      variables: { queues: ["a"] },
      why: "and does not when something is",
    },
    {
      points: 5,
      query: "query ($first: Int) { queues(first: $first) { edges { cursor } } }",
      why: "a variable that is not given leaves the argument's default",
    },
    {
      points: 9,
      query: "query ($first: Int = 90) { queues(first: $first) { edges { cursor } } }",
      why: "its own default comes first",
    },
    {
      points: 5,
      query: `{ ...F a: queueLatency(queues: ["a"]) { ...T } }
        fragment F on Query { queueLatency(queues: ["a", "b", "c"]) { queue } }
        fragment T on QueueLatency { ... on QueueLatency { ...U } }
        fragment U on QueueLatency { throughput ${rates} }`,
      why: "fragments count where they are spread",
    },
    {
      points: 4,
      query: `{ a: queueLatency(queues: ["a"]) { ...T } b: queueLatency(queues: ["b"]) { ...T } }
        fragment T on QueueLatency { throughput ${rates} }`,
      why: "and each time they are",
    },
    {
      points: 1,
      query: `query ($no: Boolean = false) { ...F @include(if: $no) queueLatency(queues: ["a"]) { queue } }
        fragment F on Query { queues(first: 1000) { edges { cursor } } }`,
      why: "and not when they are left out",
    },
    {
      points: 0,
      query: '{ queueLatency(queues: ["a"]) @skip(if: true) { queue } }',
      why: "what is skipped is free",
    },
    {
      points: 2,
      query: `query ($more: Boolean!) { queueLatency(queues: ["a", "b"]) { throughput @include(if: $more) ${rates} } }`,
      variables: { more: false },
      why: "what is not included is free",
    },
    {
      points: 4,
      query: `query ($more: Boolean!) { queueLatency(queues: ["a", "b"]) { throughput @include(if: $more) @skip(if: false) ${rates} } }`,
      variables: { more: true },
      why: "what is included is not",
    },
    {
      points: 1,
      query: `{ ... @skip(if: true) { a: queueLatency(queues: ["a"]) { queue } } ... @include(if: true) { b: queueLatency(queues: ["b"]) { queue } } }`,
      why: "whole fragments can be skipped",
    },
    {
      points: 2,
      query:
        'query A { queueLatency(queues: ["a"]) { queue } } query B { queueLatency(queues: ["a", "b"]) { queue } }',
      operationName: "B",
      why: "only what is run counts",
    },
    {
      points: 0,
      query:
        'query A { queueLatency(queues: ["a"]) { queue } } query B { queueLatency(queues: ["a", "b"]) { queue } }',
      why: "it is not said which: nothing is run",
    },
    {
      points: 0,
      query: 'query A { queueLatency(queues: ["a"]) { queue } }',
      operationName: "C",
      why: "no such operation: nothing is run",
    },
  ])("$points points: $why", ({ points, why: _, ...sent }) => {
    expect(cost(sent)).toBe(points);
  });

  const aliases = (count: number, of: string) =>
    Array.from({ length: count }, (_, i) => `a${i}: ${of}`).join(" ");
  const oneHistory = (selection: string) =>
    `history(from: "2026-01-01T00:00:00Z", to: "2026-01-08T00:00:00Z", step: ONE_HOUR) { ${selection} }`;

  test.each<Sent & { readonly min: number; readonly max: number; readonly why: string }>([
    {
      query: `{ queueLatency(queues: ["a", "b", "c", "d"]) { ${oneHistory(aliases(199, "maxLatency"))} } }`,
      min: 800,
      max: 1_600,
      why: "aliases of a leaf in 672 steps are 134,000 values",
    },
    {
      query: `{ queues(first: 500) { edges { node { ${aliases(200, "latency")} } } } }`,
      min: 600,
      max: 1_200,
      why: "aliases of a leaf in a page are 100,000 values",
    },
    {
      query: "{ queues(first: 1000) { edges { cursor node { queue latency state depth accuracy } } } }",
      min: 100,
      max: 100,
      why: "what a dashboard asks of a page is paid for with its queues",
    },
    {
      query: `{ queueLatency(queues: ["a"]) { ${oneHistory("at samples maxLatency meanLatency maxDepth enqueued")} } }`,
      min: 18,
      max: 40,
      why: "so is a chart",
    },
    {
      query: getIntrospectionQuery(),
      min: 15,
      max: 25,
      why: "GraphiQL's introspection is an answer of 70 KB",
    },
    {
      query: `{ ${aliases(200, "__typename")} }`,
      min: 1,
      max: 2,
      why: "200 names of a type are a short one",
    },
    {
      query: `{ queueLatency(queues: ["a"]) { queue } } # ${"x".repeat(20_000)}`,
      min: 19,
      max: 19,
      why: "a long document takes long to read",
    },
    {
      query: `{ ${aliases(1, 'queueLatency(queues: ["a"]) { queue }')} ${Array.from({ length: 50 }, (_, i) => `...F${i}`).join(" ")} }
        ${Array.from({ length: 50 }, (_, i) => `fragment F${i} on Query { __typename }`).join(" ")}`,
      min: 23,
      max: 30,
      why: "50 fragments are 1,225 pairs, which validation compares",
    },
  ])("$min to $max points by its size: $why", ({ min, max, why: _, ...sent }) => {
    const points = cost(sent);
    expect(points).toBeGreaterThanOrEqual(min);
    expect(points).toBeLessThanOrEqual(max);
  });

  test.each<Sent & { readonly megabytes: readonly [min: number, max: number]; readonly why: string }>([
    {
      query: `{ queues(first: 350) { edges { node { ${aliases(190, "queue")} } } } }`,
      megabytes: [12, 16],
      why: "a name has up to 200 bytes",
    },
    {
      query: `{ queues(first: 200) { edges { node { ${aliases(100, "id")} ${aliases(90, "__typename").replaceAll("a", "b")} } } } }`,
      megabytes: [5, 8],
      why: "an id has up to 284",
    },
    {
      query: `{ queues(first: 1000) { edges { cursor node { id queue source state latency oldestSince depth scheduled lost accuracy measuredAt stale } } } }`,
      megabytes: [0.5, 2],
      why: "the largest page is far from the limit",
    },
    {
      query: `{ alerts(first: 1000) { id rule queue state since firedAt endedAt end subject value threshold severity labels { name text } annotations { name text }
        facts { measuredAt latency oldestSince depth accuracy health { health since } } acknowledgedAt acknowledgedBy } }`,
      megabytes: [1, 6],
      why: "and all of all alerts",
    },
    {
      query:
        "{ alerts(first: 1000) { id rule queue state since severity labels { name text } annotations { name text } facts { measuredAt health { health since } } } }",
      megabytes: [1, 6],
      why: "so are all alerts",
    },
    {
      query: "{ alerts(first: 10) { labels { text } } }",
      megabytes: [0.003, 0.01],
      why: "an alert has several labels",
    },
    {
      query: '{ queueLatency(queues: ["a"]) { queue } }',
      megabytes: [0.0002, 0.0003],
      why: "one queue is one element",
    },
  ])("for an answer of up to $megabytes MB: $why", ({ query, megabytes: [min, max] }) => {
    const document = parse(query);
    const { maxBytes, cost: points } = priceOf({ document, variables: {}, operationName: null }, costOptions);
    if (max < 8) expect(points, "what may be asked by default").toBeLessThanOrEqual(500);
    expect(maxBytes / 1_000_000).toBeGreaterThan(min);
    expect(maxBytes / 1_000_000).toBeLessThan(max);
  });

  test("for a batch of events as literals, nothing for what their text is long", () => {
    const document = parse(
      `mutation { recordEvents(events: [${Array.from({ length: 3 }, () => event).join("                ")}]) { early } }`,
    );
    expect(priceOf({ document, variables: {}, operationName: null }, costOptions).charge).toEqual({
      points: 0,
      events: 3,
    });
  });

  describe("for what is answered about a batch of events,", () => {
    const invalid = { type: "ENQUEUED", queue: "*", jobId: 1 };
    const aliases = Array.from({ length: 190 }, (_, i) => `a${i}: reason`).join(" ");
    const plain = "__typename eventIndex field reason";
    test.each([
      {
        events: 1,
        rejected: `{ ${plain} }`,
        fragments: "",
        points: 0,
        why: "it is paid for with the events",
      },
      { events: 1_000, rejected: `{ ${plain} }`, fragments: "", points: 0, why: "however many they are" },
      { events: 1_000, rejected: `{ ${aliases} }`, fragments: "", points: 1_250, why: "aliases multiply it" },
      {
        ...{ events: 1_000, rejected: "{ ...F }", fragments: `fragment F on RejectedEvent { ${aliases} }` },
        ...{ points: 1_250, why: "a fragment that is spread for one event costs more for a thousand" },
      },
    ])(
      "$points points at least for $events with $rejected: $why",
      ({ events, rejected, fragments, points }) => {
        const document = parse(
          `mutation ($one: [QueueEventInput!]!, $all: [QueueEventInput!]!) {
          one: recordEvents(events: $one, onInvalid: SKIP) { rejected ${rejected} }
          all: recordEvents(events: $all, onInvalid: SKIP) { rejected ${rejected} }
        } ${fragments}`,
        );
        const variables = { one: [invalid], all: Array(events).fill(invalid) };
        const { charge } = priceOf(
          { document, variables, operationName: null },
          { schema, context: { limits: { ...limits, maxEvents: 1_000 } } },
        );
        expect(charge.events).toBe(events + 1);
        expect(charge.points).toBeGreaterThanOrEqual(points);
        expect(charge.points).toBeLessThan(1.2 * points + 1);
      },
    );
  });

  test("more than any limit when fragments spread each other over and over, and is still found at once", () => {
    const levels = 40;
    const fragments = Array.from(
      { length: levels },
      (_, i) => `fragment F${i} on Query { ...F${i + 1} ...F${i + 1} }`,
    );
    const last = `fragment F${levels} on Query { queueLatency(queues: ["a"]) { queue } }`;
    const document = parse(`{ ...F0 } ${fragments.join(" ")} ${last}`);
    expect(priceOf({ document, variables: {}, operationName: null }, costOptions).cost).toBe(2 ** levels);
  });
});

describe("an operation is refused before it costs anything", () => {
  const names = (count: number) => JSON.stringify(Array.from({ length: count }, (_, i) => `queue-${i}`));

  test.each<Sent & { readonly code: string; readonly why: string }>([
    {
      code: "TOO_MANY_QUEUES",
      query: `{ queueLatency(queues: ${names(11)}) { queue } }`,
      why: "one too many",
    },
    {
      code: "TOO_MANY_QUEUES",
      query: `{ queueLatency(queues: ${JSON.stringify(Array(11).fill("a"))}) { queue } }`,
      why: "the list is too long, whatever is in it",
    },
    {
      code: "TOO_MANY_QUEUES",
      query: `subscription { queueLatency(queues: ${names(11)}) { queue } }`,
      why: "in a subscription, too",
    },
    { code: "BAD_USER_INPUT", query: '{ queueLatency(queues: ["*"]) { queue } }', why: "no such name" },
    { code: "BAD_USER_INPUT", query: "{ queues(first: -1) { edges { cursor } } }", why: "below the bounds" },
    {
      code: "BAD_USER_INPUT",
      query: "{ queues(first: 1001) { edges { cursor } } }",
      why: "above the bounds",
    },
    { code: "BAD_USER_INPUT", query: '{ queues(after: "!") { edges { cursor } } }', why: "no cursor" },
    ...[49, 60_001].map((ms) => ({
      code: "BAD_USER_INPUT",
      query: `subscription { queueLatency(queues: ["a"], minIntervalMs: ${ms}) { queue } }`,
      why: `minIntervalMs may not be ${ms}`,
    })),
    ...[-1, 1, 249, 60_001].map((ms) => ({
      code: "BAD_USER_INPUT",
      query: `subscription { queueLatency(queues: ["a"], refreshMs: ${ms}) { queue } }`,
      why: `refreshMs may not be ${ms}`,
    })),
    {
      code: "BAD_USER_INPUT",
      query: `mutation { recordEvents(events: [${[event, event, event, event].join()}]) { early } }`,
      why: "more than MAX_EVENTS",
    },
    {
      code: "BAD_USER_INPUT",
      query:
        'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "faktory/a", jobId: 1 }]) { early } }',
      why: "the queue belongs to a source",
    },
    ...[
      { query: '{ waitingJobs(queue: "*") { jobId } }', why: "no such name" },
      { query: '{ waitingJobs(queue: "a", first: -1) { jobId } }', why: "below the bounds" },
      { query: '{ waitingJobs(queue: "a", first: 1001) { jobId } }', why: "above the bounds" },
      { query: 'mutation { trustQueue(queue: "*") }', why: "no such name" },
      { query: 'mutation { removeWaitingJobs(queue: "*", jobs: []) }', why: "no such name" },
      { query: 'mutation { removeWaitingJobs(queue: "a", jobs: [{ jobId: "" }]) }', why: "no id" },
      {
        query: 'mutation { removeWaitingJobs(queue: "a", jobs: [{ jobId: 1, attempt: -1 }]) }',
        why: "no attempt",
      },
      {
        query: `mutation { removeWaitingJobs(queue: "a", jobs: [${Array(4).fill("{ jobId: 1 }").join()}]) }`,
        why: "more than MAX_EVENTS",
      },
      {
        query: 'mutation { removeWaitingJobs(queue: "faktory/a", jobs: []) }',
        why: "the queue belongs to a source, be it known or not",
      },
    ].map((each) => ({ code: "BAD_USER_INPUT", ...each })),
    {
      code: "BAD_USER_INPUT",
      query: "query ($queues: [String!]!) { queueLatency(queues: $queues) { queue } }",
      variables: { queues: [null] },
      why: "the variables do not fit",
    },
    {
      code: "BAD_USER_INPUT",
      query: "query ($first: Int = 5) { queues(first: $first) { edges { cursor } } }",
      variables: { first: null },
      why: "null is not the default",
    },
    {
      code: "BAD_USER_INPUT",
      query: '{ good: queueLatency(queues: ["a"]) { queue } bad: queueLatency(queues: ["*"]) { queue } }',
      why: "one bad field is enough",
    },
  ])("with $code: $why", ({ code, why: _, ...sent }) => {
    expect(refusal(sent)).toMatchObject({ code });
  });

  test.each([
    ...[50, 60_000].map((ms) => `minIntervalMs: ${ms}`),
    ...[0, 250, 60_000].map((ms) => `refreshMs: ${ms}`),
  ])("but not with %s, which is just within the bounds", (argument) => {
    expect(cost({ query: `subscription { queueLatency(queues: ["a"], ${argument}) { queue } }` })).toBe(1);
  });

  test("but not in what is skipped", () => {
    const query =
      '{ good: queueLatency(queues: ["a"]) { queue } bad: queueLatency(queues: ["*"]) @skip(if: true) { queue } }';
    expect(cost({ query })).toBe(1);
  });
});

test("prices a document that is asked again with other variables anew", () => {
  const query =
    "query ($skip: Boolean!, $queues: [String!]!) { queueLatency(queues: $queues) @skip(if: $skip) { queue } }";
  const document = parse(query);
  const costWith = (variables: Readonly<Record<string, unknown>>) =>
    priceOf({ document, variables, operationName: null }, costOptions).cost;
  expect(costWith({ skip: true, queues: ["a"] })).toBe(0);
  expect(costWith({ skip: false, queues: ["a"] })).toBe(1);
  expect(costWith({ skip: false, queues: ["a", "b"] })).toBe(2);
  expect(costWith({ skip: true, queues: ["a"] })).toBe(0);
});

test("coerces variables once, and returns the result", () => {
  const parseValue = vi.spyOn(schema.getType("DateTime") as GraphQLScalarType, "parseValue");
  onTestFinished(() => parseValue.mockRestore());
  const at = "2026-11-23T08:15:30.250Z";
  const events = [{ type: "ENQUEUED", queue: "a", jobId: 7, at }];
  const document = parse(
    "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }",
  );
  const price = priceOf({ document, variables: { events }, operationName: null }, costOptions);
  const coerced = [{ type: "ENQUEUED", queue: "a", jobId: "7", attempt: 0, at: new Date(at) }];
  expect(price).toMatchObject({ cost: 1, charge: { points: 0, events: 1 }, variables: { events: coerced } });
  expect(parseValue).toHaveBeenCalledOnce();
});

describe("a document that is not validated yet", () => {
  const check = createMinCostCheck({ ...costOptions, maxCost: 1 });
  const queue = 'queueLatency(queues: ["a"]) { queue }';
  const spreads = (count: number, next: number) =>
    Array.from({ length: count }, (_, i) => {
      const others = Array.from({ length: Math.min(next, count - 1 - i) }, (_, j) => `...F${i + j + 1}`);
      return `fragment F${i} on Query { ${others.join(" ")} a${i}: ${queue} }`;
    }).join(" ");

  test.each([
    { query: `{ a: ${queue} b: ${queue} }`, why: "two queues" },
    { query: `{ ...F0 } ${spreads(50, 9)}`, why: "fragments that each spread the next nine, in one pass" },
    { query: `{ a: ${queue} b: ${queue} nothing unknown(x: 1) { y } }`, why: "whatever else it names" },
    {
      query: `query A { ${queue} b: ${queue} } query B { queues { edges { cursor } } }`,
      why: "each operation",
    },
  ])("is refused when it is too expensive already: $why", ({ query }) => {
    expect(() => check(parse(query))).toThrowError(/^expected a cost of at most 1 points, got at least /);
  });

  test.each([
    { query: `{ ${queue} }`, why: "as expensive as it may be" },
    {
      query: "query ($q: [String!]!) { queueLatency(queues: $q) { queue } }",
      why: "the number of queues is not known",
    },
    {
      query: `query ($i: Boolean!) { a: ${queue} b: ${queue.replace("{", "@include(if: $i) {")} }`,
      why: "it may be skipped",
    },
    {
      query: `query A { a: ${queue} b: ${queue} } query B { ${queue} }`,
      why: "the cheaper operation may be meant",
    },
    {
      query: "{ queueLatency(queues: 1, other: 2) { queue } }",
      why: "it is not valid, which validation says",
    },
    {
      query: "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
      why: "a cycle is no cost",
    },
    { query: "fragment A on Query { __typename }", why: "there is no operation" },
  ])("passes otherwise: $why", ({ query }) => {
    expect(() => check(parse(query))).not.toThrow();
  });
});
