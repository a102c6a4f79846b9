import { describe, expect, test } from "vitest";
import { countAxis, positionOn } from "../../src/dashboard/charts/axis.ts";
import { columnsOf, type Line, summaryOf } from "../../src/dashboard/charts/columns.ts";
import { durationAxis } from "../../src/dashboard/charts/duration-axis.ts";
import {
  geometryOf,
  linePath,
  nearestPlace,
  rowsApart,
  spread,
} from "../../src/dashboard/charts/plot-geometry.ts";
import { firingBetween, spansOf } from "../../src/dashboard/charts/spans.ts";
import { mergeSteps, stepGrid } from "../../src/dashboard/charts/step-grid.ts";
import { timeTicks } from "../../src/dashboard/charts/time-axis.ts";

describe("the axis of durations", () => {
  const [minute, hour, day] = [60, 3_600, 86_400];
  const cases: readonly [why: string, values: readonly (number | null)[], expected: object][] = [
    ["has round ends and ticks", [0.3, 40], { isLog: true, min: 0.2, max: minute }],
    [
      "has a 0 below its first rung where no job waited at times: a logarithm has none",
      [0, 40, 45, 80],
      { isLog: true, min: 20, max: 2 * minute, ticks: [0, 30, minute, 2 * minute] },
    ],
    [
      "has the 0 for less than a millisecond, too",
      [0.0004, 0.02, 0.03],
      { isLog: true, min: 0.01, max: 0.05, ticks: [0, 0.02, 0.05] },
    ],
    ["has the 0 below the shortest rung", [0, 0.001, 90 * day], { isLog: true, min: 0.0005, max: 365 * day }],
    [
      "is linear where it is 0 or one value",
      [0, 40, 40],
      { isLog: false, min: 0, max: minute, ticks: [0, 30, minute] },
    ],
    [
      "ends above a round maximum, so that its line is not on the border",
      [1, 20],
      { isLog: true, min: 1, max: 30 },
    ],
    ["reaches from milliseconds to months", [0.001, 80 * day], { isLog: true, min: 0.001, max: 90 * day }],
    ["reaches beyond its ladder", [1, 4_000 * day], { isLog: true, min: 1, max: 8_000 * day }],
    ["leaves unknown values out", [null, 5, null, 50], { isLog: true, min: 5, max: minute }],
    [
      "is linear when all values are equal",
      [45, 45, null],
      { isLog: false, min: 0, max: minute, ticks: [0, 30, 60] },
    ],
    ["is linear when no job ever waited", [0, 0], { isLog: false, min: 0, max: 1 }],
    ["is linear when there is no value", [null], { isLog: false, min: 0, max: 1 }],
    [
      "has few, round ticks within an hour",
      [30, 50 * minute],
      { ticks: [30, minute, 5 * minute, 15 * minute, hour] },
    ],
  ];
  test.each(cases)("%s", (_, values, expected) => {
    const axis = durationAxis(values);
    expect(axis).toMatchObject(expected);
    expect(axis.ticks.length).toBeLessThanOrEqual(6);
    expect(axis.ticks.length).toBeGreaterThanOrEqual(2);
    expect(axis.ticks).toEqual([...new Set(axis.ticks)].sort((a, b) => a - b));
    // A tick, and a value, is never outside of the chart.
    for (const value of [...axis.ticks, ...values]) {
      if (value === null) continue;
      expect(positionOn(axis, value)).toBeGreaterThanOrEqual(positionOn(axis, axis.min));
      expect(positionOn(axis, value)).toBeLessThanOrEqual(positionOn(axis, axis.max));
    }
  });

  test("has at most six ticks, and at least two, for every range", () => {
    for (let low = 0.001; low < 1e7; low *= 1.7) {
      for (let high = low * 1.3; high < 2e7; high *= 2.3) {
        const { ticks } = durationAxis([low, high]);
        expect(ticks.length, `${low} to ${high}`).toBeGreaterThanOrEqual(2);
        expect(ticks.length, `${low} to ${high}`).toBeLessThanOrEqual(6);
        const withZero = durationAxis([0, low, high]).ticks;
        expect(withZero.slice(0, 2), `0 and ${low} to ${high}`).toEqual([0, expect.any(Number)]);
        expect(withZero.length, `0 and ${low} to ${high}`).toBeLessThanOrEqual(6);
      }
    }
  });
});

