import { useEffect } from "preact/hooks";
import { AlertCard } from "../alerts/alert-card.tsx";
import { alertList, isPartial, readAlertsOf, readEnded } from "../alerts/alert-feed.ts";

/** The alerts of one queue that have not ended; those that did are marked on the chart of latency. */
export function QueueAlerts({ queue }: { readonly queue: string }) {
  useEffect(() => void readEnded(queue), [queue]);
  useEffect(() => void readAlertsOf(queue), [queue, isPartial.value]);
  const active = alertList.value.active.filter((alert) => alert.queue === queue);
  if (active.length === 0) return null;
  return (
    <section class="queue-alerts" aria-labelledby="queue-alerts">
      <h2 id="queue-alerts" class="visually-hidden">
        Alerts
      </h2>
      {active.map((alert) => (
        <AlertCard key={alert.id} alert={alert} />
      ))}
    </section>
  );
}
