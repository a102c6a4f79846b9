import { describe, expect, test } from "vitest";
import { hottest } from "../../bench/support/profile.ts";
import { report } from "../../bench/support/report.ts";
import { type MeasuredRow, merge, type Results } from "../../bench/support/results.ts";
import { isReached, isRow, type Row, type Wanted } from "../../bench/support/row.ts";
import { say } from "../../bench/support/say.ts";
import { quantile, ratios, spread } from "../../bench/support/statistics.ts";

const here = { machine: "one", node: "24.0.0" };

const measured = (row: string, ours: readonly number[], theirs: readonly number[]): MeasuredRow => ({
  row,
  lines: [
    {
      what: "answers",
      unit: "answers/s",
      against: "a peer",
      ours,
      theirs,
      wanted: { atLeast: 0.8 },
      says: "So it is.",
    },
  ],
  notes: [],
  measuredAt: "2026-11-23T08:15Z",
  commit: "abc1234",
  rounds: ours.length,
});

describe("the numbers of several rounds", () => {
  test("are the one in the middle and the two at the ends", () => {
    expect(spread([3, 1, 2, 10, 4])).toEqual({ median: 3, min: 1, max: 10 });
    expect(quantile([10, 20], 0.5)).toBe(15);
    expect(() => spread([])).toThrow("at least one round");
  });

  test("are compared round by round, so that a round that was slow for both changes nothing", () => {
    expect(ratios([50, 5, 50], [100, 10, 100])).toEqual([0.5, 0.5, 0.5]);
    expect(() => ratios([1], [1, 2])).toThrow("as many rounds of both");
  });

  test.each([
    [0.0123456, "0.0123"],
    [12.345, "12.3"],
    [999.9, "1,000"],
    [123_456, "123,000"],
  ])("%d is written as %s", (value, text) => expect(say(value)).toBe(text));

  test.each<[number, Wanted, boolean, string]>([
    [0.8, { atLeast: 0.8 }, true, "just enough"],
    [0.799, { atLeast: 0.8 }, false, "shown as less"],
    [1.001, { atMost: 1 }, true, "shown as 1"],
    [1.01, { atMost: 1 }, false, "shown as more"],
  ])("%d is compared with %o: %s, for it is %s", (ratio, wanted, verdict) => {
    expect(isReached(ratio, wanted)).toBe(verdict);
  });
});

describe("what is known of the rows", () => {
  const known: Results = merge(null, here, [measured("1", [1], [1]), measured("2", [2], [2])]);

  test("keeps those that a run did not measure", () => {
    const { rows } = merge(known, here, [measured("2", [3], [3])]);
    expect(rows[1]).toEqual(known.rows[1]);
    expect(rows[2]?.lines[0]?.ours).toEqual([3]);
  });

  test.each([
    ["of another machine", { ...here, machine: "two" }],
    ["of another version", { ...here, node: "24.0.1" }],
  ])("drops those %s", (_, elsewhere) => {
    expect(Object.keys(merge(known, elsewhere, [measured("2", [3], [3])]).rows)).toEqual(["2"]);
  });
});

describe("RESULTS.md", () => {
  const rows: readonly Row[] = [
    { id: "10", title: "Tenth", purpose: "To rest.", how: "By train." },
    { id: "2", title: "Second", purpose: "To see it.", how: "By hand.", obstacle: "It is too far." },
    { id: "1", title: "First", purpose: "To begin.", how: "By foot." },
  ];

  test("has every row in order, and says which were not measured", () => {
    const text = report(merge(null, here, [measured("2", [90, 100, 80], [100, 100, 100])]), rows);
    expect(text).toContain("| machine | one |");
    expect(text).toContain("| 1 | **First** | not measured |");
    expect(text).toContain(
      "| | answers | 90 (80–100) answers/s | a peer | 100 (100–100) | 0.9 (0.8–1) | at least 0.8 | yes |",
    );
    expect(text.indexOf("## 1. First")).toBeLessThan(text.indexOf("## 2. Second"));
    expect(text.indexOf("## 2. Second")).toBeLessThan(text.indexOf("## 10. Tenth"));
    expect(text).toContain("## 2. Second\n\nTo see it.\n\n");
    expect(text).toContain("So it is.");
    expect(text).toContain("Measured 2026-11-23T08:15Z, commit abc1234, 3 rounds.");
  });

  test("holds a figure itself against an absolute bound", () => {
    const one = measured("2", [19], [1]);
    const lines = one.lines.map((line) => ({ ...line, wanted: { atMost: 20, absolute: true as const } }));
    expect(report(merge(null, here, [{ ...one, lines }]), rows)).toContain("| at most 20 answers/s | yes |");
  });

  test("marks figures that only give an idea", () => {
    const one = { ...measured("2", [90], [100]), indicative: "measured in short rounds" };
    const text = report(merge(null, here, [one]), rows);
    expect(text).toContain("| at least 0.8 | yes, indicative |");
    expect(text).toContain("**Indicative only**: measured in short rounds.");
  });

  test("says why a row is not reached, and only then", () => {
    const short = report(merge(null, here, [measured("2", [1], [2]), measured("1", [1], [2])]), rows);
    expect(short).toContain("| 0.5 (0.5–0.5) | at least 0.8 | **no** |");
    expect(short).toContain("Not reached: It is too far.");
    expect(short).toContain("Not reached: the reason is not known yet.");
    expect(report(merge(null, here, [measured("2", [2], [2])]), rows)).not.toContain("Not reached");
  });
});

test("names all rows of a number, or one", () => {
  const ids = ["1a", "1b", "11", "3", "3b"];
  expect(ids.filter((id) => isRow(id, "1"))).toEqual(["1a", "1b"]);
  expect(ids.filter((id) => isRow(id, "3b"))).toEqual(["3b"]);
});

test("a profile is shown by place and by function, without the time in which nothing ran", () => {
  const node = (id: number, functionName: string, url: string) => ({
    id,
    callFrame: { functionName, url, lineNumber: 9 },
  });
  const profile = {
    nodes: [
      node(1, "(idle)", ""),
      node(2, "parse", `file://${process.cwd()}/node_modules/@a/b/node_modules/c/index.js`),
      node(3, "fold", `file://${process.cwd()}/src/tracker/fold.ts`),
      node(4, "writev", ""),
    ],
    samples: [1, 2, 3, 2, 4],
    timeDeltas: [1_000, 30, 20, 40, 10],
  };
  expect(hottest(profile, 2)).toEqual([
    " 70.0 %  c",
    " 20.0 %  src/tracker",
    "",
    " 70.0 %  parse  node_modules/@a/b/node_modules/c/index.js:10",
    " 20.0 %  fold  src/tracker/fold.ts:10",
  ]);
});
