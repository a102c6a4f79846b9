import { readFile } from "node:fs/promises";
import {
  buildSchema,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isRequiredArgument,
  isRequiredInputField,
  isSpecifiedScalarType,
} from "graphql";
import { describe, expect, test } from "vitest";
import { introspectionType } from "../../script/introspection-type.ts";
import { printedSchema, schema } from "../../src/api/schema.ts";

/** What clients rely on: names, types, nullability and defaults. What is not in here may be added. */
const contract = buildSchema(`
  scalar DateTime

  enum QueueState { MISSING EMPTY WAITING PAUSED }
  enum Accuracy { EXACT ESTIMATED LOWER_BOUND INCOMPLETE UNKNOWN }
  enum Window { ONE_MINUTE FIVE_MINUTES FIFTEEN_MINUTES }
  enum QueueEventType { ENQUEUED DEQUEUED REMOVED }

  interface Node { id: ID! }
  type QueueLatency implements Node {
    id: ID!
    queue: String!
    source: String
    state: QueueState!
    latency: Float
    oldestSince: DateTime
    depth: Int
    depthIsLowerBound: Boolean!
    scheduled: Int
    lost: Int
    accuracy: Accuracy!
    measuredAt: DateTime!
    stale: Boolean!
    throughput(window: Window! = ONE_MINUTE): Throughput
    waitTime(window: Window! = FIVE_MINUTES): WaitTime
    health: Health!
    objective: Float
    forecast: Forecast
  }
  type Forecast { drainSeconds: Estimate breachSeconds: Estimate capacityRatio: Estimate unstable: Boolean! }
  type Estimate { low: Float! likely: Float! high: Float! }
  type Throughput { enqueuedPerSecond: Float! dequeuedPerSecond: Float! }
  type WaitTime { count: Int! mean: Float! p50: Float! p95: Float! p99: Float! max: Float! }

  type QueueConnection { edges: [QueueEdge!]! pageInfo: PageInfo! }
  type QueueEdge { cursor: String! node: QueueLatency! }
  type PageInfo { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }

  type Query {
    node(id: ID!): Node
    nodes(ids: [ID!]!): [Node]!
    queueLatency(queues: [String!]!): [QueueLatency!]!
    queues(prefix: String, first: Int! = 50, after: String): QueueConnection!
    waitingJobs(queue: String!, first: Int! = 50): [WaitingJob!]!
    alerts(state: AlertState, queue: String, first: Int! = 50): [Alert!]!
    alertStatus: AlertStatus!
  }

  enum AlertState { PENDING FIRING RESOLVED }
  enum AlertEnd { RECOVERED QUEUE_GONE RULE_GONE }
  enum AlertSubject { LATENCY DEPTH P50 P95 P99 HEALTH UNKNOWN }
  enum Health { OK SLOW FALLING_BEHIND STALLED UNKNOWN }
  type Alert {
    id: ID!
    rule: String!
    queue: String
    state: AlertState!
    since: DateTime!
    firedAt: DateTime
    endedAt: DateTime
    end: AlertEnd
    subject: AlertSubject!
    value: Float
    threshold: Float
    severity: String!
    labels: [AlertText!]!
    annotations: [AlertText!]!
    facts: AlertFacts
    acknowledgedAt: DateTime
    acknowledgedBy: String
  }
  type AlertText { name: String! text: String! }
  type AlertFacts {
    measuredAt: DateTime!
    latency: Float
    oldestSince: DateTime
    depth: Int
    accuracy: Accuracy!
    throughput: Throughput
    health: [AlertHealth!]!
  }
  type AlertHealth { health: Health! since: DateTime! }
  type AlertStatus {
    pending: Int!
    firing: Int!
    decidedAt: DateTime
    rules: Int!
    outbox: Int!
    ignored: Int!
    unreadable: Int!
    receivers: [ReceiverStatus!]!
  }
  type ReceiverStatus { receiver: String! waiting: Int! delivered: Int! failed: Int! dropped: Int! }
  type WaitingJob { jobId: ID! attempt: Int! since: DateTime! waited: Float! }
  input WaitingJobInput { jobId: ID! attempt: Int! = 0 }

  input QueueEventInput {
    type: QueueEventType!
    queue: String!
    jobId: ID!
    attempt: Int! = 0
    at: DateTime
    availableAt: DateTime
  }
  enum OnInvalid { REFUSE_BATCH SKIP }
  type RecordEventsPayload { accepted: Int! duplicates: Int! early: Int! expired: Int! rejected: [RejectedEvent!]! }
  type RejectedEvent { eventIndex: Int! field: String reason: String! }
  type Mutation {
    recordEvents(events: [QueueEventInput!]!, batchId: ID, onInvalid: OnInvalid! = REFUSE_BATCH): RecordEventsPayload!
    forgetQueue(queue: String!): Boolean!
    removeWaitingJobs(queue: String!, jobs: [WaitingJobInput!]!): Int!
    trustQueue(queue: String!): Boolean!
    acknowledgeAlert(id: ID!): Alert
  }

  type Subscription {
    queueLatency(queues: [String!]!, minIntervalMs: Int! = 100, refreshMs: Int! = 1000): [QueueLatency!]!
    alertChanged(queue: String): Alert!
  }
`);

