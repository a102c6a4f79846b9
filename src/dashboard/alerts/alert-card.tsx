import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { nowMs } from "../clock.ts";
import { formatAtLeast } from "../format/count.ts";
import { formatDuration } from "../format/duration.ts";
import { askWhetherAdmin, isAdmin, noteRefusal } from "../graphql/admin.ts";
import { type ApiError, apiErrorOf } from "../graphql/api-error.ts";
import { query } from "../graphql/client.ts";
import { acknowledgeAlert } from "../graphql/documents.ts";
import { ActionError } from "../parts/error-notice.tsx";
import { HealthLabel } from "../parts/health.tsx";
import { Instant } from "../parts/instant.tsx";
import { Latency } from "../parts/latency.tsx";
import { LinkedText } from "../parts/linked-text.tsx";
import { QueueLink } from "../parts/queue-link.tsx";
import { QueueName } from "../parts/queue-name.tsx";
import { type Alert, showAlert } from "./alert-feed.ts";
import type { AlertedQueue } from "./alerted-queues.ts";
import { explainCondition, explainFacts } from "./explain-alert.ts";

interface AlertCardProps {
  readonly alert: Alert;
  /** How its queue is now; undefined: not known, or said elsewhere on the page. */
  readonly now?: AlertedQueue | undefined;
}

/** An alert that is pending or firing: what, since when, what was known when it fired, and who has seen it. */
export function AlertCard({ alert, now }: AlertCardProps) {
  const { rule, queue, state, severity, since, firedAt, facts, labels, annotations } = alert;
  const begin = firedAt ?? since;
  const lasted = Math.max(0, (nowMs.value - Date.parse(begin)) / 1_000);
  return (
    <article class="alert-card" data-state={state} aria-label={`${rule} ${state.toLowerCase()}`}>
      <header>
        <span class="alert-state">{state === "FIRING" ? "Firing" : "Pending"}</span>
        <h3>{rule}</h3>
        {queue !== null && <QueueLink queue={queue} class="alert-queue" />}
        <span class="alert-severity">{severity}</span>
      </header>
      {annotations.map(({ name, text }) => (
        <p key={name} class="alert-annotation">
          {name !== "summary" && `${name}: `}
          <LinkedText text={text} />
        </p>
      ))}
      <p class="alert-condition">
        {explainCondition(alert)}, {state === "FIRING" ? "fired" : "met"} <Instant at={begin} />,{" "}
        {formatDuration(Math.floor(lasted))} ago
      </p>
      {now !== undefined && <Now queue={now} />}
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

function Now({ queue }: { readonly queue: AlertedQueue }) {
  const { health, depth, depthIsLowerBound, stale } = queue;
  return (
    <p class="alert-now">
      <span class="lead">Now:</span>
      <HealthLabel health={health} />
      <Latency of={queue} />
      {depth !== null && <span>depth {formatAtLeast(depth, depthIsLowerBound)}</span>}
      {stale && (
        <span>
          as of <Instant at={queue.measuredAt} />
        </span>
      )}
    </p>
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
        Acknowledged {acknowledgedBy !== null && `by ${acknowledgedBy} `}at <Instant at={acknowledgedAt} />
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
            {alert.rule}
            {alert.queue !== null && (
              <>
                {" "}
                of <QueueName queue={alert.queue} />
              </>
            )}
          </span>
        </button>
      )}
      <ActionError error={error.value} />
    </>
  );
}
