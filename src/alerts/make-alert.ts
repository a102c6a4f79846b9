import { createHash } from "node:crypto";
import type { Alert, AlertEnd, AlertFacts } from "../core/alerts.ts";
import type { AlertChange } from "./alert-store.ts";
import type { AlertRule } from "./rules.ts";

/** What a rule about one queue is known by. */
export function placeOf({ rule, queue }: { readonly rule: string; readonly queue: string }): string {
  return `${rule}\n${queue}`;
}

export function begun(rule: AlertRule, queue: string, value: number | null, nowMs: number): Alert {
  const { name, condition, severity, labels, annotations } = rule;
  const identity = `${placeOf({ rule: name, queue })}\n${nowMs}`;
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

/** With what the rule says now: from then on the labels stay, since receivers know the alert by them. */
export function fired(
  alert: Alert,
  rule: AlertRule,
  found: { readonly value: number | null; readonly facts: AlertFacts | null; readonly nowMs: number },
): Alert {
  const { id, sinceMs, acknowledgement } = alert;
  const { value, facts, nowMs } = found;
  const anew = begun(rule, alert.queue, value, nowMs);
  return { ...anew, id, sinceMs, acknowledgement, state: "FIRING", firedAtMs: nowMs, facts };
}

export function ended(alert: Alert, end: AlertEnd, value: number | null, nowMs: number): Alert {
  return { ...alert, state: "RESOLVED", endedAtMs: nowMs, end, value };
}

/** What is told of an alert that fires or has ended: the body of a webhook. */
export function wordOf(alert: Alert): object {
  const isFiring = alert.state === "FIRING";
  const atMs = (isFiring ? alert.firedAtMs : alert.endedAtMs) ?? alert.sinceMs;
  const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  const { id, rule, queue, state, end, subject, value, threshold, severity, labels, annotations, facts } =
    alert;
  return {
    type: isFiring ? "alert.firing" : "alert.resolved",
    timestamp: time(atMs),
    data: {
      ...{ id, rule, queue, state, end, subject, value, threshold, severity, labels, annotations },
      ...{ since: time(alert.sinceMs), firedAt: time(alert.firedAtMs), endedAt: time(alert.endedAtMs) },
      facts: facts === null ? null : toldFacts(facts),
    },
  };
}

export function toldFacts(facts: AlertFacts) {
  return {
    measuredAt: new Date(facts.measuredAtMs).toISOString(),
    latency: facts.latencyMs === null ? null : facts.latencyMs / 1_000,
    oldestSince: facts.oldestSinceMs === null ? null : new Date(facts.oldestSinceMs).toISOString(),
    depth: facts.depth,
    accuracy: facts.accuracy,
    throughput: facts.throughput,
    health: facts.health.map(({ health, sinceMs }) => ({ health, since: new Date(sinceMs).toISOString() })),
  };
}

/** The word is told when it fires, and when what fired has ended. */
export function changeTo(alert: Alert): AlertChange {
  if (alert.state === "PENDING") return { what: "keep", alert, word: null };
  if (alert.state === "FIRING") return { what: "keep", alert, word: wordOf(alert) };
  if (alert.firedAtMs === null) return { what: "end", alert, word: null };
  return { what: "resolve", alert, word: wordOf(alert) };
}
