import type { MeasuredRow, Results } from "./results.ts";
import { type Comparison, isReached, type Row, type Wanted } from "./row.ts";
import { say } from "./say.ts";
import { ratios, type Spread, spread } from "./statistics.ts";

/** RESULTS.md: every row, also those that were not measured. */
export function report(results: Results, rows: readonly Row[]): string {
  const sorted = rows.toSorted((a, b) => inOrder.compare(a.id, b.id));
  const measuredOf = ({ id }: Row) => results.rows[id] ?? null;
  const circumstances = Object.entries(results.circumstances).map(
    ([name, value]) => `| ${name} | ${value} |`,
  );
  const parts = [
    `# Measured against the alternatives`,
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

const inOrder = new Intl.Collator("en", { numeric: true });

const introduction = `Written by \`npm run bench\`; [results.json](results.json) has every round. All sides of a row are measured in one run, in turns.
Each number is the median of the rounds, with the least and the greatest behind it. The ratio is ours divided by theirs in each
round, and then the median of those. Our server is a process of its own, as \`npm start\` runs it, with tokens, costs, throttle
and every other limit on; only \`RATE_LIMIT_MAX\` and \`RECORD_RATE_LIMIT\` are higher, and what a row names. Load comes from further
processes, and each side of a row has the same. Queries are sent as four clients send them, with their headers and documents: Node's
\`fetch\`, Apollo Client 4, urql 6, and KEDA's GET, whose document has the names in it. Unless a row says otherwise, each connection asks a
question of its own out of 64, and 25 tokens take turns. A row says when it was measured, and of which commit; rows of other machines
or versions are left out, and rows measured in short rounds or on a busy machine are marked as indicative.`;

function summary({ id, title }: Row, measured: MeasuredRow | null): readonly string[] {
  if (measured === null) return [`| ${id} | **${title}** | not measured | | | | | |`];
  const lines = measured.lines.map((line) => {
    const { ours, theirs, ratio } = figures(line);
    const cells = [line.what, `${numbers(ours)} ${line.unit}`, line.against, numbers(theirs), numbers(ratio)];
    return `| | ${[...cells, ...verdict(line, measured)].join(" | ")} |`;
  });
  return [`| ${id} | **${title}** | | | | | | |`, ...lines];
}

function section({ id, title, purpose, how, obstacle }: Row, measured: MeasuredRow | null): string {
  const heading = `## ${id}. ${title}\n\n${purpose}`;
  const method = `How: ${how}`;
  if (measured === null) return [heading, "Not measured.", method].join("\n\n");
  const { lines, notes, measuredAt, commit, rounds, indicative } = measured;
  const sentences = [...lines.map(({ says }) => `- ${says}`), ...notes.map((note) => `- ${note}`)];
  const isShort = lines.some(
    (line) => line.wanted !== null && !isReached(judged(line, line.wanted), line.wanted),
  );
  const why = isShort ? [`Not reached: ${obstacle ?? "the reason is not known yet."}`] : [];
  const when = `Measured ${measuredAt}, commit ${commit}, ${rounds} ${rounds === 1 ? "round" : "rounds"}.`;
  const warning = indicative === undefined ? [] : [`**Indicative only**: ${indicative}.`];
  return [heading, ...warning, sentences.join("\n"), ...why, method, when].join("\n\n");
}

function figures({ ours, theirs }: Comparison): Readonly<Record<"ours" | "theirs" | "ratio", Spread>> {
  return { ours: spread(ours), theirs: spread(theirs), ratio: spread(ratios(ours, theirs)) };
}

function numbers({ median, min, max }: Spread): string {
  return `${say(median)} (${say(min)}–${say(max)})`;
}

/** The figure that is compared with what is wanted. */
function judged({ ours, theirs }: Comparison, { absolute }: Wanted): number {
  return spread(absolute === true ? ours : ratios(ours, theirs)).median;
}

function verdict(line: Comparison, { indicative }: MeasuredRow): readonly [wanted: string, reached: string] {
  const { wanted } = line;
  if (wanted === null) return ["", ""];
  const bound = "atLeast" in wanted ? `at least ${wanted.atLeast}` : `at most ${wanted.atMost}`;
  const reached = isReached(judged(line, wanted), wanted) ? "yes" : "**no**";
  return [
    wanted.absolute === true ? `${bound} ${line.unit}` : bound,
    indicative === undefined ? reached : `${reached}, indicative`,
  ];
}
