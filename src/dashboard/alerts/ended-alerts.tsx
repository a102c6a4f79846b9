import { useSignal } from "@preact/signals";
import { formatDuration } from "../format/duration.ts";
import type { ApiError } from "../graphql/api-error.ts";
import { Instant } from "../parts/instant.tsx";
import { MoreButton } from "../parts/more-button.tsx";
import { QueueLink } from "../parts/queue-link.tsx";
import { TableScroll } from "../parts/table-scroll.tsx";
import { type Alert, isEndedKnown, manyAlerts, readEnded } from "./alert-feed.ts";
import { explainEnd } from "./explain-alert.ts";

/** As many as are asked for at first. */
const fewEnded = 100;

/** Alerts that fired and have ended, with the reason. On a narrow window the styles put the cells below each other. */
export function EndedAlerts({ alerts }: { readonly alerts: readonly Alert[] }) {
  const isAllAsked = useSignal(false);

  async function readAll(): Promise<ApiError | null> {
    const failure = await readEnded(null, manyAlerts);
    isAllAsked.value = failure === null;
    return failure;
  }

  return (
    <section aria-labelledby="ended">
      <h2 id="ended">Ended</h2>
      {alerts.length === 0 ? (
        <p class="hint">{isEndedKnown.value ? "No alert has ended yet." : "Not known yet."}</p>
      ) : (
        <TableScroll label="Alerts that have ended">
          <table class="ended-alerts">
            <thead>
              <tr>
                <th scope="col">Rule</th>
                <th scope="col">Queue</th>
                <th scope="col">Fired</th>
                <th scope="col">For</th>
                <th scope="col">Why it ended</th>
                <th scope="col">Acknowledged</th>
              </tr>
            </thead>
            <tbody>
              {alerts.map((alert) => (
                <EndedRow key={alert.id} alert={alert} />
              ))}
            </tbody>
          </table>
        </TableScroll>
      )}
      {alerts.length >= fewEnded && !isAllAsked.value && (
        <MoreButton label="Show older alerts" onMore={readAll} />
      )}
    </section>
  );
}

function EndedRow({ alert }: { readonly alert: Alert }) {
  const { rule, queue, firedAt, endedAt, end, acknowledgedBy, acknowledgedAt } = alert;
  const lasted =
    firedAt === null || endedAt === null ? null : (Date.parse(endedAt) - Date.parse(firedAt)) / 1_000;
  return (
    <tr>
      <th scope="row">{rule}</th>
      <td>{queue === null ? "all" : <QueueLink queue={queue} />}</td>
      <td data-label="fired">{firedAt !== null && <Instant at={firedAt} />}</td>
      <td data-label="for">{lasted !== null && formatDuration(Math.round(lasted))}</td>
      <td>{end !== null && explainEnd(end)}</td>
      <td data-label="acknowledged:">
        {acknowledgedAt === null ? "no" : (acknowledgedBy ?? <Instant at={acknowledgedAt} />)}
      </td>
    </tr>
  );
}
