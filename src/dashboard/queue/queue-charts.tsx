import { useSignal } from "@preact/signals";
import { type Axis, countAxis } from "../charts/axis.ts";
import { type Column, columnsOf, type FormatValue, type Line } from "../charts/columns.ts";
import { durationAxis } from "../charts/duration-axis.ts";
import type { PlotContent } from "../charts/plot-content.ts";
import { type SpannedAlert, spansOf } from "../charts/spans.ts";
import { stepGrid, stepMs } from "../charts/step-grid.ts";
import { TimeChart } from "../charts/time-chart.tsx";
import { formatAtLeast, formatCount, formatRate } from "../format/count.ts";
import { formatDuration } from "../format/duration.ts";
import type { HistoryStep } from "./history-feed.ts";
import type { QueueNow } from "./queue-feed.ts";
import { type Range, stepRangeOf } from "./range.ts";

export interface QueueChartsProps {
  readonly steps: readonly HistoryStep[];
  /** The last push; null: none has come, or the range ends in the past. */
  readonly now: QueueNow | null;
  readonly nowMs: number;
  readonly range: Range;
  readonly alerts: readonly SpannedAlert[];
  readonly queryHref: string;
  readonly onSelect: (fromMs: number, toMs: number) => void;
}

interface Chart {
  readonly title: string;
  readonly note: string;
  readonly format: FormatValue;
  /** @default format */
  readonly formatTick?: (value: number) => string;
  readonly axisOf: (values: Column) => Axis;
  readonly lines: readonly Line<HistoryStep>[];
  /** Whether it shows the objective and the spans of alerts. */
  readonly isOfLatency?: boolean;
}

/** The history of a queue: charts below each other, so that times line up, with one cursor. */
export function QueueCharts({ steps, now, nowMs, range, alerts, queryHref, onSelect }: QueueChartsProps) {
  const cursor = useSignal<number | null>(null);
  const { fromMs, toMs, step } = stepRangeOf(range, nowMs);
  const grid = stepGrid(steps, { fromMs, toMs, stepMs: stepMs[step] });
  const isLive = range.last !== null;
  // A number that is not trusted is not drawn as the present.
  const pushed = isLive && now !== null && !now.stale ? now : null;
  const objective = now?.objective ?? null;
  const level =
    objective === null ? null : { value: objective, label: `objective ${formatDuration(objective)}` };
  return (
    <div class="charts">
      {chartsOf(pushed, grid.stepMs).map((chart) => {
        const { title, note, format, formatTick = format, axisOf, lines, isOfLatency } = chart;
        const columns = columnsOf(grid, lines, {
          nowMs: isLive ? nowMs : null,
          isIncomplete: ({ incompleteSamples }) => incompleteSamples > 0,
          isNowIncomplete: pushed?.accuracy === "INCOMPLETE",
        });
        const values = columns.lines.flatMap((line) => [...line.values]);
        const content: PlotContent = {
          ...{ columns, format, formatTick, fromSeconds: fromMs / 1000, toSeconds: toMs / 1000 },
          axis: axisOf(isOfLatency === true && level !== null ? [...values, level.value] : values),
          level: isOfLatency === true ? level : null,
          spans: isOfLatency === true ? spansOf(alerts, fromMs, toMs) : [],
        };
        return (
          <TimeChart
            key={title}
            {...{ title, note, content, cursor, onSelect, queryHref }}
            stepMs={grid.stepMs}
          />
        );
      })}
    </div>
  );
}

function chartsOf(now: QueueNow | null, lengthMs: number): readonly Chart[] {
  const ofStep = formatDuration(lengthMs / 1000);
  const perSecond = (jobs: number | null) => (jobs === null ? null : jobs / (lengthMs / 1000));
  const wait = (percentile: "p50" | "p95" | "p99"): Line<HistoryStep> => ({
    label: percentile,
    tone: percentile,
    of: ({ waitTime }) => waitsOf(waitTime)?.[percentile] ?? null,
    now: waitsOf(now?.waitTime ?? null)?.[percentile] ?? null,
  });
  return [
    {
      title: "Latency",
      note: `age of the oldest job, the highest in each ${ofStep}`,
      format: (seconds, isAtLeast = false) => `${isAtLeast ? "≥ " : ""}${formatDuration(seconds)}`,
      formatTick: formatDuration,
      axisOf: durationAxis,
      lines: [
        {
          ...{ label: "latency", tone: "latency" },
          of: ({ maxLatency }) => maxLatency,
          now: now?.latency ?? null,
          isNowAtLeast: now?.accuracy === "LOWER_BOUND",
        },
      ],
      isOfLatency: true,
    },
    {
      title: "Wait times",
      note: `of the jobs that were taken in each ${ofStep}; now: in the last minute`,
      format: formatDuration,
      axisOf: durationAxis,
      lines: [wait("p50"), wait("p95"), wait("p99")],
    },
    {
      title: "Depth",
      note: `waiting jobs, the most in each ${ofStep}`,
      format: (depth, isAtLeast = false) => formatAtLeast(depth, isAtLeast),
      formatTick: formatCount,
      axisOf: (values) => countAxis(values, 1),
      lines: [
        {
          ...{ label: "depth", tone: "depth" },
          of: ({ maxDepth }) => maxDepth,
          isAtLeast: ({ lowerBoundSamples }) => lowerBoundSamples > 0,
          now: now?.depth ?? null,
          isNowAtLeast: now?.depthIsLowerBound === true,
        },
      ],
    },
    {
      title: "Throughput",
      note: `jobs in and out, a second, in each ${ofStep}; now: in the last minute`,
      format: (perSecond) => `${formatRate(perSecond)}/s`,
      axisOf: (values) => countAxis(values, 0),
      lines: [
        {
          label: "in",
          tone: "in",
          of: ({ enqueued }) => perSecond(enqueued),
          now: now?.throughput?.enqueuedPerSecond ?? null,
        },
        {
          label: "out",
          tone: "out",
          of: ({ dequeued }) => perSecond(dequeued),
          now: now?.throughput?.dequeuedPerSecond ?? null,
        },
      ],
    },
  ];
}

/** Where no job was taken there are no waits, though the API's numbers are 0. */
function waitsOf<T extends { readonly count: number }>(waitTime: T | null): T | null {
  return waitTime === null || waitTime.count === 0 ? null : waitTime;
}
