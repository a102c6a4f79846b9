import { formatDuration } from "../format/duration.ts";

/** One step of a history, or of any series. */
export interface SparkPoint {
  readonly atMs: number;
  readonly value: number;
}

interface SparklineProps {
  /** Oldest first. A step that is missing is a gap. */
  readonly points: readonly SparkPoint[];
  readonly fromMs: number;
  readonly toMs: number;
  readonly stepMs: number;
  /** Drawn as a line, when it is in the range. */
  readonly objective: number | null;
}

const [width, height] = [120, 24];

/** The height is at least this many seconds: below it, changes are noise. */
const minTop = 1;

/** Latency over time, as an area with gaps. The objective is in it, so that what is far below looks calm. */
export function Sparkline({ points, fromMs, toMs, stepMs, objective }: SparklineProps) {
  if (points.length === 0)
    return (
      <span class="none" title="no history">
        –
      </span>
    );
  const values = points.map(({ value }) => value);
  const max = Math.max(...values);
  const top = Math.max(max, objective ?? 0, minTop) * 1.05;
  const xOf = (atMs: number) => ((atMs - fromMs) / (toMs - fromMs)) * width;
  const yOf = (value: number) => height - 1 - (value / top) * (height - 2);
  const runs = runsOf(points, stepMs);
  const line = (run: readonly SparkPoint[]) =>
    run.map(({ atMs, value }) => `${round(xOf(atMs))},${round(yOf(value))}`).join("L");
  const label = `latency of the last ${formatDuration((toMs - fromMs) / 1_000)}: lowest ${formatDuration(Math.min(...values))}, highest ${formatDuration(max)}, last ${formatDuration(values.at(-1) ?? 0)}`;
  return (
    <svg
      class="sparkline"
      viewBox={`0 0 ${width} ${height}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      {runs.map((run) => {
        const [first, last] = [run[0]?.atMs ?? 0, run.at(-1)?.atMs ?? 0];
        // A step alone is as wide as a step.
        const end = run.length === 1 ? `h${round((stepMs / (toMs - fromMs)) * width)}` : "";
        return (
          <g key={first}>
            <path
              class="area"
              d={`M${round(xOf(first))},${height}L${line(run)}${end}L${round(xOf(run.length === 1 ? last + stepMs : last))},${height}Z`}
            />
            <path class="line" d={`M${line(run)}${end}`} />
          </g>
        );
      })}
      {objective !== null && <path class="limit" d={`M0,${round(yOf(objective))}H${width}`} />}
    </svg>
  );
}

/** Points without a gap between them. */
function runsOf(points: readonly SparkPoint[], stepMs: number): readonly (readonly SparkPoint[])[] {
  const runs: SparkPoint[][] = [];
  for (const point of points) {
    const run = runs.at(-1);
    const before = run?.at(-1);
    if (run !== undefined && before !== undefined && point.atMs - before.atMs < 1.5 * stepMs) run.push(point);
    else runs.push([point]);
  }
  return runs;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
