/** What the choice of notifications reads of an alert. */
export interface NotifiedAlert {
  readonly id: string;
  readonly state: "PENDING" | "FIRING" | "RESOLVED";
  readonly firedAt: string | null;
  readonly acknowledgedAt: string | null;
}

/** An alert that fired longer ago is known: a page that is opened an hour later does not ring. */
export const maxNotifiedAgeMs = 120_000;

/**
 * The alerts to show a notification for: those that fire since a moment ago, are not acknowledged, and of which no tab has shown one.
 *
 * @param shown ids of those that a tab of this browser has shown.
 */
export function alertsToNotify<A extends NotifiedAlert>(
  alerts: readonly A[],
  shown: ReadonlySet<string>,
  nowMs: number,
): readonly A[] {
  return alerts.filter(
    ({ id, state, firedAt, acknowledgedAt }) =>
      state === "FIRING" &&
      acknowledgedAt === null &&
      firedAt !== null &&
      nowMs - Date.parse(firedAt) <= maxNotifiedAgeMs &&
      !shown.has(id),
  );
}