/** Anything of a schema, with the path by which people speak of it. */
interface Element {
  readonly path: string;
  /** Its type, as it is written; "" where it has none. */
  readonly type: string;
  /** Clients have to give more than at first. */
  readonly isRequired: boolean;
  readonly description: string;
}

function elementsOf(types: readonly GraphQLNamedType[]): readonly Element[] {
  return types
    .filter((type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type))
    .flatMap((type) => [element(type.name, type), ...partsOf(type)]);
}

function partsOf(type: GraphQLNamedType): readonly Element[] {
  if (isEnumType(type)) {
    return type.getValues().map((value) => element(`${type.name}.${value.name}`, value));
  }
  if (isInputObjectType(type)) {
    return Object.values(type.getFields()).map((field) =>
      element(`${type.name}.${field.name}`, field, typed(field), isRequiredInputField(field)),
    );
  }
  if (isObjectType(type) || isInterfaceType(type)) {
    return Object.values(type.getFields()).flatMap((field) => [
      element(`${type.name}.${field.name}`, field, typed(field)),
      ...field.args.map((argument) =>
        element(
          `${type.name}.${field.name}(${argument.name}:)`,
          argument,
          typed(argument),
          isRequiredArgument(argument),
        ),
      ),
    ]);
  }
  return [];
}

function element(
  path: string,
  { description }: { readonly description?: string | null | undefined },
  type = "",
  isRequired = false,
): Element {
  return { path, type, isRequired, description: description ?? "" };
}

function typed(part: GraphQLField<unknown, unknown> | GraphQLArgument | GraphQLInputField): string {
  const hasDefault = "defaultValue" in part && part.defaultValue !== undefined;
  return hasDefault ? `${part.type} = ${JSON.stringify(part.defaultValue)}` : String(part.type);
}

const elements = elementsOf(Object.values(schema.getTypeMap()));
const promised = elementsOf(Object.values(contract.getTypeMap()));

test("the types of the dashboard's documents are current (if they are not: npm run schema)", async () => {
  const file = await readFile(
    new URL("../../src/dashboard/graphql/introspection.ts", import.meta.url),
    "utf8",
  );
  expect(file).toBe(introspectionType(schema));
});

test("schema.graphql is current (if it is not: npm run schema)", async () => {
  const file = await readFile(new URL("../../schema.graphql", import.meta.url), "utf8");
  expect(file).toBe(printedSchema());
});

describe("the public contract", () => {
  test.each(promised.map(({ path, type }) => ({ path, type })))("has $path $type", ({ path, type }) => {
    expect(elements.find((each) => each.path === path)).toMatchObject({ path, type });
  });

  test("requires nothing of clients that it did not require at first", () => {
    const added = elements.filter(({ path }) => !promised.some((each) => each.path === path));
    // What is required of a field that came later is asked only of clients that ask for the field.
    const isOfAdded = (path: string) => added.some((each) => path.startsWith(`${each.path}(`));
    const required = added.filter(({ isRequired, path }) => isRequired && !isOfAdded(path));
    expect(required.map(({ path }) => path)).toEqual([]);
  });
});

describe("descriptions", () => {
  test("stand at every type, field, argument, value and input field", () => {
    const bare = elements.filter(({ description }) => description.trim() === "");
    expect(bare.map(({ path }) => path)).toEqual([]);
  });

  test("are sentences, that begin with a capital letter and end with a full stop", () => {
    const odd = elements.filter(
      ({ description }) => description !== "" && !/^[A-Z0-9`].*\.$/s.test(description.trim()),
    );
    expect(odd.map(({ path, description }) => `${path}: ${description}`)).toEqual([]);
  });

  test("say nothing of a cost that a field does not have", () => {
    const free = elements.filter(({ description }) => /\bFree\b/.test(description));
    expect(free.map(({ path }) => path)).toEqual([]);
  });

  test("of every field that costs say how much", () => {
    const costing = [
      "QueueLatency.throughput",
      "QueueLatency.waitTime",
      "QueueLatency.history",
      "QueueLatency.health",
      "QueueLatency.forecast",
      "Query.node",
      "Query.nodes",
      "Query.queueLatency",
      "Query.queues",
      "Query.waitingJobs",
      "Mutation.recordEvents",
      "Mutation.forgetQueue",
      "Mutation.removeWaitingJobs",
      "Mutation.trustQueue",
      "Query.alerts",
      "Query.alertStatus",
      "Mutation.acknowledgeAlert",
      "Subscription.alertChanged",
      "Subscription.queueLatency",
      "Subscription.queues",
    ];
    for (const { path, description } of elements) {
      if (costing.includes(path)) expect(description, path).toMatch(/\b(Costs|Charged)\b/);
      // What costs nothing says nothing of it.
      expect(description, path).not.toMatch(/\b[Ff]ree\b/);
    }
    expect(elements.filter(({ path }) => costing.includes(path))).toHaveLength(costing.length);
  });
});
