import { formatDuration } from "../format/duration.ts";
import { formatInstant } from "../format/instant.ts";
import { Link } from "../parts/link.tsx";
import { TableScroll } from "../parts/table-scroll.tsx";
import type { Alert } from "./alert-feed.ts";
import { explainEnd } from "./explain-alert.ts";

/** Alerts that fired and have ended, with the reason. */
export function EndedAlerts({ alerts }: { readonly alerts: readonly Alert[] }) {
  return (
    <section aria-labelledby="ended">
      <h2 id="ended">Ended</h2>
      {alerts.length === 0 ? (
        <p class="hint">No alert has ended yet.</p>
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
      <td>{queue === null ? "all" : <Link to={{ page: "queue", queue }}>{queue}</Link>}</td>
      <td>{firedAt !== null && <time dateTime={firedAt}>{formatInstant(firedAt)}</time>}</td>
      <td>{lasted !== null && formatDuration(Math.round(lasted))}</td>
      <td>{end !== null && explainEnd(end)}</td>
      <td>{acknowledgedAt === null ? "no" : (acknowledgedBy ?? formatInstant(acknowledgedAt))}</td>
    </tr>
  );
}
