import { type Axis, positionOn } from "./axis.ts";
import type { Column } from "./columns.ts";

/** Where the values of a plot are on the screen, in pixels from its left upper corner. */
export interface Geometry {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  xOf(seconds: number): number;
  yOf(value: number): number;
  /** The instant at a distance from the left; the nearest end beyond the ends. */
  secondsAt(x: number): number;
}

/** Room for the labels of the axes, and for the names of lines. */
const margin = { left: 64, right: 44, top: 10, bottom: 36 };

export interface GeometryOptions {
  readonly width: number;
  readonly height: number;
  readonly axis: Axis;
  readonly fromSeconds: number;
  readonly toSeconds: number;
}

export function geometryOf(options: GeometryOptions): Geometry {
  const { width, height, axis, fromSeconds, toSeconds } = options;
  const [left, right] = [margin.left, Math.max(width - margin.right, margin.left + 1)];
  const [top, bottom] = [margin.top, height - margin.bottom];
  const perSecond = (right - left) / (toSeconds - fromSeconds);
  const [low, high] = [positionOn(axis, axis.min), positionOn(axis, axis.max)];
  return {
    ...{ width, height, left, right, top, bottom },
    xOf: (seconds) => left + (seconds - fromSeconds) * perSecond,
    yOf: (value) => bottom - ((positionOn(axis, value) - low) / (high - low)) * (bottom - top),
    secondsAt: (x) => Math.min(toSeconds, Math.max(fromSeconds, fromSeconds + (x - left) / perSecond)),
  };
}

/**
 * The path of a line. A value that is null interrupts it; one between two of these is a point, which round ends of lines make visible.
 *
 * @param spansGaps for the dashed end: from one known value to the next.
 */
export function linePath(
  x: readonly number[],
  values: Column,
  geometry: Geometry,
  spansGaps = false,
): string {
  let path = "";
  let isInLine = false;
  values.forEach((value, place) => {
    if (value === null) {
      if (!spansGaps) isInLine = false;
      return;
    }
    const point = `${rounded(geometry.xOf(x[place] ?? 0))} ${rounded(geometry.yOf(value))}`;
    const isAlone = !isInLine && (values[place + 1] ?? null) === null && !spansGaps;
    path += isInLine ? `L${point}` : `M${point}${isAlone ? "h0" : ""}`;
    isInLine = true;
  });
  return path;
}

/** The place of the column that is nearest to an instant; -1 when there is none. */
export function nearestPlace(x: readonly number[], seconds: number): number {
  let [low, high] = [0, x.length - 1];
  if (high < 0) return -1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [here, next] = [x[middle] ?? 0, x[middle + 1] ?? 0];
    if (seconds - here <= next - seconds) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Moves labels apart, so that none covers another, and none is above `top` or below `bottom`. @returns in the order given. */
export function spread(
  wanted: readonly number[],
  distance: number,
  { top, bottom }: { readonly top: number; readonly bottom: number },
): readonly number[] {
  const upwards = [...wanted.keys()].sort((a, b) => (wanted[b] ?? 0) - (wanted[a] ?? 0));
  const placed = [...wanted];
  let limit = bottom;
  for (const i of upwards) {
    placed[i] = Math.min(placed[i] ?? 0, limit);
    limit = (placed[i] ?? 0) - distance;
  }
  limit = top;
  for (const i of upwards.reverse()) {
    placed[i] = Math.max(placed[i] ?? 0, limit);
    limit = (placed[i] ?? 0) + distance;
  }
  return placed;
}

/** Rows, counted from 0, in which no range covers another: for each the first that is free from there. @param ranges by `from` */
export function rowsApart(
  ranges: readonly { readonly from: number; readonly to: number }[],
): readonly number[] {
  const ends: number[] = [];
  return ranges.map(({ from, to }) => {
    const free = ends.findIndex((end) => end <= from);
    const row = free < 0 ? ends.length : free;
    ends[row] = to;
    return row;
  });
}

function rounded(pixels: number): number {
  return Math.round(pixels * 10) / 10;
}
