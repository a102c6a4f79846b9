import { type Alert, type AlertFacts, alertEnds, alertStates, type HealthSince } from "../core/alerts.ts";
import { maxQueueNameBytes } from "../core/queue-name.ts";
import { roundedSeconds, secondsOf } from "../core/rounding.ts";
import { type FieldCost, text } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import { describedValues } from "./described-values.ts";
import { HealthEnum } from "./health.ts";
import { AccuracyEnum } from "./queue-latency.ts";
import { ThroughputType } from "./rates.ts";

/** Most alerts have no more of each. */
const few = (): FieldCost => ({ items: 3 });

export const AlertStateEnum = builder.enumType("AlertState", {
  description: "State of an alert.",
  values: describedValues(alertStates, {
    PENDING: "The condition holds, but not yet for as long as the rule demands. No notification is sent.",
    FIRING: "The condition has held for long enough, and the value has not fallen below the lower threshold.",
    RESOLVED:
      "Ended; `end` says why. An alert without `firedAt` ended while PENDING: it is pushed to subscribers, and in no list.",
  }),
});

const AlertEndEnum = builder.enumType("AlertEnd", {
  description: "Why an alert ended.",
  values: describedValues(alertEnds, {
    RECOVERED: "The value is below the rule's lower threshold, or the condition no longer holds.",
    QUEUE_GONE: "The queue is MISSING.",
    DISPLACED: "There were too many alerts, and the alert of an older queue took its place.",
    RULE_GONE:
      "The file of rules has no such rule any more, or it does not match the queue any more, or looks at something else.",
  }),
});

const AlertSubjectEnum = builder.enumType("AlertSubject", {
  description: "Subject of a rule's condition.",
  values: {
    LATENCY: { value: "latency", description: "The latency, in seconds." },
    IN_ORDER_LATENCY: {
      value: "in_order_latency",
      description:
        "The latency of the jobs that are served in order, in seconds: `inOrderLatency`, or `latency` where that is null.",
    },
    DEPTH: { value: "depth", description: "The depth: the number of waiting jobs." },
    OVERTAKEN: { value: "overtaken", description: "Number of waiting jobs that were overtaken." },
    P50: {
      value: "p50",
      description: "Median wait time, in seconds, over FIVE_MINUTES.",
    },
    P95: {
      value: "p95",
      description: "95th percentile of wait times, in seconds, over FIVE_MINUTES.",
    },
    P99: {
      value: "p99",
      description: "99th percentile of wait times, in seconds, over FIVE_MINUTES.",
    },
    HEALTH: { value: "health", description: "The health." },
    UNKNOWN: {
      value: "unknown",
      description: "Whether the state of the queue is known: the built-in rule QueueUnknown.",
    },
    DROPPED_ALERTS: {
      value: "dropped_alerts",
      description:
        "Number of alerts that are dropped because there are too many: the built-in rule AlertsDropped.",
    },
  },
});

const AlertTextType = builder.objectRef<readonly [name: string, text: string]>("AlertText").implement({
  description: "A label or an annotation of a rule.",
  fields: (t) => ({
    name: t.string({ description: "Its name.", resolve: ([name]) => name }),
    text: t.string({ complexity: text(100), description: "Its text.", resolve: ([, text]) => text }),
  }),
});

const AlertHealthType = builder.objectRef<HealthSince>("AlertHealth").implement({
  description: "A health that a queue had.",
  fields: (t) => ({
    health: t.expose("health", { type: HealthEnum, description: "The health." }),
    since: t.field({
      type: "DateTime",
      description: "When it was first seen, by Redis's clock. It lasted until the next one.",
      resolve: ({ sinceMs }) => new Date(sinceMs),
    }),
  }),
});