describe("the axis of counts", () => {
  const cases: readonly [
    why: string,
    values: readonly (number | null)[],
    smallest: number,
    ticks: readonly number[],
  ][] = [
    ["has no half of a job", [0, 1], 1, [0, 1, 2]],
    ["has fractions of a rate", [0.3], 0, [0, 0.1, 0.2, 0.3, 0.4]],
    ["has room above the maximum", [100], 1, [0, 50, 100, 150]],
    ["has an end where all is 0", [0, null], 1, [0, 1]],
    ["has an end where no value is known", [null], 1, [0, 1]],
  ];
  test.each(cases)("%s", (_, values, smallest, ticks) => {
    const axis = countAxis(values, smallest);
    expect(axis.ticks).toEqual(ticks);
    expect(axis.max).toBe(ticks.at(-1));
  });
});

describe("steps on a time axis", () => {
  const base = 1_790_000_000_000;
  const step = (place: number, value: number | null = place) => ({ atMs: base + place * 10_000, value });
  const range = { fromMs: base, toMs: base + 60_000, stepMs: 10_000 };
  const line = (now: number | null): Line<{ value: number | null }> => ({
    ...{ label: "latency", tone: "latency", now },
    of: ({ value }) => value,
  });
  const drawn = (steps: readonly ReturnType<typeof step>[], now: number | null, toMs = range.toMs) => {
    const grid = stepGrid(steps, { ...range, toMs });
    const { x, lines } = columnsOf(grid, [line(now)], { nowMs: toMs });
    return { x: x.map((seconds) => seconds - base / 1000), ...lines[0] };
  };

  test("makes a gap, and no zero, of a step that is missing", () => {
    const { values } = drawn([step(0), step(1), step(4), step(5)], 9);
    expect(values).toEqual([0, 1, null, null, 4, 5, 9]);
  });

  test("puts each step at its middle, and now at the end", () => {
    expect(drawn([step(0)], 1).x).toEqual([5, 15, 25, 35, 45, 55, 60]);
  });

  test("draws a dashed line from the last step to now, also while the newest is not listed yet", () => {
    expect(drawn([step(4), step(5)], 9).running).toEqual([null, null, null, null, null, 5, 9]);
    expect(drawn([step(3), step(4)], 9).running).toEqual([null, null, null, null, 4, null, 9]);
  });

  test("draws no dashed line over a gap", () => {
    expect(drawn([step(0), step(1)], 9).running).toEqual([null, null, null, null, null, null, 9]);
  });

  test("draws no dashed line from before a step without a value", () => {
    expect(drawn([step(4), step(5, null)], 9).running).toEqual([null, null, null, null, null, null, 9]);
  });

  test("draws no dashed line when the present is not known", () => {
    expect(drawn([step(4), step(5)], null).running).toEqual(new Array(7).fill(null));
  });

  test("has no place for now in a range of the past", () => {
    const grid = stepGrid([step(0), step(5)], range);
    const { x, lines } = columnsOf(grid, [line(3)], { nowMs: null });
    expect(x).toHaveLength(6);
    expect(lines[0]?.values).toEqual([0, null, null, null, null, 5]);
    expect(lines[0]?.running).toEqual(new Array(6).fill(null));
  });

  test("says of each place, and of now, how far it can be trusted", () => {
    const grid = stepGrid([step(0), step(1), step(4)], range);
    const options = { isIncomplete: ({ atMs }: { atMs: number }) => atMs === base, isNowIncomplete: true };
    const counted = { ...line(9), isAtLeast: ({ value }: { value: number | null }) => value === 1 };
    const live = columnsOf(grid, [counted], { ...options, nowMs: range.toMs });
    expect(live.incomplete).toEqual([true, false, false, false, false, false, true]);
    expect(live.lines[0]?.atLeast).toEqual([false, true, false, false, false, false, false]);
    const past = columnsOf(grid, [{ ...counted, isNowAtLeast: true }], { ...options, nowMs: null });
    expect(past.incomplete).toEqual([true, false, false, false, false, false]);
    expect(past.lines[0]?.atLeast).toEqual([false, true, false, false, false, false]);
  });

  test("leaves out the running step, and those outside of the range", () => {
    const { values } = drawn([step(-1), step(0), step(6), step(7)], null, range.toMs + 4_000);
    expect(values).toEqual([0, null, null, null, null, null, null]);
  });

  test("replaces a step that is read again, and drops those that have left the range", () => {
    const merged = mergeSteps([step(0), step(1, 7), step(2)], [step(1, 8), step(3)], base + 10_000);
    expect(merged).toEqual([step(1, 8), step(2), step(3)]);
  });

  test("is summed up as minimum, maximum and last value", () => {
    const lines = [
      { label: "p50", values: [3, 1, null, 2], atLeast: [true, false, false, false] },
      { label: "p99", values: [null], atLeast: [true] },
    ];
    const text = "Waits. p50: minimum 1s, maximum 3s+, last 2s; p99: no data.";
    expect(summaryOf("Waits", lines, (value, isAtLeast) => `${value}s${isAtLeast ? "+" : ""}`)).toBe(text);
  });
});

