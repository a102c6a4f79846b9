import type { Health } from "./health.ts";
import type { Accuracy, Throughput } from "./snapshot.ts";

/** How an alert goes on. What is PENDING and ends before it fires is in no list any more. */
export const alertStates = ["PENDING", "FIRING", "RESOLVED"] as const;
export type AlertState = (typeof alertStates)[number];

/** Why an alert ended. */
export const alertEnds = ["RECOVERED", "QUEUE_GONE", "RULE_GONE"] as const;
export type AlertEnd = (typeof alertEnds)[number];

/** What a rule looks at: seconds, jobs, or a health. */
export const alertSubjects = ["latency", "depth", "p50", "p95", "p99", "health", "unknown"] as const;
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
  readonly accuracy: Accuracy;
  /** Over ONE_MINUTE; null where the source cannot tell. */
  readonly throughput: Throughput | null;
  /** Of the last five minutes, oldest first, as far as somebody looked. */
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
  readonly queue: string;
  readonly state: AlertState;
  readonly sinceMs: number;
  /** Null when it never fired. */
  readonly firedAtMs: number | null;
  readonly endedAtMs: number | null;
  readonly end: AlertEnd | null;
  readonly subject: AlertSubject;
  /** What was found when it was written last: seconds, jobs, or null for what is no number. */
  readonly value: number | null;
  /** What `value` was held against; null for what is no number. */
  readonly threshold: number | null;
  readonly severity: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Null until it fires. */
  readonly facts: AlertFacts | null;
  readonly acknowledgement: Acknowledgement | null;
}

/** How one receiver of alerts fares. */
export interface ReceiverStatus {
  /** "webhook", "heartbeat", or "alertmanager" with the host of its URL. */
  readonly receiver: string;
  /** Requests that were answered with 2xx, and those that were not, since the alerts are kept in this Redis. */
  readonly delivered: number;
  readonly failed: number;
  /** Notifications that were given up. */
  readonly dropped: number;
}

export interface AlertStatus {
  readonly pending: number;
  readonly firing: number;
  /** When the rules were last held against the queues, by Redis's clock; null: never. */
  readonly decidedAtMs: number | null;
  /** Notifications that wait for the webhook. */
  readonly outbox: number;
  /** Alerts that did not begin, since too many were there already. */
  readonly ignored: number;
  readonly receivers: readonly ReceiverStatus[];
}
