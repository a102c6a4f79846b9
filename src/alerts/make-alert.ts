import { createHash } from "node:crypto";
import type { AlertRule } from "../core/alert-rules.ts";
import type { Alert, AlertEnd, AlertFacts } from "../core/alerts.ts";
import { roundedRate, roundedSeconds, secondsOf } from "../core/rounding.ts";
import type { Throughput } from "../core/snapshot.ts";
import type { AlertChange } from "./alert-store.ts";

/** Identifies the alert of a rule about a queue among those that have not ended. */
export function alertKey({ rule, queue }: Pick<Alert, "rule" | "queue">): string {
  return `${rule}\n${queue ?? ""}`;
}

export function createAlert(
  rule: AlertRule,
  queue: string | null,
  value: number | null,
  nowMs: number,
): Alert {
  const { name, condition, severity, labels, annotations } = rule;
  const identity = `${alertKey({ rule: name, queue })}\n${nowMs}`;
  return {
    id: createHash("sha256").update(identity).digest("base64url").slice(0, 22),
    rule: name,
    queue,
    state: "PENDING",
    sinceMs: nowMs,
    firedAtMs: null,
    endedAtMs: null,
    end: null,
    subject: condition.subject,
    value,
    threshold: "above" in condition ? condition.above : null,
    ...{ severity, labels, annotations },
    facts: null,
    acknowledgement: null,
  };
}

/** With what the rule says now. From then on the labels stay, since receivers identify the alert by them. */
export function fired(
  alert: Alert,
  rule: AlertRule,
  found: { readonly value: number | null; readonly facts: AlertFacts | null; readonly nowMs: number },
): Alert {
  const { id, sinceMs, acknowledgement } = alert;
  const { value, facts, nowMs } = found;
  const fresh = createAlert(rule, alert.queue, value, nowMs);
  return { ...fresh, id, sinceMs, acknowledgement, state: "FIRING", firedAtMs: nowMs, facts };
}

export function ended(alert: Alert, end: AlertEnd, value: number | null, nowMs: number): Alert {
  return { ...alert, state: "RESOLVED", endedAtMs: nowMs, end, value };
}

/** The body of the webhook that says that an alert fires or has ended. */
function notificationBody(alert: Alert): object {
  const isFiring = alert.state === "FIRING";
  const atMs = (isFiring ? alert.firedAtMs : alert.endedAtMs) ?? alert.sinceMs;
  const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  const { id, rule, queue, state, end, subject, threshold, severity, labels, annotations, facts } = alert;
  const value = alertValue(alert);
  return {
    type: isFiring ? "alert.firing" : "alert.resolved",
    timestamp: time(atMs),
    data: {
      ...{ id, rule, queue, state, end, subject, value, threshold, severity, labels, annotations },
      ...{ since: time(alert.sinceMs), firedAt: time(alert.firedAtMs), endedAt: time(alert.endedAtMs) },
      facts: facts === null ? null : alertFacts(facts),
    },
  };
}

/** As receivers get it: seconds to the ms, or jobs. */
export function alertValue({ value }: Pick<Alert, "value">): number | null {
  return value === null ? null : roundedSeconds(value);
}

export function alertFacts(facts: AlertFacts) {
  return {
    measuredAt: new Date(facts.measuredAtMs).toISOString(),
    latency: facts.latencyMs === null ? null : secondsOf(facts.latencyMs),
    oldestSince: facts.oldestSinceMs === null ? null : new Date(facts.oldestSinceMs).toISOString(),
    depth: facts.depth,
    depthIsLowerBound: facts.depthIsLowerBound ?? false,
    overtaken: facts.overtaken ?? null,
    inOrderLatency: facts.inOrderLatencyMs == null ? null : secondsOf(facts.inOrderLatencyMs),
    accuracy: facts.accuracy,
    throughput: facts.throughput === null ? null : roundedThroughput(facts.throughput),
    health: facts.health.map(({ health, sinceMs }) => ({ health, since: new Date(sinceMs).toISOString() })),
  };
}

function roundedThroughput(throughput: Throughput): Throughput {
  const { enqueuedPerSecond, dequeuedPerSecond, isLowerBound = false } = throughput;
  return {
    enqueuedPerSecond: roundedRate(enqueuedPerSecond),
    dequeuedPerSecond: roundedRate(dequeuedPerSecond),
    isLowerBound,
  };
}

/** Receivers are notified when an alert fires, and when one that fired has ended. */
export function changeTo(alert: Alert): AlertChange {
  if (alert.state === "PENDING") return { what: "keep", alert, notification: null };
  if (alert.state === "FIRING") return { what: "keep", alert, notification: notificationBody(alert) };
  if (alert.firedAtMs === null) return { what: "end", alert, notification: null };
  return { what: "resolve", alert, notification: notificationBody(alert) };
}
