import { describe, expect, test } from "vitest";
import { formatAtLeast, formatCount, formatRate } from "../../src/dashboard/format/count.ts";
import { formatDuration } from "../../src/dashboard/format/duration.ts";
import { forecastOf } from "../../src/dashboard/overview/forecast.ts";
import { holdOrder, isOutdated, rowCount, rowsOf } from "../../src/dashboard/overview/held-order.ts";
import { pathOf, routeOf } from "../../src/dashboard/route-path.ts";

describe("a duration", () => {
  test.each([
    [0, "0 s", "no job waits"],
    [0.0002, "<1 ms", "a little is not nothing"],
    [0.075, "75 ms", "below a second"],
    [0.3, "300 ms", "0.3 * 1000 is a little more than 300"],
    [0.9999, "999 ms", "rounded down: a second has not passed"],
    [4.85, "4.8 s", "tenths below ten seconds"],
    [4.9, "4.9 s", "4.9 * 10 is 49 and a little more"],
    [9.99, "9.9 s", "rounded down"],
    [59.9, "59 s", "never 60 s"],
    [60, "1 m", "a second unit of 0 is left out"],
    [90, "1 m 30 s", "two units"],
    [3_599.9, "59 m 59 s", "rounded down"],
    [7_500, "2 h 5 m", "two units"],
    [86_399, "23 h 59 m", "the largest of hours"],
    [273_600, "3 d 4 h", "days"],
    [-75, "-1 m 15 s", "a clock that is behind"],
  ])("of %f s is %s: %s", (seconds, text, _why) => {
    expect(formatDuration(seconds)).toBe(text);
  });
});

describe("a number", () => {
  test.each([
    [0, "0"],
    [9_999, "9,999"],
    [99_999, "99,999"],
    [120_500, "120.5K"],
    [10_000_000, "10M"],
  ])("of %i jobs is %s", (count, text) => {
    expect(formatCount(count)).toBe(text);
  });

  test("that may be greater has a plus", () => {
    expect([formatAtLeast(10_000, true), formatAtLeast(10_000, false)]).toEqual(["10,000+", "10,000"]);
  });

  test.each([
    [0, "0", "none"],
    [0.001, "<0.01", "a little is not nothing"],
    [0.033, "0.03", "two a minute"],
    [3.24, "3.2", "tenths"],
    [48.6, "49", "whole from ten on"],
    [1_234, "1,234", "with separators"],
  ])("of %f a second is %s: %s", (rate, text, _why) => {
    expect(formatRate(rate)).toBe(text);
    expect(formatRate(rate, true)).toBe(`${text}+`);
  });
});

describe("the order that is held", () => {
  const held = rowsOf(["a", "b", "c"], 0);
  test.each([
    { names: ["a", "b", "c"], rows: ["a", "b", "c"], outdated: false, why: "nothing has changed" },
    { names: ["c", "a", "b"], rows: ["a", "b", "c"], outdated: true, why: "rows keep their queue" },
    { names: ["x", "a", "b"], rows: ["a", "b", "c"], outdated: true, why: "also one that has left the page" },
    {
      names: ["a", "b", "c", "d"],
      rows: ["a", "b", "c", "d"],
      outdated: false,
      why: "a new row takes what is new",
    },
    {
      names: ["d", "a", "b", "c"],
      rows: ["a", "b", "c", "d"],
      outdated: true,
      why: "wherever it is in the page",
    },
    { names: [], rows: ["a", "b", "c"], outdated: false, why: "an empty page moves nothing" },
  ])("of a, b, c is $rows when the page is $names: $why", ({ names, rows, outdated }) => {
    expect([...holdOrder(held, names, 0).values()]).toEqual(rows);
    expect(isOutdated(held, names, 0)).toBe(outdated);
  });

  test("has all rows that are held, though queues above them have left", () => {
    const rows = holdOrder(held, ["c"], 0);
    expect([...rows.values()]).toEqual(["a", "b", "c"]);
    expect(rowCount(rows, 1)).toBe(3);
    expect(rowCount(rows, 5)).toBe(5);
  });

  test("takes rows further down from a page that begins there, each queue once", () => {
    const rows = holdOrder(rowsOf(["a", "b"], 10), ["b", "x", "y"], 11);
    expect([...rows]).toEqual([
      [10, "a"],
      [11, "b"],
      [12, "x"],
      [13, "y"],
    ]);
  });
});

