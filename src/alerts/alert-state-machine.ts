import type { Alert } from "../core/alerts.ts";
import type { Verdict } from "./evaluate-condition.ts";

/** BEGIN: it becomes PENDING. END: one that was PENDING ends, and receivers are not notified. */
export type Step = "BEGIN" | "FIRE" | "RESOLVE" | "END" | "STAY";

/**
 * The next step of one alert that has not ended; null where there is none.
 *
 * - PENDING fires when its condition holds `forMs` or longer after it began, and held whenever it could be evaluated in between. A
 *   time without data counts, but nothing fires within it.
 * - FIRING resolves when the value is below the rule's lower threshold, or the queue is missing.
 * - While the queue is paused nothing fires and nothing resolves; PENDING ends, and starts over after the pause.
 */
export function nextStep(
  alert: Pick<Alert, "state" | "sinceMs"> | null,
  verdict: Verdict,
  forMs: number,
  nowMs: number,
): Step {
  if (alert === null) return verdict === "TRUE" ? "BEGIN" : "STAY";
  if (alert.state === "FIRING") {
    return verdict === "FALSE" || verdict === "QUEUE_MISSING" ? "RESOLVE" : "STAY";
  }
  if (verdict === "NO_DATA") return "STAY";
  if (verdict !== "TRUE") return "END";
  return nowMs - alert.sinceMs >= forMs ? "FIRE" : "STAY";
}
