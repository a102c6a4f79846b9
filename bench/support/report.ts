import type { MeasuredRow, Results } from "./results.ts";
import { type Comparison, isReached, type Row, type Wanted } from "./row.ts";
import { say } from "./say.ts";
import { ratios, type Spread, spread } from "./statistics.ts";

/** RESULTS.md: every row, also those that were not measured. */
export function report(results: Results, rows: readonly Row[]): string {
  const sorted = rows.toSorted((a, b) => a.number - b.number);
  const measuredOf = ({ number }: Row) => results.rows[number] ?? null;
  const circumstances = Object.entries(results.circumstances).map(
    ([name, value]) => `| ${name} | ${value} |`,
  );
  const parts = [
    `# Measured against what people would use instead`,
    introduction,
    ["| what | |", "| --- | --- |", ...circumstances].join("\n"),
    "## All rows",
    [
      "| # | measured | ours | against | theirs | ratio | wanted | reached |",
      "| --- | --- | --- | --- | --- | --- | --- | --- |",
      ...sorted.flatMap((row) => summary(row, measuredOf(row))),
    ].join("\n"),
    ...sorted.map((row) => section(row, measuredOf(row))),
  ];
  return `${parts.join("\n\n")}\n`;
}

const introduction = `Written by \`npm run bench\`; [results.json](results.json) has every round. All sides of a row are measured in one run, in turns.
Each number is the median of the rounds, with the least and the greatest behind it. The ratio is ours divided by theirs in each
round, and then the median of those. Our server is a process of its own, as \`npm start\` runs it, with tokens, costs, throttle
and every other limit on; only \`RATE_LIMIT_MAX\` is higher, except in row 11. Load comes from further processes, and each side of a row
has the same. A row says when it was measured, and of which commit; rows of other machines or versions are left out.`;

function summary({ number, title }: Row, measured: MeasuredRow | null): readonly string[] {
  if (measured === null) return [`| ${number} | **${title}** | not measured | | | | | |`];
  const lines = measured.lines.map((line) => {
    const { ours, theirs, ratio } = figures(line);
    const cells = [line.what, `${numbers(ours)} ${line.unit}`, line.against, numbers(theirs), numbers(ratio)];
    return `| | ${[...cells, ...verdict(line.wanted, ratio)].join(" | ")} |`;
  });
  return [`| ${number} | **${title}** | | | | | | |`, ...lines];
}

function section({ number, title, how, obstacle }: Row, measured: MeasuredRow | null): string {
  const heading = `## ${number}. ${title}`;
  const method = `How: ${how}`;
  if (measured === null) return [heading, "Not measured.", method].join("\n\n");
  const { lines, notes, measuredAt, commit, rounds } = measured;
  const sentences = [...lines.map(({ says }) => `- ${says}`), ...notes.map((note) => `- ${note}`)];
  const isShort = lines.some(({ wanted, ours, theirs }) => {
    return wanted !== null && !isReached(spread(ratios(ours, theirs)).median, wanted);
  });
  const why = isShort ? [`Not reached: ${obstacle ?? "the reason is not known yet."}`] : [];
  const when = `Measured ${measuredAt}, commit ${commit}, ${rounds} ${rounds === 1 ? "round" : "rounds"}.`;
  return [heading, sentences.join("\n"), ...why, method, when].join("\n\n");
}

function figures({ ours, theirs }: Comparison): Readonly<Record<"ours" | "theirs" | "ratio", Spread>> {
  return { ours: spread(ours), theirs: spread(theirs), ratio: spread(ratios(ours, theirs)) };
}

function numbers({ median, min, max }: Spread): string {
  return `${say(median)} (${say(min)}–${say(max)})`;
}

function verdict(wanted: Wanted | null, { median }: Spread): readonly [wanted: string, reached: string] {
  if (wanted === null) return ["", ""];
  const bound = "atLeast" in wanted ? `at least ${wanted.atLeast}` : `at most ${wanted.atMost}`;
  return [bound, isReached(median, wanted) ? "yes" : "**no**"];
}