describe("the spans of alerts", () => {
  const at = (minute: number) => new Date(1_790_000_000_000 + minute * 60_000).toISOString();
  const alert = (firedAt: string | null, endedAt: string | null) => ({ rule: "Late", firedAt, endedAt });
  test("are those that reach into the range, the earliest first", () => {
    const alerts = [
      alert(at(50), null),
      alert(at(5), at(15)),
      alert(at(0), at(9)),
      alert(at(70), null),
      alert(null, null),
    ];
    const spans = spansOf(alerts, Date.parse(at(10)), Date.parse(at(60)));
    expect(spans.map(({ fromMs, toMs }) => [fromMs, toMs])).toEqual([
      [Date.parse(at(5)), Date.parse(at(15))],
      [Date.parse(at(50)), null],
    ]);
  });

  test("are named for a time that they reach into, each alert once", () => {
    const span = (label: string, fromMs: number, toMs: number | null) => ({ label, fromMs, toMs });
    const spans = [span("A", 0, 10), span("A", 15, 20), span("B", 18, null), span("C", 30, 40)];
    expect(firingBetween(spans, 5, 25)).toEqual(["A", "B"]);
    expect(firingBetween(spans, 11, 14)).toEqual([]);
    expect(firingBetween(spans, 100, 101)).toEqual(["B"]);
  });
});

describe("a plot", () => {
  const axis = { isLog: false, min: 0, max: 10, ticks: [0, 10] };
  const geometry = geometryOf({ width: 208, height: 146, axis, fromSeconds: 0, toSeconds: 100 });
  const x = [10, 20, 30, 40];

  test("interrupts a line at a gap, and draws a value between two gaps as a point", () => {
    expect(linePath(x, [0, 10, null, 5], geometry)).toBe("M74 110L84 10M104 60h0");
    expect(linePath(x, [0, null, null, 10], geometry, true)).toBe("M74 110L104 10");
    expect(linePath(x, [null, null, null, null], geometry)).toBe("");
  });

  test("finds the nearest column, and none where there is none", () => {
    expect([0, 14, 16, 34, 99].map((seconds) => nearestPlace(x, seconds))).toEqual([0, 0, 1, 2, 3]);
    expect(nearestPlace([], 5)).toBe(-1);
  });

  test("knows the instant of a place, and the ends beyond the ends", () => {
    expect([0, 64, 114, 500].map(geometry.secondsAt)).toEqual([0, 0, 50, 100]);
  });

  test("moves names of lines apart, and none out of the plot", () => {
    const range = { top: 10, bottom: 100 };
    expect(spread([50, 52, 90], 14, range)).toEqual([38, 52, 90]);
    expect(spread([100, 100, 100], 14, range)).toEqual([100, 86, 72]);
    expect(spread([10, 11, 12], 14, range)).toEqual([10, 24, 38]);
  });

  test.each([
    [
      "one below the other where they begin together",
      [
        [0, 90],
        [0, 100],
      ],
      [0, 1],
    ],
    [
      "in the first row again when that is free",
      [
        [0, 50],
        [10, 60],
        [50, 80],
        [70, 90],
      ],
      [0, 1, 0, 1],
    ],
    ["nowhere where there is none", [], []],
  ] as const)("names of alerts are %s", (_, ranges, rows) => {
    expect(rowsApart(ranges.map(([from, to]) => ({ from, to })))).toEqual(rows);
  });
});

describe("the time axis", () => {
  const local = (hour: number, minute = 0) => new Date(2026, 10, 23, hour, minute).getTime() / 1_000;

  test("has round times of the reader's time zone, and the date once a day", () => {
    const ticks = timeTicks(local(22, 7), local(26, 3), 6);
    expect(ticks.map(({ label }) => label)).toEqual(["23:00", "00:00", "01:00", "02:00"]);
    expect(ticks.map(({ date }) => date)).toEqual(["Nov 23", "Nov 24", "", ""]);
  });

  test("has days where the range is long", () => {
    const ticks = timeTicks(local(0), local(24 * 6), 10);
    expect(ticks.map(({ label }) => label)).toEqual([
      "Nov 23",
      "Nov 24",
      "Nov 25",
      "Nov 26",
      "Nov 27",
      "Nov 28",
      "Nov 29",
    ]);
  });

  test("has no more ticks than there is room for, and one at least", () => {
    for (let length = 600; length < 100 * 86_400; length *= 1.9) {
      for (const most of [3, 6, 12]) {
        const ticks = timeTicks(local(0) - length / 3, local(0) + length, most);
        expect(ticks.length, `${length} s`).toBeLessThanOrEqual(most + 1);
        expect(ticks.length, `${length} s`).toBeGreaterThanOrEqual(1);
      }
    }
  });
});
