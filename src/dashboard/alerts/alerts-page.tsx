import { useEffect } from "preact/hooks";
import { announce } from "../announcements.tsx";
import { formatAtLeast } from "../format/count.ts";
import { connection } from "../graphql/connection.ts";
import { alertChanged } from "../graphql/documents.ts";
import { ErrorNotice } from "../parts/error-notice.tsx";
import { MoreButton } from "../parts/more-button.tsx";
import { useEscape } from "../parts/use-escape.ts";
import { useFeed } from "../parts/use-feed.ts";
import { usePageQuery } from "../parts/use-page-query.ts";
import { useSettled } from "../parts/use-settled.ts";
import { AlertCard } from "./alert-card.tsx";
import {
  type Alert,
  alertList,
  alertsError,
  canShowMore,
  isPartial,
  manyAlerts,
  readEnded,
  showMore,
} from "./alert-feed.ts";
import { createAlertedQueuesFeed } from "./alerted-queues.ts";
import { EndedAlerts } from "./ended-alerts.tsx";
import { NotificationSettings } from "./notification-settings.tsx";
import { Receivers } from "./receivers.tsx";

/** The alerts that are listed first have the state of their queue now. */
const maxWatched = 20;

/** What fires, what may fire soon, what ended, and whether notifications arrive. */
export function AlertsPage() {
  useEffect(() => void readEnded(null), []);
  usePageQuery(alertChanged, {});
  useEscape();
  const error = alertsError.value;
  // Without an answer it is not known that none fires.
  const isKnown = error === null && connection.value.state !== "connecting";
  const { active, ended } = alertList.value;
  const firing = active.filter(({ state }) => state === "FIRING");
  const pending = active.filter(({ state }) => state === "PENDING");
  const names = [...new Set([...firing, ...pending].flatMap(({ queue }) => queue ?? []))].slice(
    0,
    maxWatched,
  );
  const watched = useSettled(names.toSorted().join("\n"));
  const feed = useFeed(() => createAlertedQueuesFeed(watched === "" ? [] : watched.split("\n")), [watched]);
  const nowOf = ({ queue }: Alert) => (queue === null ? undefined : feed?.queues.value.get(queue));
  const countOf = (alerts: readonly unknown[]) => formatAtLeast(alerts.length, isPartial.value);
  const summary = isKnown ? `${countOf(firing)} firing, ${countOf(pending)} pending` : "not known";
  useEffect(() => announce(`Alerts: ${summary}`), [summary]);
  if (error?.code === "NO_ALERT_RULES") return <NoRules />;
  return (
    <main class="alerts-page">
      <header class="page-head">
        <h1>Alerts</h1>
        <p class="hint">{summary}</p>
      </header>
      <ErrorNotice error={error ?? feed?.error.value ?? null} isAtTop />
      <section aria-labelledby="firing">
        <h2 id="firing">Firing</h2>
        {firing.length === 0 && <p class="hint">{isKnown ? "No alert fires." : "Not known yet."}</p>}
        <div class="alert-cards">
          {firing.map((alert) => (
            <AlertCard key={alert.id} alert={alert} now={nowOf(alert)} />
          ))}
        </div>
      </section>
      {pending.length > 0 && (
        <section aria-labelledby="pending">
          <h2 id="pending">Pending</h2>
          <p class="hint">The condition holds, but not yet for as long as the rule demands.</p>
          <div class="alert-cards">
            {pending.map((alert) => (
              <AlertCard key={alert.id} alert={alert} now={nowOf(alert)} />
            ))}
          </div>
        </section>
      )}
      {isPartial.value && <MoreActive />}
      <EndedAlerts alerts={ended} />
      <Receivers />
      <NotificationSettings />
    </main>
  );
}

/** More alerts are active than are listed. */
function MoreActive() {
  return (
    <section aria-label="More active alerts">
      {canShowMore.value ? (
        <MoreButton label="Show more alerts" onMore={showMore} />
      ) : (
        <p class="hint">
          At most {manyAlerts} of each state are listed. All alerts of a queue are on its page. Make the rules
          match fewer queues, or raise their thresholds.
        </p>
      )}
    </section>
  );
}

function NoRules() {
  return (
    <main class="alerts-page">
      <header class="page-head">
        <h1>Alerts</h1>
      </header>
      <p>
        This server has no rules for alerts. Write them to a file, and start the server with the setting{" "}
        <code>ALERTS_FILE</code>:
      </p>
      <pre>
        <code>{example}</code>
      </pre>
      <p class="hint">The file is read again when it changes.</p>
    </main>
  );
}

const example = `rules:
  - name: MailIsLate
    queues: [mail, "mail-*"]
    latency_above: 60
    for: 2m
    severity: critical
  - name: Stalled
    queues: "*"
    health: [STALLED, FALLING_BEHIND]
`;
