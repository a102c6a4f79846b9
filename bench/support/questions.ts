import type { Question } from "../load/ask.ts";
import { loadTokens } from "./under-test.ts";

/** The ten queues that nearly everything is asked of. */
export const tenQueues: readonly string[] = namesOf("bench", 10);

export function namesOf(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
}

const fields = "queue state latency depth oldestSince accuracy measuredAt stale";
export const query = `query ($queues: [String!]!) { queueLatency(queues: $queues) { ${fields} } }`;
export const subscription = `subscription ($queues: [String!]!, $minIntervalMs: Int!, $refreshMs: Int!) {
  queueLatency(queues: $queues, minIntervalMs: $minIntervalMs, refreshMs: $refreshMs) { ${fields} }
}`;

/** The same with what is counted of each queue, which is read apart from the rest. */
export function withCounts(document: string): string {
  const counts = "throughput { enqueuedPerSecond dequeuedPerSecond } waitTime { p50 p99 }";
  return document.replace(fields, `${fields} ${counts}`);
}

/** What a subscription takes for granted when it says nothing. */
export const usualPace = { minIntervalMs: 100, refreshMs: 1_000 } as const;

/** The query for some queues, as the first of the clients asks it. */
export function questionFor(queues: readonly string[], token = loadTokens[0] ?? ""): Question {
  const contains = `"queue":"${queues.at(-1)}"`;
  return { body: JSON.stringify({ query, variables: { queues } }), token, status: 200, contains };
}
