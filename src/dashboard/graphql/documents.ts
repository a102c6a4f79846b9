import { graphql, type ResultOf } from "./graphql.ts";

/** A row of the overview. */
const queueRow = graphql(`
  fragment QueueRow on QueueLatency {
    queue source state health latency oldestSince overtaken inOrderLatency objective depth depthIsLowerBound accuracy stale measuredAt
    throughput { enqueuedPerSecond dequeuedPerSecond isLowerBound }
    waitTime { count p95 isUpperBound }
    forecast { unstable drainSeconds { likely } breachSeconds { likely } }
  }`);
export type QueueRow = ResultOf<typeof queueRow>;

/** The rows of the overview that are on the screen, and the counts above them. */
export const queuePage = graphql(
  `
  subscription Queues(
    $orderBy: QueueOrder! = HEALTH, $reverse: Boolean! = false, $offset: Int! = 0, $first: Int! = 50,
    $search: String, $source: String, $state: [QueueState!], $health: [Health!]
  ) {
    queues(
      orderBy: $orderBy, reverse: $reverse, offset: $offset, first: $first,
      search: $search, source: $source, state: $state, health: $health
    ) {
      edges { node { ...QueueRow } }
      totalCount
      healthCounts { health count }
      sourceCounts { source count }
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

/** How the queues are now whose alerts fire. */
export const queuesNow = graphql(`
  subscription QueuesNow($queues: [String!]!) {
    queueLatency(queues: $queues, minIntervalMs: 1000) {
      queue state health latency oldestSince depth depthIsLowerBound accuracy stale measuredAt
    }
  }`);

/** All of one queue but its history, for its page. */
export const queueNow = graphql(`
  subscription QueueNow($queue: String!) {
    queueLatency(queues: [$queue], minIntervalMs: 1000) {
      queue source state health objective latency oldestSince overtaken inOrderLatency measuredAt depth depthIsLowerBound scheduled lost
      inFlight inFlightIdle
      accuracy stale clockSkew
      throughput { enqueuedPerSecond dequeuedPerSecond isLowerBound }
      waitTime(window: ONE_MINUTE) { count p50 p95 p99 isUpperBound }
      forecast {
        unstable
        drainSeconds { low likely high }
        breachSeconds { low likely high }
        capacityRatio { low likely high }
      }
    }
  }`);

/** The charts of one queue. At most 1,000 steps are answered at once. */
export const queueHistory = graphql(`
  query QueueHistory($queue: String!, $from: DateTime!, $to: DateTime!, $step: HistoryStep!) {
    queueLatency(queues: [$queue]) {
      queue
      history(from: $from, to: $to, step: $step) {
        at samples incompleteSamples lowerBoundSamples maxLatency maxDepth enqueued dequeued
        waitTime { count p50 p95 p99 }
      }
    }
  }`);

/** The jobs of one queue that have waited longest. */
export const waitingJobs = graphql(`
  query WaitingJobs($queue: String!, $first: Int! = 50) {
    waitingJobs(queue: $queue, first: $first) { jobId attempt since waited }
  }`);

export const removeJobs = graphql(`
  mutation RemoveJobs($queue: String!, $jobs: [WaitingJobInput!]!) {
    removeWaitingJobs(queue: $queue, jobs: $jobs)
  }`);

export const trustQueue = graphql(`
  mutation TrustQueue($queue: String!) {
    trustQueue(queue: $queue)
  }`);

const alertFields = graphql(`
  fragment AlertFields on Alert {
    id rule queue state severity since firedAt endedAt end subject value threshold acknowledgedAt acknowledgedBy
    labels { name text }
    annotations { name text }
    facts {
      measuredAt latency depth depthIsLowerBound overtaken inOrderLatency accuracy
      throughput { enqueuedPerSecond dequeuedPerSecond isLowerBound }
      health { health since }
    }
  }`);

/** Alerts as they begin, fire, are acknowledged and end. */
export const alertChanged = graphql(
  `
  subscription AlertChanged($first: Int! = 100) {
    alertChanged(first: $first) { ...AlertFields }
  }`,
  [alertFields],
);

/** Alerts in one state, of one queue or of all. */
export const alertsInState = graphql(
  `
  query AlertsInState($state: AlertState!, $queue: String, $first: Int! = 100) {
    alerts(state: $state, queue: $queue, first: $first) { ...AlertFields }
  }`,
  [alertFields],
);

export const acknowledgeAlert = graphql(
  `
  mutation AcknowledgeAlert($id: ID!) {
    acknowledgeAlert(id: $id) { ...AlertFields }
  }`,
  [alertFields],
);

/** How the rules are evaluated, and how the receivers of alerts accept notifications. */
export const alertStatus = graphql(`
  query AlertStatus {
    alertStatus {
      measuredAt rules pending firing decidedAt outbox ignored unreadable
      receivers { receiver waiting delivered failed dropped }
    }
  }`);
/** What the token of this tab may do. */
export const viewer = graphql(`query Viewer { viewer { scopes } }`);
