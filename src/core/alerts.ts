import type { Health } from "./health.ts";
import type { Accuracy, Throughput } from "./snapshot.ts";

/** How often a webhook may refuse a notification before it is given up: about two minutes. */
export const maxRefusals = 8;
/** How many notifications the outbox of one webhook holds. */
export const maxOutbox = 10_000;
/** How many alerts there may be that have not ended. */
export const maxActiveAlerts = 10_000;

/** How an alert goes on. What is PENDING and ends before it fires is in no list any more. */
export const alertStates = ["PENDING", "FIRING", "RESOLVED"] as const;
export type AlertState = (typeof alertStates)[number];

/** Why an alert ended. */
export const alertEnds = ["RECOVERED", "QUEUE_GONE", "RULE_GONE", "DISPLACED"] as const;
export type AlertEnd = (typeof alertEnds)[number];

/** What a rule looks at: seconds, jobs, or a health. */
export const alertSubjects = [
  "latency",
  "in_order_latency",
  "depth",
  "overtaken",
  "p50",
  "p95",
  "p99",
  "health",
  "unknown",
  "dropped_alerts",
] as const;
export type AlertSubject = (typeof alertSubjects)[number];

/** From when on a queue was seen to be in a health. */
export interface HealthSince {
  readonly health: Health;
  /** In ms since the epoch by Redis's clock. */
  readonly sinceMs: number;
}

/** How the queue stood when its alert fired; the numbers mean what they mean in a {@link QueueSnapshot}. */
export interface AlertFacts {
  readonly measuredAtMs: number;
  readonly latencyMs: number | null;
  readonly oldestSinceMs: number | null;
  readonly depth: number | null;
  /** @default false */
  readonly depthIsLowerBound?: boolean | undefined;
  /** Null where it was not known, and in alerts of older versions. @default null */
  readonly overtaken?: number | null | undefined;
  /** As `overtaken`. @default null */
  readonly inOrderLatencyMs?: number | null | undefined;
  readonly accuracy: Accuracy;
  /** Over ONE_MINUTE; null when the source does not report it. */
  readonly throughput: Throughput | null;
  /** Of the last five minutes, oldest first, as far as the health was read. */
  readonly health: readonly HealthSince[];
}

export interface Acknowledgement {
  readonly atMs: number;
  /** Who, by the id that the client is charged by. */
  readonly by: string;
}

/** One rule about one queue, from when its condition was first seen. Instants are ms since the epoch by Redis's clock. */
export interface Alert {
  /** Made of the rule, the queue and `sinceMs`: the same in whichever process it is decided. */
  readonly id: string;
  readonly rule: string;
  /** Null: the alert is about alerts themselves. */
  readonly queue: string | null;
  readonly state: AlertState;
  readonly sinceMs: number;
  /** Null when it never fired. */
  readonly firedAtMs: number | null;
  readonly endedAtMs: number | null;
  readonly end: AlertEnd | null;
  readonly subject: AlertSubject;
  /** What was found when it was written last: seconds, jobs, or null for what is no number. */
  readonly value: number | null;
  /** What `value` was compared with; null when the subject is not a number. */
  readonly threshold: number | null;
  readonly severity: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Null until it fires. */
  readonly facts: AlertFacts | null;
  readonly acknowledgement: Acknowledgement | null;
}

/** What is known of one receiver of alerts. */
export interface ReceiverStatus {
  /** "webhook", "webhook 2" and so on, "heartbeat", or "alertmanager" with the host of its URL. */
  readonly receiver: string;
  /** Notifications in its outbox: it has not accepted them yet. 0 for receivers without an outbox. */
  readonly waiting: number;
  /** Requests that were answered with 2xx, and those that were not, since the alerts are kept in this Redis. */
  readonly delivered: number;
  readonly failed: number;
  /** Notifications that were given up. */
  readonly dropped: number;
}

export interface AlertStatus {
  readonly pending: number;
  readonly firing: number;
  /** How many rules this process evaluates, or would if it had the lease; 0: it has no ALERTS_FILE. */
  readonly rules: number;
  /** Redis's clock, when it was asked. */
  readonly measuredAtMs: number;
  /** When the rules were last evaluated, by Redis's clock; null: never. */
  readonly decidedAtMs: number | null;
  /** Notifications that webhooks have not accepted yet. */
  readonly outbox: number;
  /** Alerts that were dropped, since there were too many. */
  readonly ignored: number;
  /** Records in Redis that are not alerts, and are skipped. */
  readonly unreadable: number;
  /** Those of the process that evaluates the rules. */
  readonly receivers: readonly ReceiverStatus[];
}
