import { type ReadonlySignal, type Signal, useSignal } from "@preact/signals";
import type { PlotContent } from "./plot-content.ts";
import { type Geometry, geometryOf, linePath, nearestPlace } from "./plot-geometry.ts";
import { EndLabels, Level, Spans } from "./plot-marks.tsx";
import { timeTicks } from "./time-axis.ts";

interface PlotProps {
  readonly content: PlotContent;
  readonly width: number;
  /** What a screen reader says instead. */
  readonly label: string;
  /** The instant under the pointer, in seconds since the epoch, in whichever plot; null: in none. */
  readonly cursor: Signal<number | null>;
  /** A range was selected by dragging. */
  readonly onSelect: (fromMs: number, toMs: number) => void;
}

const plotHeight = 190;
/** Lines of steps that are narrower than this are thin: they would cover each other. */
const minStepPx = 1.5;
/** A shorter drag is a click. */
const minDragPx = 8;

/** Lines over time. What it looks like is in the style sheet. */
export function Plot({ content, width, label, cursor, onSelect }: PlotProps) {
  const { columns, fromSeconds, toSeconds } = content;
  const geometry = geometryOf({ ...content, width, height: plotHeight });
  const isDense = columns.x.length > width / minStepPx;
  return (
    <svg class="plot" width={width} height={plotHeight} role="img" aria-label={label}>
      <Axes content={content} geometry={geometry} />
      <Spans spans={content.spans} toMs={toSeconds * 1000} geometry={geometry} />
      {content.level !== null && <Level {...content.level} geometry={geometry} />}
      {columns.lines.toReversed().map(({ label: name, tone, values, running }) => {
        // Where no line leads to it, now is a point.
        const hasRunning = running.filter((value) => value !== null).length === 2;
        return (
          <g key={name} class={`line tone-${tone}`} data-dense={isDense ? "" : undefined}>
            <path d={linePath(columns.x, hasRunning ? values.with(-1, null) : values, geometry)} />
            {hasRunning && <path class="running" d={linePath(columns.x, running, geometry, true)} />}
          </g>
        );
      })}
      <EndLabels lines={columns.lines} geometry={geometry} />
      <CursorMark content={content} geometry={geometry} cursor={cursor} />
      <PointerArea
        {...{ geometry, cursor }}
        onSelect={(from, to) => onSelect(Math.max(from, fromSeconds) * 1000, Math.min(to, toSeconds) * 1000)}
      />
    </svg>
  );
}

interface PartProps {
  readonly content: PlotContent;
  readonly geometry: Geometry;
}

function Axes({ content: { axis, formatTick, fromSeconds, toSeconds }, geometry }: PartProps) {
  const { left, right, top, bottom, xOf, yOf } = geometry;
  return (
    <g class="axes">
      {axis.ticks.map((tick) => (
        <g key={tick}>
          <path class="grid" d={`M${left} ${yOf(tick)}H${right}`} />
          <text class="tick tick-value" x={left - 8} y={yOf(tick)}>
            {formatTick(tick).replace(/\.0(?=\D)/, "")}
          </text>
        </g>
      ))}
      {timeTicks(fromSeconds, toSeconds, Math.max(2, (right - left) / 90)).map(({ seconds, label, date }) => (
        <g key={seconds}>
          <path class="grid" d={`M${xOf(seconds)} ${top}V${bottom + 4}`} />
          <text class="tick tick-time" x={xOf(seconds)} y={bottom + 17}>
            {label}
          </text>
          <text class="tick tick-time" x={xOf(seconds)} y={bottom + 31}>
            {date}
          </text>
        </g>
      ))}
    </g>
  );
}

/** The values under the shared cursor: it alone is drawn again when the pointer moves. */
function CursorMark({
  content,
  geometry,
  cursor,
}: PartProps & { readonly cursor: ReadonlySignal<number | null> }) {
  const { x, lines } = content.columns;
  if (cursor.value === null) return null;
  const place = nearestPlace(x, cursor.value);
  const seconds = x[place];
  if (seconds === undefined) return null;
  return (
    <g class="cursor">
      <path d={`M${geometry.xOf(seconds)} ${geometry.top}V${geometry.bottom}`} />
      {lines.map(({ label, tone, values }) => {
        const value = values[place] ?? null;
        if (value === null) return null;
        return (
          <circle
            key={label}
            class={`tone-${tone}`}
            cx={geometry.xOf(seconds)}
            cy={geometry.yOf(value)}
            r="4"
          />
        );
      })}
    </g>
  );
}

interface PointerAreaProps {
  readonly geometry: Geometry;
  readonly cursor: Signal<number | null>;
  readonly onSelect: (fromSeconds: number, toSeconds: number) => void;
}

/** Moves the cursor, and selects a range by dragging with a mouse. */
function PointerArea({ geometry, cursor, onSelect }: PointerAreaProps) {
  const { left, right, top, bottom, secondsAt } = geometry;
  const drag = useSignal<{ readonly from: number; readonly to: number } | null>(null);
  const xOf = (event: PointerEvent & { readonly currentTarget: SVGElement }) =>
    event.clientX - (event.currentTarget.ownerSVGElement ?? event.currentTarget).getBoundingClientRect().left;

  function end(): void {
    const dragged = drag.value;
    drag.value = null;
    if (dragged === null || Math.abs(dragged.to - dragged.from) < minDragPx) return;
    const [from, to] = [dragged.from, dragged.to].sort((a, b) => a - b);
    onSelect(secondsAt(from ?? 0), secondsAt(to ?? 0));
  }

  return (
    <>
      {drag.value !== null && (
        <rect
          class="selection"
          x={Math.max(left, Math.min(drag.value.from, drag.value.to))}
          y={top}
          width={Math.abs(drag.value.to - drag.value.from)}
          height={bottom - top}
        />
      )}
      <rect
        class="pointer-area"
        x={left}
        y={top}
        width={right - left}
        height={bottom - top}
        onPointerDown={(event) => {
          if (event.pointerType !== "mouse" || event.button !== 0) return;
          event.currentTarget.setPointerCapture(event.pointerId);
          drag.value = { from: xOf(event), to: xOf(event) };
        }}
        onPointerMove={(event) => {
          const x = xOf(event);
          cursor.value = secondsAt(x);
          if (drag.value !== null) drag.value = { ...drag.value, to: Math.min(right, Math.max(left, x)) };
        }}
        onPointerUp={end}
        onPointerLeave={() => {
          cursor.value = null;
        }}
        onPointerCancel={() => {
          drag.value = null;
          cursor.value = null;
        }}
      />
    </>
  );
}
