import { type Alert, type AlertFacts, alertEnds, alertStates, type HealthSince } from "../core/alerts.ts";
import { builder } from "./builder.ts";
import { describedValues } from "./described-values.ts";
import { HealthEnum } from "./health.ts";
import { AccuracyEnum, ThroughputType } from "./queue-latency.ts";
import { roundedSeconds, secondsOf } from "./rounding.ts";

export const AlertStateEnum = builder.enumType("AlertState", {
  description: "How an alert goes on.",
  values: describedValues(alertStates, {
    PENDING: "Its condition holds, but not for as long as its rule says yet. Nobody is told.",
    FIRING: "Its condition has held for long enough, and it is not below its lower threshold again.",
    RESOLVED:
      "It has ended, as `end` says. One with no `firedAt` was PENDING: it is told to subscribers, and in no list.",
  }),
});

const AlertEndEnum = builder.enumType("AlertEnd", {
  description: "Why an alert ended.",
  values: describedValues(alertEnds, {
    RECOVERED: "The queue is below the rule's lower threshold, or its condition holds no more.",
    QUEUE_GONE: "The queue is MISSING.",
    DISPLACED: "There were too many alerts, and the alert of an older queue took its place.",
    RULE_GONE:
      "The file of rules has no such rule any more, or it does not match the queue any more, or looks at something else.",
  }),
});

const AlertSubjectEnum = builder.enumType("AlertSubject", {
  description: "What a rule looks at.",
  values: {
    LATENCY: { value: "latency", description: "The latency, in seconds." },
    DEPTH: { value: "depth", description: "How many jobs wait." },
    P50: {
      value: "p50",
      description: "How long half of the jobs waited at most, in seconds, over FIVE_MINUTES.",
    },
    P95: {
      value: "p95",
      description: "How long 95 % of the jobs waited at most, in seconds, over FIVE_MINUTES.",
    },
    P99: {
      value: "p99",
      description: "How long 99 % of the jobs waited at most, in seconds, over FIVE_MINUTES.",
    },
    HEALTH: { value: "health", description: "The health." },
    UNKNOWN: {
      value: "unknown",
      description: "Whether the state of the queue is known: the built-in rule QueueUnknown.",
    },
    DROPPED_ALERTS: {
      value: "dropped_alerts",
      description: "How many alerts are dropped because there are too many: the built-in rule AlertsDropped.",
    },
  },
});

const AlertTextType = builder.objectRef<readonly [name: string, text: string]>("AlertText").implement({
  description: "A label or an annotation of a rule.",
  fields: (t) => ({
    name: t.string({ description: "Its name. Free.", resolve: ([name]) => name }),
    text: t.string({ description: "What it says. Free.", resolve: ([, text]) => text }),
  }),
});

const AlertHealthType = builder.objectRef<HealthSince>("AlertHealth").implement({
  description: "A health that a queue was seen in.",
  fields: (t) => ({
    health: t.expose("health", { type: HealthEnum, description: "The health. Free." }),
    since: t.field({
      type: "DateTime",
      description: "From when on it was seen, by Redis's clock; until the next one. Free.",
      resolve: ({ sinceMs }) => new Date(sinceMs),
    }),
  }),
});

