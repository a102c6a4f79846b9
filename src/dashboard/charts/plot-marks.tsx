import type { LineColumns } from "./columns.ts";
import { type Geometry, rowsApart, spread } from "./plot-geometry.ts";
import type { Span } from "./spans.ts";

interface SpansProps {
  readonly spans: readonly Span[];
  /** Where a span ends that has not ended. */
  readonly toMs: number;
  readonly geometry: Geometry;
}

/** Of a text of this size; an estimate decides whether it fits. */
const letterPx = 7;
const labelHeightPx = 14;
/** The names of more alerts at the same time are in the line of values alone. */
const maxLabelRows = 4;

/** When alerts fired. Edge and name: the colour alone does not say what it is. */
export function Spans({ spans, toMs: endMs, geometry }: SpansProps) {
  const { left, right, top, bottom, xOf } = geometry;
  const places = spans.map(({ label, fromMs, toMs }) => {
    const from = Math.max(left, xOf(fromMs / 1000));
    const to = Math.min(right, Math.max(xOf((toMs ?? endMs) / 1000), from + 2));
    const labelTo = from + label.length * letterPx + 12;
    return { label, fromMs, from, to, labelTo, hasLabel: labelTo < to };
  });
  const labelled = places.filter(({ hasLabel }) => hasLabel);
  const rows = rowsApart(labelled.map(({ from, labelTo }) => ({ from, to: labelTo })));
  return places.map((place) => {
    const { label, fromMs, from, to } = place;
    const row = rows[labelled.indexOf(place)];
    return (
      <g key={`${label} ${fromMs}`} class="span">
        <rect x={from} y={top} width={to - from} height={bottom - top} />
        <path d={`M${from} ${top}V${bottom}`} />
        {row !== undefined && row < maxLabelRows && (
          <text x={from + 6} y={top + (row + 1) * labelHeightPx}>
            {label}
          </text>
        )}
      </g>
    );
  });
}

interface LevelProps {
  readonly value: number;
  readonly label: string;
  readonly geometry: Geometry;
}

/** A line from left to right, with its name. */
export function Level({ value, label, geometry }: LevelProps) {
  const { left, right, top, yOf } = geometry;
  const y = yOf(value);
  // Above the line, unless there is no room.
  const textY = y - top < 20 ? y + 15 : y - 6;
  return (
    <g class="level">
      <path d={`M${left} ${y}H${right}`} />
      <text x={left + 6} y={textY}>
        {label}
      </text>
    </g>
  );
}

interface EndLabelsProps {
  readonly lines: readonly LineColumns[];
  readonly geometry: Geometry;
}

/** The name of each line at its end, where there are several. */
export function EndLabels({ lines, geometry }: EndLabelsProps) {
  if (lines.length < 2) return null;
  const ends = lines.flatMap(({ label, tone, values }) => {
    const last = values.findLast((value) => value !== null) ?? null;
    return last === null ? [] : [{ label, tone, top: geometry.yOf(last) }];
  });
  const tops = spread(
    ends.map(({ top }) => top),
    14,
    { top: geometry.top + 6, bottom: geometry.bottom },
  );
  return ends.map(({ label, tone }, i) => (
    <text key={label} class={`end-label tone-${tone}`} x={geometry.right + 6} y={tops[i]}>
      {label}
    </text>
  ));
}
