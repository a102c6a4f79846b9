/** The vertical axis of a chart: its ends and its ticks, in the unit of its values. */
export interface Axis {
  /** Whether equal distances are equal factors. */
  readonly isLog: boolean;
  readonly min: number;
  readonly max: number;
  /** Round values from `min` to `max`, at most six. A 0 on a log axis is at its lower end. */
  readonly ticks: readonly number[];
}

/** Where a value is on an axis, in a unit in which equal distances are equal. What is below a log axis is at its lower end. */
export function positionOn({ isLog, min }: Axis, value: number): number {
  return isLog ? Math.log10(Math.max(value, min)) : value;
}

/**
 * A linear axis from 0 for numbers of jobs, or jobs a second.
 *
 * @param smallest distance of two ticks: 1 for what is counted.
 */
export function countAxis(values: readonly (number | null)[], smallest: number): Axis {
  const high = values.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
  if (high === 0) return { isLog: false, min: 0, max: 1, ticks: [0, 1] };
  const rough = high / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(smallest, power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10));
  // 0.3 / 0.1 is a little less than 3.
  const count = Math.floor(high / step + 1e-9) + 1;
  // A multiple rather than a sum: 0.1 + 0.2 is not 0.3.
  const ticks = Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)));
  return { isLog: false, min: 0, max: ticks.at(-1) ?? 1, ticks };
}
