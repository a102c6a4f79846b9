import type { Condition } from "../core/alert-rules.ts";
import type { Health } from "../core/health.ts";
import { inOrderLatencyMs, type QueueSnapshot } from "../core/snapshot.ts";

/**
 * Whether a rule's condition holds for a queue now.
 *
 * - TRUE, FALSE: it holds, or it does not. IN_HYSTERESIS: not any more, but the value is not below the lower threshold yet.
 * - NO_DATA: the queue is stale, unknown or unreadable, so nothing fires and nothing resolves.
 * - PAUSED: nothing is dequeued on purpose, so a late queue is no reason to notify.
 * - QUEUE_MISSING: there is no such queue any more.
 */
export type Verdict = "TRUE" | "IN_HYSTERESIS" | "FALSE" | "NO_DATA" | "PAUSED" | "QUEUE_MISSING";

export interface Evaluation {
  readonly verdict: Verdict;
  /** In seconds or jobs, as the condition counts; null where it is not a number, or not known. */
  readonly value: number | null;
}

/** @param health of the queue; only conditions on health read it. */
export function evaluateCondition(condition: Condition, snapshot: QueueSnapshot, health: Health): Evaluation {
  if (snapshot.state === "MISSING") return { verdict: "QUEUE_MISSING", value: null };
  if (condition.subject === "dropped_alerts") return { verdict: "FALSE", value: null };
  if (condition.subject === "unknown") {
    return { verdict: isUnknown(snapshot) ? "TRUE" : "FALSE", value: null };
  }
  // Stale first: it is not known whether a stale queue is still paused.
  if (snapshot.stale) return noData;
  if (snapshot.state === "PAUSED") return { verdict: "PAUSED", value: null };
  if (snapshot.accuracy === "UNKNOWN") return noData;
  if (condition.subject === "health") {
    if (health === "UNKNOWN") return noData;
    return { verdict: condition.among.includes(health) ? "TRUE" : "FALSE", value: null };
  }
  const value = measuredValue(condition.subject, snapshot);
  if (value === null) return noData;
  const verdict = compare(value, condition);
  // The true value may be greater. One that may also be too high fires all the same, since silence would be worse.
  const isUncounted = condition.subject === "depth" && snapshot.depthIsLowerBound === true;
  const mayBeTooLow =
    isUncounted || snapshot.accuracy === "LOWER_BOUND" || snapshot.accuracy === "INCOMPLETE";
  if (verdict !== "TRUE" && mayBeTooLow) return { verdict: "IN_HYSTERESIS", value };
  return { verdict, value };
}

const noData: Evaluation = { verdict: "NO_DATA", value: null };

function isUnknown({ stale, state, accuracy }: QueueSnapshot): boolean {
  return stale || (accuracy === "UNKNOWN" && state !== "PAUSED");
}

function compare(
  value: number,
  { above, resolveBelow }: { above: number; resolveBelow: number | null },
): Verdict {
  if (value > above) return "TRUE";
  return resolveBelow !== null && value >= resolveBelow ? "IN_HYSTERESIS" : "FALSE";
}

/** Null where it is not known. */
function measuredValue(
  subject: "latency" | "in_order_latency" | "depth" | "overtaken" | "p50" | "p95" | "p99",
  snapshot: QueueSnapshot,
): number | null {
  if (subject === "latency") return inSeconds(snapshot.latencyMs);
  // Where no job is known to have been overtaken the head counts: a false alarm is better than a rule that is silent.
  if (subject === "in_order_latency") return inSeconds(inOrderLatencyMs(snapshot) ?? snapshot.latencyMs);
  if (subject === "depth") return snapshot.depth;
  if (subject === "overtaken") return snapshot.overtaken ?? null;
  const waits = snapshot.waitTime?.FIVE_MINUTES;
  if (waits == null) return null;
  // No job was dequeued. That is normal while no job waits, and says nothing about wait times while one does.
  if (waits.count === 0 && snapshot.state === "WAITING") return null;
  return waits[subject];
}

function inSeconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1_000;
}
