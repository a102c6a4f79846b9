import { effect, type ReadonlySignal, signal } from "@preact/signals";
import { type ApiError, apiErrorOf } from "../graphql/api-error.ts";
import { query, subscribe } from "../graphql/client.ts";
import { connection } from "../graphql/connection.ts";
import { activeAlerts, alertChanged, endedAlerts } from "../graphql/documents.ts";
import type { ResultOf } from "../graphql/graphql.ts";
import { type AlertList, noAlerts, withActive, withEnded, withPushed } from "./alert-list.ts";

export type Alert = ResultOf<typeof alertChanged>["alertChanged"];

const list = signal<AlertList<Alert>>(noAlerts);
const refused = signal<ApiError | null>(null);

/** The alerts of the server, on every page. Empty until the feed is started. */
export const alertList: ReadonlySignal<AlertList<Alert>> = list;
/** Why there are none: NO_ALERT_RULES, or what refused the subscription. Null: it runs. */
export const alertsError: ReadonlySignal<ApiError | null> = refused;

const first = 200;

/** Follows the alerts. @returns what ends it. */
export function startAlertFeed(): () => void {
  const end = subscribe(
    alertChanged,
    { first },
    {
      next({ alertChanged: pushed }) {
        refused.value = null;
        list.value = withPushed(list.value, pushed);
      },
      error: (error) => (refused.value = error),
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
    void readActive();
  });
  return () => {
    stopWatching();
    end();
  };
}

async function readActive(): Promise<void> {
  try {
    const { alerts } = await query(activeAlerts, { first });
    list.value = withActive(list.value, alerts);
    await readEnded(null);
  } catch {
    // The stream says what is wrong.
  }
}

/** Adds the alerts that ended lately to the list. @param queue null: of all queues. */
export async function readEnded(queue: string | null): Promise<ApiError | null> {
  try {
    const { alerts } = await query(endedAlerts, { queue, first: 100 });
    list.value = withEnded(list.value, alerts);
    return null;
  } catch (reason) {
    return apiErrorOf(reason);
  }
}

/** Shows an answer of a mutation before the push of the same change comes. */
export function showAlert(alert: Alert): void {
  list.value = withPushed(list.value, alert);
}
