import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { type ApiError, apiErrorOf } from "../graphql/api-error.ts";
import { query, subscribe } from "../graphql/client.ts";
import { connection } from "../graphql/connection.ts";
import { alertChanged, alertsInState } from "../graphql/documents.ts";
import type { ResultOf } from "../graphql/graphql.ts";
import { type AlertList, noAlerts, withActive, withEnded, withPushed } from "./alert-list.ts";

export type Alert = ResultOf<typeof alertChanged>["alertChanged"];

const list = signal<AlertList<Alert>>(noAlerts);
const refused = signal<ApiError | null>(null);

/** The alerts of the server, on every page. Empty until the feed is started. */
export const alertList: ReadonlySignal<AlertList<Alert>> = list;
/** Why there are none: NO_ALERT_RULES, or what refused the subscription. Null: it runs. */
export const alertsError: ReadonlySignal<ApiError | null> = refused;

const isEndedRead = signal(false);
/** Whether the alerts that ended lately are in the list. */
export const isEndedKnown: ReadonlySignal<boolean> = isEndedRead;

/** With how many alerts the page begins, and as many as the API answers at once. */
const fewAlerts = 200;
export const manyAlerts = 1_000;
/** As many of each state as answers are asked for. */
const wanted = signal(fewAlerts);
/** Whether an answer had all that there are. Whatever comes later is pushed. */
const isWhole = signal(false);

/** The firing alerts of each queue that has any. */
export const firingByQueue: ReadonlySignal<ReadonlyMap<string, readonly Alert[]>> = computed(() =>
  Map.groupBy(
    list.value.active.filter(({ state, queue }) => state === "FIRING" && queue !== null),
    ({ queue }) => queue ?? "",
  ),
);

/** Whether alerts may be active that are not in the list. */
export const isPartial: ReadonlySignal<boolean> = computed(
  () => !isWhole.value && list.value.active.length >= fewAlerts,
);
/** Whether more of them can be asked for. */
export const canShowMore: ReadonlySignal<boolean> = computed(
  () => isPartial.value && wanted.value === fewAlerts,
);

/** Alerts come one by one, also hundreds that fire at once: those of this time are drawn together. */
const togetherMs = 50;
let arrived: Alert[] = [];

function takeArrived(): void {
  const alerts = arrived;
  arrived = [];
  refused.value = null;
  list.value = alerts.reduce(withPushed<Alert>, list.value);
}

/** Follows the alerts. @returns what ends it. */
export function startAlertFeed(): () => void {
  const end = subscribe(
    alertChanged,
    { first: fewAlerts },
    {
      next({ alertChanged: pushed }) {
        arrived.push(pushed);
        if (arrived.length === 1) setTimeout(takeArrived, togetherMs);
      },
      error(error) {
        refused.value = error;
        checkLater(error);
      },
      mayBeSilent: true,
    },
  );
  // A stream that is opened again begins with the active alerts: it does not name those that ended meanwhile.
  let wasLost = false;
  const stopWatching = effect(() => {
    const { state } = connection.value;
    if (state === "lost") wasLost = true;
    if (state !== "connected" || !wasLost) return;
    wasLost = false;
    void readAgain();
  });
  return () => {
    stopWatching();
    clearTimeout(check);
    end();
  };
}

async function readAgain(): Promise<ApiError | null> {
  return (await readActive(null, wanted.peek())) ?? (await readEnded(null));
}

/** What refuses a subscription and a query alike. */
const ofBoth: ReadonlySet<string> = new Set(["NETWORK", "THROTTLED", "SERVICE_UNAVAILABLE"]);
let check: ReturnType<typeof setTimeout> | undefined;

/** The subscription is asked for again by itself; where no alert is active it is silent then, and only a query says that it runs. */
function checkLater({ code, retryAfterSeconds }: ApiError): void {
  clearTimeout(check);
  if (!ofBoth.has(code)) return;
  check = setTimeout(
    async () => {
      const failure = await readAgain();
      if (failure === null) refused.value = null;
      else checkLater(failure);
    },
    1_000 * ((retryAfterSeconds ?? 2) + 1),
  );
}

/** Asks for as many active alerts as the API answers. @returns why it was refused; null: it was not. */
export async function showMore(): Promise<ApiError | null> {
  const failure = await readActive(null, manyAlerts);
  if (failure === null) wanted.value = manyAlerts;
  return failure;
}

/** Adds the active alerts of one queue, of which the list may have none when very many are active. */
export async function readAlertsOf(queue: string): Promise<void> {
  if (isPartial.peek()) await readActive(queue, fewAlerts);
}

async function readActive(queue: string | null, first: number): Promise<ApiError | null> {
  try {
    // Each by itself: together they may cost more than one request may.
    const [firing, pending] = await Promise.all([
      alertsOf("FIRING", queue, first),
      alertsOf("PENDING", queue, first),
    ]);
    const isAll = firing.length < first && pending.length < first;
    list.value = withActive(list.value, [...firing, ...pending], isAll && queue === null);
    if (queue === null) isWhole.value = isAll;
    return null;
  } catch (reason) {
    return apiErrorOf(reason);
  }
}

/** Adds the alerts that ended lately to the list. @param queue null: of all queues. */
export async function readEnded(queue: string | null, first = 100): Promise<ApiError | null> {
  try {
    list.value = withEnded(list.value, await alertsOf("RESOLVED", queue, first));
    if (queue === null) isEndedRead.value = true;
    return null;
  } catch (reason) {
    return apiErrorOf(reason);
  }
}

async function alertsOf(
  state: Alert["state"],
  queue: string | null,
  first: number,
): Promise<readonly Alert[]> {
  return (await query(alertsInState, { state, queue, first })).alerts;
}

/** Shows an answer of a mutation before the push of the same change comes. */
export function showAlert(alert: Alert): void {
  list.value = withPushed(list.value, alert);
}
