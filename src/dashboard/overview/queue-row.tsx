import type { ComponentChildren } from "preact";
import { firingByQueue } from "../alerts/alert-feed.ts";
import { formatAtLeast, formatCount, formatRate } from "../format/count.ts";
import { formatDuration, formatWait } from "../format/duration.ts";
import type { QueueRow } from "../graphql/documents.ts";
import { HealthLabel } from "../parts/health.tsx";
import { Instant } from "../parts/instant.tsx";
import { Latency } from "../parts/latency.tsx";
import { Link } from "../parts/link.tsx";
import { ObjectiveBar } from "../parts/objective-bar.tsx";
import { QueueName } from "../parts/queue-name.tsx";
import { Sparkline } from "../parts/sparkline.tsx";
import { overtakenSentence } from "../queue/explain-health.ts";
import { forecastOf } from "./forecast.ts";
import { sparklineStepMs, sparks } from "./sparkline-store.ts";

interface QueueTableRowProps {
  readonly index: number;
  readonly topPx: number;
  /** Undefined: not loaded yet. */
  readonly row: QueueRow | undefined;
}

/** One queue of the table. On a narrow window the styles put the cells in lines below the name. */
export function QueueTableRow({ index, topPx, row }: QueueTableRowProps) {
  const place = { transform: `translateY(${topPx}px)` };
  if (row === undefined) {
    return (
      <tr class="row loading" style={place} aria-rowindex={index + 2}>
        <td class="cell-name">Loading…</td>
      </tr>
    );
  }
  const { queue, source, state, health, stale, depth, depthIsLowerBound, throughput, waitTime } = row;
  return (
    <tr
      class="row"
      style={place}
      aria-rowindex={index + 2}
      data-health={health}
      data-stale={stale ? "" : undefined}
    >
      <th scope="row" class="cell-name">
        <Link to={{ page: "queue", queue }} class="queue-link" data-index={index} title={queue}>
          <QueueName queue={queue} />
        </Link>
        <span class="badges">
          <FiringBadge queue={queue} />
          <OvertakenBadge of={row} />
          {state === "PAUSED" && <span class="badge">Paused</span>}
          {state === "MISSING" && <span class="badge">Missing</span>}
          {stale && (
            <span class="badge badge-warning">
              Stale, as of <Instant at={row.measuredAt} />
            </span>
          )}
          {source !== null && <span class="source">{source}</span>}
        </span>
      </th>
      <td class="cell-health">
        <HealthLabel health={health} />
      </td>
      <td class="cell-latency">
        <Latency of={row} />
      </td>
      <td class="cell-objective">
        <ObjectiveBar of={row} />
      </td>
      <td class="cell-spark">
        <RowSparkline row={row} />
      </td>
      <Figure name="depth" label="Depth">
        {depth === null ? null : formatAtLeast(depth, depthIsLowerBound)}
      </Figure>
      <Figure name="in" label="In/s">
        {throughput === null ? null : formatRate(throughput.enqueuedPerSecond, throughput.isLowerBound)}
      </Figure>
      <Figure name="out" label="Out/s">
        {throughput === null ? null : formatRate(throughput.dequeuedPerSecond, throughput.isLowerBound)}
      </Figure>
      <Figure name="p95" label="p95 wait">
        {waitTime === null || waitTime.count === 0 ? null : formatWait(waitTime.p95, waitTime.isUpperBound)}
      </Figure>
      <td class="cell-forecast">
        <ForecastText of={row} />
      </td>
    </tr>
  );
}

/** That latency is the age of jobs that were left behind. */
function OvertakenBadge({ of }: { readonly of: QueueRow }) {
  const sentence = overtakenSentence(of);
  if (sentence === null) return null;
  return (
    <span class="badge" title={sentence}>
      {formatCount(of.overtaken ?? 0)} overtaken, in order {formatDuration(of.inOrderLatency ?? 0)}
    </span>
  );
}

/** Whether alerts of the queue fire, and whether a colleague has seen them. */
function FiringBadge({ queue }: { readonly queue: string }) {
  const firing = firingByQueue.value.get(queue);
  if (firing === undefined) return null;
  const isAcknowledged = firing.every(({ acknowledgedAt }) => acknowledgedAt !== null);
  return (
    <span class="badge badge-firing" title={firing.map(({ rule }) => rule).join(", ")}>
      {isAcknowledged ? "Firing, acknowledged" : "Firing"}
    </span>
  );
}

interface FigureProps {
  readonly name: string;
  /** On a narrow window, where the table has no head. */
  readonly label: string;
  /** Null: not known. It is never a 0. */
  readonly children: ComponentChildren;
}

function Figure({ name, label, children }: FigureProps) {
  return (
    <td class={`cell-figure cell-${name}`}>
      <span class="label" aria-hidden="true">
        {label}{" "}
      </span>
      {children === null ? (
        <span class="none" title="not known">
          –
        </span>
      ) : (
        <span class="number">{children}</span>
      )}
    </td>
  );
}

function ForecastText({ of }: { readonly of: QueueRow }) {
  const forecast = forecastOf(of);
  if (forecast === null) {
    return (
      <span class="none" title="no forecast">
        –
      </span>
    );
  }
  return <span data-bad={forecast.isBad ? "" : undefined}>{forecast.text}</span>;
}

function RowSparkline({ row }: { readonly row: QueueRow }) {
  const spark = sparks.value.get(row.queue);
  return spark === undefined ? null : (
    <Sparkline {...spark} stepMs={sparklineStepMs} objective={row.objective} />
  );
}