const AlertFactsType = builder.objectRef<AlertFacts>("AlertFacts").implement({
  description: "How the queue stood when its alert fired, as QueueLatency tells it.",
  fields: (t) => ({
    measuredAt: t.field({
      type: "DateTime",
      description: "The instant that this speaks of, by Redis's clock. Free.",
      resolve: ({ measuredAtMs }) => new Date(measuredAtMs),
    }),
    latency: t.float({
      nullable: true,
      description:
        "Seconds since the head became claimable; 0 when nothing waited. Null when it was not known. Free.",
      resolve: ({ latencyMs }) => (latencyMs === null ? null : secondsOf(latencyMs)),
    }),
    oldestSince: t.field({
      type: "DateTime",
      nullable: true,
      description: "When the head became claimable. Null when nothing waited, or it was not known. Free.",
      resolve: ({ oldestSinceMs }) => (oldestSinceMs === null ? null : new Date(oldestSinceMs)),
    }),
    depth: t.exposeInt("depth", {
      nullable: true,
      description: "How many jobs waited. Null when it was not known. Free.",
    }),
    accuracy: t.expose("accuracy", {
      type: AccuracyEnum,
      description: "How far `latency` could be trusted. Free.",
    }),
    throughput: t.expose("throughput", {
      type: ThroughputType,
      nullable: true,
      description: "Rates over ONE_MINUTE. Null where the source cannot tell. Free.",
    }),
    health: t.field({
      type: [AlertHealthType],
      description:
        "How the queue fared in the five minutes before, oldest first, as far as it was looked at: while the alert was PENDING, and where a rule is about health. Free.",
      resolve: ({ health }) => [...health],
    }),
  }),
});

export const AlertType = builder.objectRef<Alert>("Alert").implement({
  description:
    "One rule of ALERTS_FILE, or a built-in rule, about one queue, from when its condition was first met until it ends. Labels and annotations are those that the rule had when it fired.",
  fields: (t) => ({
    id: t.exposeID("id", {
      description:
        "Of this alert alone: when the same rule fires again for the same queue, it has another one. Free.",
    }),
    rule: t.exposeString("rule", { description: "Name of the rule. Free." }),
    queue: t.exposeString("queue", {
      nullable: true,
      description:
        "Name of the queue. Null for the built-in rule AlertsDropped, which is about alerts themselves.",
    }),
    state: t.expose("state", { type: AlertStateEnum, description: "How it goes on. Free." }),
    since: t.field({
      type: "DateTime",
      description: "When its condition was first seen, by Redis's clock. Free.",
      resolve: ({ sinceMs }) => new Date(sinceMs),
    }),
    firedAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When it fired. Null when it has not. Free.",
      resolve: ({ firedAtMs }) => (firedAtMs === null ? null : new Date(firedAtMs)),
    }),
    endedAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When it ended. Null while it has not. Free.",
      resolve: ({ endedAtMs }) => (endedAtMs === null ? null : new Date(endedAtMs)),
    }),
    end: t.expose("end", {
      type: AlertEndEnum,
      nullable: true,
      description: "Why it ended. Null while it has not. Free.",
    }),
    subject: t.expose("subject", { type: AlertSubjectEnum, description: "What its rule looks at. Free." }),
    value: t.float({
      nullable: true,
      description:
        "What was found when it began, then when it fired, then when it ended: seconds or jobs, as `subject` says. Null for what is no number, and where nobody could tell. Free.",
      resolve: ({ value }) => (value === null ? null : roundedSeconds(value)),
    }),
    threshold: t.float({
      nullable: true,
      description: "What `value` has to be above for it to fire. Null for what is no number. Free.",
      resolve: ({ threshold }) => (threshold === null ? null : roundedSeconds(threshold)),
    }),
    severity: t.exposeString("severity", { description: "The rule's severity. Free." }),
    labels: t.field({
      type: [AlertTextType],
      description: "The rule's labels. Free.",
      resolve: ({ labels }) => Object.entries(labels),
    }),
    annotations: t.field({
      type: [AlertTextType],
      description: "The rule's annotations. Free.",
      resolve: ({ annotations }) => Object.entries(annotations),
    }),
    facts: t.expose("facts", {
      type: AlertFactsType,
      nullable: true,
      description:
        "How the queue stood when it fired. Null before, and when the queue could not be read. Free.",
    }),
    acknowledgedAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When somebody said that they had seen it. Null while nobody has. Free.",
      resolve: ({ acknowledgement }) => (acknowledgement === null ? null : new Date(acknowledgement.atMs)),
    }),
    acknowledgedBy: t.string({
      nullable: true,
      description: "Name of the token with which that was said. Null where there are no tokens. Free.",
      resolve: ({ acknowledgement }) => /^token:(.*)$/.exec(acknowledgement?.by ?? "")?.[1] ?? null,
    }),
  }),
});
