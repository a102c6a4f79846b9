import { median } from "./statistics.ts";

/** A number to three significant digits, and whole from 1,000 on: `0.0123`, `12.3`, `12,300`. */
export function say(value: number): string {
  const rounded = Number(value.toPrecision(3));
  return rounded.toLocaleString("en-US", {
    maximumSignificantDigits: 3,
    useGrouping: Math.abs(rounded) >= 1_000,
  });
}

/** The median of some rounds, to be read. */
export function sayMedian(values: readonly number[]): string {
  return say(median(values));
}
