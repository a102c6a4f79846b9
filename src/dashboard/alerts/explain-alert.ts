import { formatAtLeast, formatCount, formatRate, type Rates } from "../format/count.ts";
import { formatDuration } from "../format/duration.ts";
import { type Health, healthWords } from "../format/health-words.ts";
import { formatTime } from "../format/instant.ts";

export type AlertEnd = "RECOVERED" | "QUEUE_GONE" | "RULE_GONE" | "DISPLACED";

/** What the sentences about an alert read. */
export interface ExplainedAlert {
  readonly subject:
    | "LATENCY"
    | "IN_ORDER_LATENCY"
    | "DEPTH"
    | "OVERTAKEN"
    | "P50"
    | "P95"
    | "P99"
    | "HEALTH"
    | "UNKNOWN"
    | "DROPPED_ALERTS";
  readonly value: number | null;
  readonly threshold: number | null;
  readonly end: AlertEnd | null;
  readonly facts?: Pick<FiringFacts, "depthIsLowerBound" | "health"> | null;
}

const waits = {
  P50: "median wait",
  P95: "95th percentile of waits",
  P99: "99th percentile of waits",
} as const;

/** The condition that is met, as a clause: "latency 42s, above 30s". */
export function explainCondition({ subject, value, threshold, facts }: ExplainedAlert): string {
  switch (subject) {
    case "HEALTH":
      return healthCondition(facts?.health.at(-1)?.health);
    case "UNKNOWN":
      return "the state of the queue is not known";
    case "DROPPED_ALERTS":
      return `${value === null ? "alerts" : `${formatCount(value)} alerts`} dropped: there are too many`;
    case "DEPTH":
      return comparison("depth", value, threshold, (depth) =>
        formatAtLeast(depth, depth === value && facts?.depthIsLowerBound === true),
      );
    case "OVERTAKEN":
      return comparison("overtaken jobs", value, threshold, formatCount);
    case "LATENCY":
      return comparison("latency", value, threshold, formatDuration);
    case "IN_ORDER_LATENCY":
      return comparison("latency in order", value, threshold, formatDuration);
    default:
      return comparison(waits[subject], value, threshold, formatDuration);
  }
}

/** @param health when the alert fired; undefined: it has not, or it was not known. */
function healthCondition(health: Health | undefined): string {
  return health === undefined ? "health as the rule names it" : `health ${healthWords[health]}`;
}

function comparison(
  name: string,
  value: number | null,
  threshold: number | null,
  format: (value: number) => string,
): string {
  const found = value === null ? "not known" : format(value);
  return threshold === null ? `${name} ${found}` : `${name} ${found}; the rule allows ${format(threshold)}`;
}

const ends: Readonly<Record<AlertEnd, string>> = {
  RECOVERED: "Recovered: the condition no longer holds.",
  QUEUE_GONE: "The queue is gone: it was forgotten, or its job system no longer lists it.",
  RULE_GONE: "The rule is gone, or no longer matches this queue.",
  DISPLACED: "Displaced: there were too many alerts, and this one gave its place to another queue's.",
};

export function explainEnd(end: AlertEnd): string {
  return ends[end];
}

/** State of the queue when the alert fired. */
export interface FiringFacts {
  readonly latency: number | null;
  readonly depth: number | null;
  readonly depthIsLowerBound?: boolean;
  readonly overtaken?: number | null;
  readonly inOrderLatency?: number | null;
  readonly accuracy: "EXACT" | "ESTIMATED" | "LOWER_BOUND" | "INCOMPLETE" | "UNKNOWN";
  readonly throughput: Rates | null;
  readonly health: readonly { readonly health: Health; readonly since: string }[];
}

const accuracies: Readonly<Record<FiringFacts["accuracy"], string | null>> = {
  EXACT: null,
  ESTIMATED: "The age was an estimate: it comes from another clock.",
  LOWER_BOUND: "The age was a lower bound: the job may have waited longer.",
  INCOMPLETE: "Redis had lost events: the numbers may have been too high or too low.",
  UNKNOWN: null,
};

/** What was known when the alert fired, a sentence each. */
export function explainFacts(facts: FiringFacts): readonly string[] {
  const { latency, depth, depthIsLowerBound, throughput, health } = facts;
  const sentences = [
    latency === null
      ? "The age of the oldest job was not known."
      : latency === 0
        ? "No job waited."
        : `The oldest job had waited ${formatDuration(latency)}.`,
  ];
  if (depth !== null && depth > 0) {
    const count = `${depthIsLowerBound ? "At least " : ""}${formatCount(depth)}`;
    sentences.push(depth === 1 ? "1 job waited." : `${count} jobs waited.`);
  }
  const overtaken = overtakenFact(facts);
  if (overtaken !== null) sentences.push(overtaken);
  if (throughput !== null) {
    const { enqueuedPerSecond, dequeuedPerSecond, isLowerBound } = throughput;
    sentences.push(
      `${formatRate(enqueuedPerSecond, isLowerBound)}/s came, ${formatRate(dequeuedPerSecond, isLowerBound)}/s left.`,
    );
  }
  const accuracy = accuracies[facts.accuracy];
  if (accuracy !== null) sentences.push(accuracy);
  if (health.length > 0) {
    const course = health
      .map(({ health, since }) => `${healthWords[health]} at ${formatTime(since)}`)
      .join(", ");
    sentences.push(`Health: ${course}.`);
  }
  return sentences;
}

function overtakenFact({ overtaken, inOrderLatency }: FiringFacts): string | null {
  if (overtaken == null || overtaken === 0) return null;
  const jobs = overtaken === 1 ? "1 job" : `${formatCount(overtaken)} jobs`;
  return `${jobs} had been overtaken; in order the oldest job had waited ${formatDuration(inOrderLatency ?? 0)}.`;
}