describe("a forecast", () => {
  const none = { unstable: false, drainSeconds: null, breachSeconds: null };
  const likely = (seconds: number) => ({ likely: seconds });
  test.each([
    { forecast: null, text: undefined, why: "the server has none" },
    { forecast: none, text: undefined, why: "no estimate is sure enough" },
    { forecast: { ...none, unstable: true }, text: "never drains", isBad: true, why: "more come than leave" },
    {
      forecast: { ...none, breachSeconds: likely(130) },
      text: "late in 2 m",
      isBad: true,
      why: "in one unit",
    },
    {
      forecast: { ...none, drainSeconds: likely(4.2) },
      text: "drains in 4 s",
      isBad: false,
      why: "no tenths",
    },
    {
      forecast: { ...none, drainSeconds: likely(85) },
      text: "drains in 85 s",
      isBad: false,
      why: "1 m says less",
    },
    {
      forecast: { ...none, drainSeconds: likely(0.1) },
      text: "drains in 1 s",
      isBad: false,
      why: "not 0: it has not",
    },
    {
      ...{ forecast: { ...none, drainSeconds: likely(7_200), breachSeconds: likely(0) }, latency: 40 },
      ...{ text: "drains in 2 h", isBad: true, why: "it is late already" },
    },
    { forecast: { ...none, drainSeconds: likely(0) }, latency: 0, text: undefined, why: "no job waits" },
  ])("of $forecast is $text: $why", ({ forecast, latency = 10, text, isBad }) => {
    expect(forecastOf({ forecast, latency, objective: 30 })).toEqual(
      text === undefined ? null : { text, isBad },
    );
  });
});

describe("a path", () => {
  test.each([
    ["", { page: "overview" }, "the root"],
    ["alerts", { page: "alerts" }, "alerts"],
    ["queues/mail", { page: "queue", queue: "mail" }, "a name"],
    ["queues/demo%2Fsteady", { page: "queue", queue: "demo/steady" }, "with a slash"],
    ["queues/demo/steady", { page: "queue", queue: "demo/steady" }, "with a slash that a proxy has decoded"],
    ["queues/100%25", { page: "queue", queue: "100%" }, "with a percent sign"],
    ["queues/100%", { page: "queue", queue: "100%" }, "as a person types it"],
    ["queues/*.", { page: "queue", queue: "." }, "a dot, which a browser takes out of a path"],
    ["queues/*..", { page: "queue", queue: ".." }, "two dots"],
    ["queues/a%2F*..%2Fb", { page: "queue", queue: "a/../b" }, "two dots in between, for proxies"],
    ["queues/a%2F*%2Fb", { page: "queue", queue: "a//b" }, "two slashes, of which proxies make one"],
    ["queues/*%2F*", { page: "queue", queue: "/" }, "a slash alone"],
    ["queues/...", { page: "queue", queue: "..." }, "three dots are a name"],
    ["queues/%3Fa%23b%26c", { page: "queue", queue: "?a#b&c" }, "what ends a path"],
    ["queues/%252F", { page: "queue", queue: "%2F" }, "what looks encoded"],
    ["queues/%F0%9F%90%A2", { page: "queue", queue: "\u{1f422}" }, "an emoji"],
    ["queues/*", { page: "overview" }, "no name"],
    ["queues/", { page: "overview" }, "no name"],
    ["elsewhere", { page: "overview" }, "unknown"],
  ] as const)("%s is the page %o: %s", (path, route, _why) => {
    expect(routeOf(path)).toEqual(route);
    expect(routeOf(pathOf(route))).toEqual(route);
  });
});
