/** What a list of alerts reads of each. */
export interface ListedAlert {
  readonly id: string;
  readonly state: "PENDING" | "FIRING" | "RESOLVED";
  readonly since: string;
  readonly firedAt: string | null;
  readonly endedAt: string | null;
}

/** Alerts as the page knows them. */
export interface AlertList<A extends ListedAlert> {
  /** PENDING and FIRING: firing ones first, then the newest. */
  readonly active: readonly A[];
  /** Those that fired and have ended, the newest end first. */
  readonly ended: readonly A[];
}

/** As many ended alerts as the server keeps. */
const maxEnded = 1_000;

export const noAlerts: AlertList<never> = { active: [], ended: [] };

/** The list after a push: the newest state of one alert. What ended before it fired is in no list. */
export function withPushed<A extends ListedAlert>(list: AlertList<A>, pushed: A): AlertList<A> {
  const active = list.active.filter(({ id }) => id !== pushed.id);
  if (pushed.state !== "RESOLVED") return { ...list, active: sorted([...active, pushed]) };
  return { active, ended: pushed.firedAt === null ? list.ended : merged(list.ended, [pushed]) };
}

/**
 * The list after an answer. It may be older than a push: an alert does not return from a later state.
 *
 * @param isWhole whether the answer names all active alerts: one that it does not name has ended, unnoticed.
 */
export function withActive<A extends ListedAlert>(
  list: AlertList<A>,
  active: readonly A[],
  isWhole: boolean,
): AlertList<A> {
  const known = new Map(list.active.map((alert) => [alert.id, alert]));
  const hasEnded = new Set(list.ended.map(({ id }) => id));
  const newest = active
    .filter(({ id }) => !hasEnded.has(id))
    .map((alert) => (known.get(alert.id)?.state === "FIRING" ? { ...alert, ...known.get(alert.id) } : alert));
  const named = new Set(active.map(({ id }) => id));
  const others = isWhole ? [] : list.active.filter(({ id }) => !named.has(id));
  return { ...list, active: sorted([...newest, ...others]) };
}

/** The list after an answer with alerts that ended. */
export function withEnded<A extends ListedAlert>(list: AlertList<A>, ended: readonly A[]): AlertList<A> {
  const ids = new Set(ended.map(({ id }) => id));
  return { active: list.active.filter(({ id }) => !ids.has(id)), ended: merged(list.ended, ended) };
}

function sorted<A extends ListedAlert>(alerts: readonly A[]): readonly A[] {
  const rank = ({ state }: A) => (state === "FIRING" ? 0 : 1);
  return alerts.toSorted((a, b) => rank(a) - rank(b) || compare(b.firedAt ?? b.since, a.firedAt ?? a.since));
}

function merged<A extends ListedAlert>(known: readonly A[], added: readonly A[]): readonly A[] {
  const byId = new Map([...known, ...added].map((alert) => [alert.id, alert]));
  return [...byId.values()].sort((a, b) => compare(b.endedAt ?? "", a.endedAt ?? "")).slice(0, maxEnded);
}

/** RFC 3339 in UTC is ordered as text. */
function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
