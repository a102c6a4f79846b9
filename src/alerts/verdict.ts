import type { Health } from "../core/health.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import type { Condition } from "./rules.ts";

/**
 * What a rule says of a queue right now.
 *
 * - TRUE, FALSE: its condition holds, or holds no more. BETWEEN: not any more, but not below the lower threshold yet.
 * - BLIND: nobody can tell, so nothing fires and nothing resolves.
 * - PAUSED: nothing is dequeued on purpose, so lateness is no news.
 * - GONE: there is no such queue any more.
 */
export type Verdict = "TRUE" | "BETWEEN" | "FALSE" | "BLIND" | "PAUSED" | "GONE";

export interface Finding {
  readonly verdict: Verdict;
  /** Seconds or jobs, as the condition counts; null for what is no number, and where nobody can tell. */
  readonly value: number | null;
}

/** @param health of the queue; only conditions on health look at it. */
export function findingOf(condition: Condition, snapshot: QueueSnapshot, health: Health): Finding {
  if (snapshot.state === "MISSING") return { verdict: "GONE", value: null };
  if (condition.subject === "unknown")
    return { verdict: isUnknown(snapshot) ? "TRUE" : "FALSE", value: null };
  // Stale first: whether it is still paused nobody can tell, either.
  if (snapshot.stale) return blind;
  if (snapshot.state === "PAUSED") return { verdict: "PAUSED", value: null };
  if (snapshot.accuracy === "UNKNOWN") return blind;
  if (condition.subject === "health") {
    if (health === "UNKNOWN") return blind;
    return { verdict: condition.among.includes(health) ? "TRUE" : "FALSE", value: null };
  }
  const value = measured(condition.subject, snapshot);
  if (value === null) return blind;
  const verdict = held(value, condition);
  // More than that may wait, or for longer; a number that may also be too high fires all the same, for silence would be worse.
  const mayBeTooLow = snapshot.accuracy === "LOWER_BOUND" || snapshot.accuracy === "INCOMPLETE";
  if (verdict !== "TRUE" && mayBeTooLow) return { verdict: "BETWEEN", value };
  return { verdict, value };
}

const blind: Finding = { verdict: "BLIND", value: null };

function isUnknown({ stale, state, accuracy }: QueueSnapshot): boolean {
  return stale || (accuracy === "UNKNOWN" && state !== "PAUSED");
}

function held(
  value: number,
  { above, resolveBelow }: { above: number; resolveBelow: number | null },
): Verdict {
  if (value > above) return "TRUE";
  return resolveBelow !== null && value >= resolveBelow ? "BETWEEN" : "FALSE";
}

/** Null where nobody can tell. */
function measured(
  subject: "latency" | "depth" | "p50" | "p95" | "p99",
  snapshot: QueueSnapshot,
): number | null {
  if (subject === "latency") return snapshot.latencyMs === null ? null : snapshot.latencyMs / 1_000;
  if (subject === "depth") return snapshot.depth;
  const waits = snapshot.waitTime?.FIVE_MINUTES;
  if (waits == null) return null;
  // Nothing was taken: that nobody waits is well, but who waits while nobody takes anything is not.
  if (waits.count === 0 && snapshot.state === "WAITING") return null;
  return waits[subject];
}
