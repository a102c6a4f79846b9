import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { nowMs } from "../clock.ts";
import { formatDuration } from "../format/duration.ts";
import { formatInstant } from "../format/instant.ts";
import { askWhetherAdmin, isAdmin, noteRefusal } from "../graphql/admin.ts";
import { type ApiError, apiErrorOf } from "../graphql/api-error.ts";
import { query } from "../graphql/client.ts";
import { acknowledgeAlert } from "../graphql/documents.ts";
import { Link } from "../parts/link.tsx";
import { ErrorNotice } from "../parts/notice.tsx";
import { type Alert, showAlert } from "./alert-feed.ts";
import { explainCondition, explainFacts } from "./explain-alert.ts";

/** An alert that is pending or firing: what, since when, what was known when it fired, and who has seen it. */
export function AlertCard({ alert }: { readonly alert: Alert }) {
  const { rule, queue, state, severity, since, firedAt, facts, labels, annotations } = alert;
  const begin = firedAt ?? since;
  const lasted = Math.max(0, (nowMs.value - Date.parse(begin)) / 1_000);
  return (
    <article class="alert-card" data-state={state} aria-label={`${rule} ${state.toLowerCase()}`}>
      <header>
        <span class="alert-state">{state === "FIRING" ? "Firing" : "Pending"}</span>
        <h3>{rule}</h3>
        {queue !== null && (
          <Link to={{ page: "queue", queue }} class="alert-queue">
            {queue}
          </Link>
        )}
        <span class="alert-severity">{severity}</span>
      </header>
      {annotations.map(({ name, text }) => (
        <p key={name} class="alert-annotation">
          {name === "summary" ? text : `${name}: ${text}`}
        </p>
      ))}
      <p class="alert-condition">
        {explainCondition(alert)}, {state === "FIRING" ? "fired" : "met"}{" "}
        <time dateTime={begin}>{formatInstant(begin)}</time>, {formatDuration(Math.floor(lasted))} ago
      </p>
      {facts !== null && (
        <p class="alert-facts">
          <span class="lead">When it fired:</span> {explainFacts(facts).join(" ")}
        </p>
      )}
      {labels.length > 0 && (
        <ul class="alert-labels" aria-label="Labels">
          {labels.map(({ name, text }) => (
            <li key={name}>
              {name}={text}
            </li>
          ))}
        </ul>
      )}
      <Acknowledgement alert={alert} />
    </article>
  );
}

function Acknowledgement({ alert }: { readonly alert: Alert }) {
  useEffect(() => void askWhetherAdmin(), []);
  const error = useSignal<ApiError | null>(null);
  const isSending = useSignal(false);
  const { id, acknowledgedAt, acknowledgedBy } = alert;
  if (acknowledgedAt !== null) {
    return (
      <p class="alert-acknowledged">
        Acknowledged {acknowledgedBy !== null && `by ${acknowledgedBy} `}at{" "}
        <time dateTime={acknowledgedAt}>{formatInstant(acknowledgedAt)}</time>
      </p>
    );
  }

  async function acknowledge(): Promise<void> {
    isSending.value = true;
    try {
      const { acknowledgeAlert: acknowledged } = await query(acknowledgeAlert, { id });
      if (acknowledged !== null) showAlert(acknowledged);
      error.value = null;
    } catch (reason) {
      error.value = noteRefusal(apiErrorOf(reason));
    }
    isSending.value = false;
  }

  return (
    <>
      {isAdmin.value === true && (
        <button type="button" disabled={isSending.value} onClick={() => void acknowledge()}>
          Acknowledge{" "}
          <span class="visually-hidden">
            {alert.rule} of {alert.queue}
          </span>
        </button>
      )}
      <ErrorNotice error={error.value} />
    </>
  );
}
