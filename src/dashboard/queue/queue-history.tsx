import { useComputed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { alertList } from "../alerts/alert-feed.ts";
import { nowMs } from "../clock.ts";
import { queueHistory } from "../graphql/documents.ts";
import { graphiqlHref } from "../graphql/graphiql-link.ts";
import { ErrorNotice } from "../parts/error-notice.tsx";
import { useFeed } from "../parts/use-feed.ts";
import { params, setParams } from "../route.ts";
import { createHistoryFeed, type HistoryStep } from "./history-feed.ts";
import { QueueCharts } from "./queue-charts.tsx";
import type { QueueNow } from "./queue-feed.ts";
import { paramsOf, rangeOf, requestsOf, stepRangeOf } from "./range.ts";
import { RangePicker } from "./range-picker.tsx";

interface QueueHistoryProps {
  readonly queue: string;
  readonly now: QueueNow | null;
}

/** Charts are drawn again when now is a pixel further on a narrow screen; at least this often. */
const maxRedrawMs = 10_000;
const minWidth = 600;

/** The charts of a queue, and the range that they show. */
export function QueueHistory({ queue, now }: QueueHistoryProps) {
  const range = rangeOf(params.value);
  const feed = useFeed(() => createHistoryFeed(queue, range), [queue, JSON.stringify(range)]);
  const alerts = useComputed(() => {
    const { active, ended } = alertList.value;
    return [...active, ...ended].filter((alert) => alert.queue === queue);
  });
  const steps = feed?.steps.value ?? null;
  const { fromMs, toMs } = stepRangeOf(range, nowMs.value);
  const redrawMs = Math.min(maxRedrawMs, Math.max(1_000, (toMs - fromMs) / minWidth));
  const charts = useMemo(
    () => (
      <QueueCharts
        {...{ now, range }}
        steps={steps ?? []}
        nowMs={nowMs.value}
        alerts={alerts.value}
        queryHref={queryHrefOf(queue, stepRangeOf(range, nowMs.value))}
        onSelect={(from, to) => setParams(paramsOf({ last: null, fromMs: from, toMs: to }), "push")}
      />
    ),
    [steps, now === null, JSON.stringify(range), alerts.value, Math.floor(nowMs.value / redrawMs)],
  );
  return (
    <section class="queue-history" aria-labelledby="history">
      <div class="section-head">
        <h2 id="history">History</h2>
        <RangePicker range={range} onPick={(picked) => setParams(paramsOf(picked), "push")} />
      </div>
      <ErrorNotice error={feed?.error.value ?? null} />
      {steps !== null && <HistoryNotes steps={steps} />}
      {charts}
    </section>
  );
}

/** What the lines alone do not show. */
function HistoryNotes({ steps }: { readonly steps: readonly HistoryStep[] }) {
  const incomplete = steps.filter(({ incompleteSamples }) => incompleteSamples > 0).length;
  const uncounted = steps.filter(({ lowerBoundSamples }) => lowerBoundSamples > 0).length;
  if (steps.length === 0) {
    return (
      <p class="hint">
        There is no history of this queue in this range: no server ran, the queue was not known, or
        HISTORY_MAX_QUEUES leaves it out.
      </p>
    );
  }
  const stepsOf = (count: number) => (count === 1 ? "one step" : `${count} steps`);
  return (
    <>
      {incomplete > 0 && (
        <p class="hint">
          Redis had lost events in {stepsOf(incomplete)} of this range: numbers there, with the sign ±, may be
          too high or too low.
        </p>
      )}
      {uncounted > 0 && (
        <p class="hint">
          In {stepsOf(uncounted)} of this range jobs were counted up to a limit: more may have waited, as the
          sign + says.
        </p>
      )}
    </>
  );
}

function queryHrefOf(queue: string, range: ReturnType<typeof stepRangeOf>): string {
  const [asked = range] = requestsOf(range);
  const variables = {
    queue,
    from: new Date(asked.fromMs).toISOString(),
    to: new Date(asked.toMs).toISOString(),
    step: asked.step,
  };
  return graphiqlHref(queueHistory, variables);
}
