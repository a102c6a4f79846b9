import type { Alert } from "../core/alerts.ts";
import { alertKey } from "./make-alert.ts";

/** An alert that is about to begin. */
export interface Candidate {
  readonly queue: string;
  /** It fires at once, since its rule has no `for`. */
  readonly fires: boolean;
}

/** Limits the number of alerts. Each evaluation round makes its own. */
export interface AlertCapacity {
  /**
   * Finds a place for an alert. When all are taken, the alert of a younger queue loses its place, a PENDING one first. One that
   * fires also displaces a PENDING one of a queue of the same age. So names that a client makes up cannot keep the alerts of
   * older queues from firing, and no two alerts take turns in displacing each other.
   *
   * @returns true: there is one; the alert that is displaced; false: there is none.
   */
  place(candidate: Candidate): Alert | boolean;
  /** An alert has ended. */
  free(): void;
}

export interface AlertCapacityOptions {
  /** Those that have not ended. */
  readonly active: readonly Alert[];
  readonly maxActive: number;
  /** A larger number is a younger queue. */
  readonly youthOf: (queue: string | null) => number;
  /** Whether the alert may not be displaced in this round: it has just been changed. */
  readonly isSettled: (key: string) => boolean;
}

export function createAlertCapacity(options: AlertCapacityOptions): AlertCapacity {
  const { active, maxActive, youthOf, isSettled } = options;
  let taken = active.length;
  let displaceable: { readonly pending: Alert[]; readonly firing: Alert[] } | null = null;

  /** Sorted once a round, and only when there is no place: the one to displace first stands last. */
  function sorted() {
    const byYouth = (a: Alert, b: Alert) => youthOf(a.queue) - youthOf(b.queue) || a.sinceMs - b.sinceMs;
    const all = active.filter(({ queue }) => queue !== null).sort(byYouth);
    const isPending = ({ state }: Alert) => state === "PENDING";
    return { pending: all.filter(isPending), firing: all.filter((alert) => !isPending(alert)) };
  }

  function last(alerts: Alert[]): Alert | undefined {
    while (alerts.length > 0 && isSettled(alertKey(alerts.at(-1) as Alert))) alerts.pop();
    return alerts.at(-1);
  }

  return {
    place({ queue, fires }) {
      if (taken < maxActive) {
        taken += 1;
        return true;
      }
      displaceable ??= sorted();
      const { pending, firing } = displaceable;
      const youth = youthOf(queue);
      const youngest = last(pending);
      if (youngest !== undefined) {
        const isYounger = youthOf(youngest.queue) > youth;
        if (isYounger || (fires && youthOf(youngest.queue) === youth)) return pending.pop() ?? false;
      }
      const newest = last(firing);
      if (newest !== undefined && youthOf(newest.queue) > youth) return firing.pop() ?? false;
      return false;
    },
    free() {
      taken -= 1;
    },
  };
}
