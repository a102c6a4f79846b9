import { graphql, type ResultOf } from "./graphql.ts";

/** A row of the overview. */
const queueRow = graphql(`
  fragment QueueRow on QueueLatency {
    queue source state health latency oldestSince objective depth accuracy stale measuredAt
    throughput { enqueuedPerSecond dequeuedPerSecond }
    waitTime { count p95 }
    forecast { unstable drainSeconds { likely } breachSeconds { likely } }
  }`);
export type QueueRow = ResultOf<typeof queueRow>;

/** The rows of the overview that are on the screen, and the counts above them. */
export const queuePage = graphql(
  `
  subscription Queues(
    $orderBy: QueueOrder! = LATENESS, $first: Int! = 50,
    $search: String, $source: String, $state: [QueueState!], $health: [Health!]
  ) {
    queues(
      orderBy: $orderBy, first: $first,
      search: $search, source: $source, state: $state, health: $health
    ) {
      edges { node { ...QueueRow } }
      measuredAt
      omitted
    }
  }`,
  [queueRow],
);
export type QueuePage = ResultOf<typeof queuePage>["queues"];

/** Rows that keep their place on the screen though they have left the page. */
export const queueRows = graphql(
  `
  subscription QueueRows($queues: [String!]!) {
    queueLatency(queues: $queues, minIntervalMs: 1000) { ...QueueRow }
  }`,
  [queueRow],
);

/** The sparklines of the rows on the screen. */
export const sparklines = graphql(`
  query Sparklines($queues: [String!]!, $from: DateTime!) {
    queueLatency(queues: $queues) {
      queue
      history(from: $from, step: ONE_MINUTE) { at maxLatency }
    }
  }`);