const AlertFactsType = builder.objectRef<AlertFacts>("AlertFacts").implement({
  description: "State of the queue when its alert fired, as in QueueLatency.",
  fields: (t) => ({
    measuredAt: t.field({
      type: "DateTime",
      description: "The instant of these numbers, by Redis's clock.",
      resolve: ({ measuredAtMs }) => new Date(measuredAtMs),
    }),
    latency: t.float({
      nullable: true,
      description:
        "Seconds since the head became claimable; 0 when no job waited. Null when it was not known.",
      resolve: ({ latencyMs }) => (latencyMs === null ? null : secondsOf(latencyMs)),
    }),
    oldestSince: t.field({
      type: "DateTime",
      nullable: true,
      description: "When the head became claimable. Null when no job waited, or it was not known.",
      resolve: ({ oldestSinceMs }) => (oldestSinceMs === null ? null : new Date(oldestSinceMs)),
    }),
    depth: t.exposeInt("depth", {
      nullable: true,
      description: "Number of waiting jobs. Null when it was not known.",
    }),
    depthIsLowerBound: t.boolean({
      description: "Whether more jobs than `depth` may have waited: the source had counted no further.",
      resolve: ({ depthIsLowerBound = false }) => depthIsLowerBound,
    }),
    overtaken: t.int({
      nullable: true,
      description: "Number of waiting jobs that had been overtaken. Null when it was not known.",
      resolve: ({ overtaken }) => overtaken ?? null,
    }),
    inOrderLatency: t.float({
      nullable: true,
      description:
        "Seconds since the oldest waiting job that had not been overtaken became claimable. Null where `overtaken` is null.",
      resolve: ({ inOrderLatencyMs }) => (inOrderLatencyMs == null ? null : secondsOf(inOrderLatencyMs)),
    }),
    accuracy: t.expose("accuracy", {
      type: AccuracyEnum,
      description: "How far `latency` could be trusted.",
    }),
    throughput: t.expose("throughput", {
      type: ThroughputType,
      nullable: true,
      description: "Rates over ONE_MINUTE. Null where the source does not report them.",
    }),
    health: t.field({
      type: [AlertHealthType],
      complexity: few,
      description:
        "Health of the queue in the five minutes before, oldest first. It is only known while the alert was PENDING, and where a rule is about health.",
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
        "Unique id of this alert: when the same rule fires again for the same queue, that alert has another id.",
    }),
    rule: t.exposeString("rule", { description: "Name of the rule." }),
    queue: t.exposeString("queue", {
      complexity: text(maxQueueNameBytes),
      nullable: true,
      description:
        "Name of the queue. Null for the built-in rule AlertsDropped, which is about alerts themselves.",
    }),
    state: t.expose("state", { type: AlertStateEnum, description: "Its state." }),
    since: t.field({
      type: "DateTime",
      description: "When its condition was first met, by Redis's clock.",
      resolve: ({ sinceMs }) => new Date(sinceMs),
    }),
    firedAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When it fired. Null when it has not.",
      resolve: ({ firedAtMs }) => (firedAtMs === null ? null : new Date(firedAtMs)),
    }),
    endedAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When it ended. Null while it has not.",
      resolve: ({ endedAtMs }) => (endedAtMs === null ? null : new Date(endedAtMs)),
    }),
    end: t.expose("end", {
      type: AlertEndEnum,
      nullable: true,
      description: "Why it ended. Null while it has not.",
    }),
    subject: t.expose("subject", { type: AlertSubjectEnum, description: "Subject of its rule's condition." }),
    value: t.float({
      nullable: true,
      description:
        "Value of the subject when the alert began, then when it fired, then when it ended: seconds or jobs, as `subject` says. Null when the subject is not a number, and when the value was not known.",
      resolve: ({ value }) => (value === null ? null : roundedSeconds(value)),
    }),
    threshold: t.float({
      nullable: true,
      description: "The alert fires when `value` is above this. Null when the subject is not a number.",
      resolve: ({ threshold }) => (threshold === null ? null : roundedSeconds(threshold)),
    }),
    severity: t.exposeString("severity", { description: "The rule's severity." }),
    labels: t.field({
      type: [AlertTextType],
      complexity: few,
      description: "The rule's labels.",
      resolve: ({ labels }) => Object.entries(labels),
    }),
    annotations: t.field({
      type: [AlertTextType],
      complexity: few,
      description: "The rule's annotations.",
      resolve: ({ annotations }) => Object.entries(annotations),
    }),
    facts: t.expose("facts", {
      type: AlertFactsType,
      nullable: true,
      description:
        "State of the queue when the alert fired. Null before, and when the queue could not be read.",
    }),
    acknowledgedAt: t.field({
      type: "DateTime",
      nullable: true,
      description: "When the alert was acknowledged. Null while it has not been.",
      resolve: ({ acknowledgement }) => (acknowledgement === null ? null : new Date(acknowledgement.atMs)),
    }),
    acknowledgedBy: t.string({
      nullable: true,
      description: "Name of the token that acknowledged it. Null where there are no tokens.",
      resolve: ({ acknowledgement }) => /^token:(.*)$/.exec(acknowledgement?.by ?? "")?.[1] ?? null,
    }),
  }),
});
