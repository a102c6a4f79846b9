import type { Question } from "../load/ask.ts";
import { type ClientKind, clientKinds, requestOf } from "../load/client-requests.ts";
import { loadTokens } from "./under-test.ts";

/** Each client watches some of them. */
export const manyQueues: readonly string[] = namesOf("bench", 64);
export const tenQueues: readonly string[] = manyQueues.slice(0, 10);

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

/** How many different questions there are. */
const questionCount = 64;

/** Ten queues of `manyQueues`; of 64 such questions no two are the same. */
export function ownQueues(question: number): readonly string[] {
  return Array.from({ length: 10 }, (_, i) => manyQueues[(question + 7 * i) % manyQueues.length] ?? "");
}

export interface Mix {
  /** Which queues a question asks for. @default ownQueues */
  readonly queuesOf?: (question: number) => readonly string[];
  /** Which clients send them, in turn. @default all */
  readonly clients?: readonly ClientKind[];
}

/** 64 questions, which 25 tokens ask in turn. */
export function mixedQuestions({ queuesOf = ownQueues, clients = clientKinds }: Mix = {}): Question[] {
  return Array.from({ length: questionCount }, (_, i) => {
    const client = clients[i % clients.length] ?? "fetch";
    return questionFor(queuesOf(i), client, loadTokens[i % loadTokens.length]);
  });
}

/** The query for some queues, as a client asks it. */
export function questionFor(
  queues: readonly string[],
  client: ClientKind = "fetch",
  token = loadTokens[0] ?? "",
): Question {
  const contains = `"queue":"${queues.at(-1)}"`;
  return { request: requestOf(client, { query, queues }, token), status: 200, contains };
}
