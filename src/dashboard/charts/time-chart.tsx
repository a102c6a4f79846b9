import { type ReadonlySignal, type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Instant } from "../parts/instant.tsx";
import { ChartTable } from "./chart-table.tsx";
import { summaryOf, type Tone } from "./columns.ts";
import { Plot } from "./plot.tsx";
import type { PlotContent } from "./plot-content.ts";
import { nearestPlace } from "./plot-geometry.ts";
import { PointValue } from "./point-value.tsx";
import { firingBetween } from "./spans.ts";

export interface TimeChartProps {
  readonly title: string;
  /** What its numbers are, in a few words. */
  readonly note: string;
  readonly content: PlotContent;
  readonly stepMs: number;
  /** The instant that all charts of the page show, in seconds since the epoch; null: the last one. */
  readonly cursor: Signal<number | null>;
  readonly onSelect: (fromMs: number, toMs: number) => void;
  /** Where GraphiQL has the query behind the chart. */
  readonly queryHref: string;
}

/** Lines over time, with their values under the shared cursor, and the same numbers as a table. */
export function TimeChart({ title, note, content, stepMs, cursor, onSelect, queryHref }: TimeChartProps) {
  const { columns, format } = content;
  const frame = useRef<HTMLDivElement>(null);
  const width = useSignal(0);
  useEffect(() => {
    if (frame.current === null) return;
    const resizes = new ResizeObserver(([entry]) => {
      width.value = Math.floor(entry?.contentRect.width ?? 0);
    });
    resizes.observe(frame.current);
    return () => resizes.disconnect();
  }, []);
  return (
    <figure class="chart">
      <figcaption class="chart-head">
        <h3>{title}</h3>
        <p class="chart-note">{note}</p>
        <Readout content={content} stepMs={stepMs} cursor={cursor} />
      </figcaption>
      <div class="chart-plot" ref={frame}>
        {width.value > 0 && (
          <Plot
            {...{ content, cursor, onSelect }}
            width={width.value}
            label={summaryOf(title, columns.lines, format)}
          />
        )}
      </div>
      <div class="chart-foot">
        <ChartTable title={title} content={content} stepMs={stepMs} />
        <a class="query-link" href={queryHref} aria-label={`Query behind ${title}`}>
          Query
        </a>
      </div>
    </figure>
  );
}

interface ReadoutProps {
  readonly content: PlotContent;
  readonly stepMs: number;
  readonly cursor: ReadonlySignal<number | null>;
}

/** The values of one instant: it alone is drawn again when the cursor moves. */
function Readout({ content, stepMs, cursor }: ReadoutProps) {
  const { columns, spans } = content;
  const { x, lines, hasNow } = columns;
  const last = x.length - 1;
  const place = cursor.value === null ? last : nearestPlace(x, cursor.value);
  const seconds = x[place];
  if (seconds === undefined) return null;
  const isNow = hasNow && place === last;
  const beginMs = seconds * 1000 - (isNow ? 0 : stepMs / 2);
  const firing = firingBetween(spans, beginMs, isNow ? beginMs + 1 : beginMs + stepMs);
  return (
    <dl class="readout">
      <div class="readout-time">
        <dt>{isNow ? "now" : "at"}</dt>
        <dd>
          <Instant at={new Date(beginMs)} />
        </dd>
      </div>
      {firing.length > 0 && (
        <div class="readout-alerts">
          <dt>alerts</dt>
          <dd>{firing.join(", ")}</dd>
        </div>
      )}
      {lines.map((line) => (
        <div key={line.label}>
          <dt>
            <Swatch tone={line.tone} /> {line.label}
          </dt>
          <dd>
            <PointValue content={content} line={line} place={place} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Swatch({ tone }: { readonly tone: Tone }) {
  return (
    <svg class={`swatch tone-${tone}`} viewBox="0 0 16 8" aria-hidden="true">
      <path d="M0 4H16" />
    </svg>
  );
}
