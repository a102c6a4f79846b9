import type { Alert } from "../core/alerts.ts";
import type { Verdict } from "./verdict.ts";

/** BEGIN: it becomes PENDING. END: one that was PENDING is no more, with nobody told. */
export type Step = "BEGIN" | "FIRE" | "RESOLVE" | "END" | "STAY";

/**
 * What becomes of one alert that has not ended; null where there is none.
 *
 * - PENDING fires when its condition was seen `forMs` or longer after it began, with nothing seen in between that speaks against
 *   it: a time in which nobody could tell counts, but nothing fires within it.
 * - FIRING resolves when it is below its lower threshold, or its queue is gone.
 * - While the queue is paused nothing fires and nothing resolves; what was PENDING ends, and has its whole time again afterwards.
 */
export function nextStep(
  alert: Pick<Alert, "state" | "sinceMs"> | null,
  verdict: Verdict,
  forMs: number,
  nowMs: number,
): Step {
  if (alert === null) return verdict === "TRUE" ? "BEGIN" : "STAY";
  if (alert.state === "FIRING") return verdict === "FALSE" || verdict === "GONE" ? "RESOLVE" : "STAY";
  if (verdict === "BLIND") return "STAY";
  if (verdict !== "TRUE") return "END";
  return nowMs - alert.sinceMs >= forMs ? "FIRE" : "STAY";
}
