import { nowMs } from "../clock.ts";
import { formatCount } from "../format/count.ts";
import { ErrorNotice } from "../parts/error-notice.tsx";
import { Instant } from "../parts/instant.tsx";
import { TableScroll } from "../parts/table-scroll.tsx";
import { useFeed } from "../parts/use-feed.ts";
import { explainStatus } from "./explain-status.ts";
import { type AlertStatus, createStatusFeed } from "./status-feed.ts";

/** Whether rules are evaluated, and whether each receiver accepts notifications. */
export function Receivers() {
  const feed = useFeed(createStatusFeed, []);
  const status = feed?.status.value ?? null;
  return (
    <section aria-labelledby="receivers">
      <h2 id="receivers">Rules and receivers</h2>
      <ErrorNotice error={feed?.error.value ?? null} />
      {status !== null && <Status status={status} />}
    </section>
  );
}

function Status({ status }: { readonly status: AlertStatus }) {
  const { decidedAt, rules, receivers } = status;
  return (
    <>
      <p class="hint">
        {rules === 1 ? "1 rule" : `${rules} rules`}, last evaluated{" "}
        {decidedAt === null ? "never" : <Instant at={decidedAt} />}.
      </p>
      {explainStatus(status, nowMs.value).map((problem) => (
        <p key={problem} class="problem">
          {problem}
        </p>
      ))}
      {receivers.length === 0 ? (
        <p class="hint">
          No receiver is set: alerts show here only. ALERTMANAGER_URL, ALERT_WEBHOOK_URL and
          ALERT_HEARTBEAT_URL name receivers.
        </p>
      ) : (
        <TableScroll label="Receivers of alerts">
          <table class="receivers">
            <thead>
              <tr>
                <th scope="col">Receiver</th>
                <th scope="col">Waiting</th>
                <th scope="col">Delivered</th>
                <th scope="col">Failed</th>
                <th scope="col">Given up</th>
              </tr>
            </thead>
            <tbody>
              {receivers.map(({ receiver, waiting, delivered, failed, dropped }) => (
                <tr key={receiver}>
                  <th scope="row">{receiver}</th>
                  <td>{formatCount(waiting)}</td>
                  <td>{formatCount(delivered)}</td>
                  <td>{formatCount(failed)}</td>
                  <td>{formatCount(dropped)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </TableScroll>
      )}
    </>
  );
}
