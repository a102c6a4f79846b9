import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type SourceFacts, sourceFacts } from "../../src/sources/source-facts.ts";
import { project } from "../support/pages.ts";

const columns = [
  "source",
  "versions",
  "how often",
  "`depth`",
  "`scheduled`",
  "`inFlight`",
  "`throughput`, `waitTime`, history of counts",
  "`overtaken`, `inOrderLatency`",
  "`PAUSED`",
  "clock of the head's age",
  "best `accuracy`",
];

function rowOf(facts: SourceFacts): readonly string[] {
  const { title, page, versions, howOften, depth, scheduled, inFlight, counts, paused } = facts;
  const place = versions.includes(page) ? title : `[${title}](${page})`;
  return [
    ...[place, versions, howOften, depth, scheduled ?? "null", inFlight ?? "null"],
    ...[counts ?? "no", facts.overtaken, paused ?? "no", facts.clock, `\`${facts.accuracy}\``],
  ];
}

test("docs/sources.md says of every source what it declares to report", () => {
  const events = ["events", "any job system", "as events come", "counted", "counted", "null"];
  const rows = [
    columns,
    columns.map(() => "---"),
    [...events, "yes", "yes", "no", "Redis's", "`EXACT`"],
    ...Object.values(sourceFacts).map(rowOf),
  ];
  const table = rows.map((row) => `| ${row.join(" | ")} |`).join("\n");
  expect(readFileSync(join(project, "docs/sources.md"), "utf8")).toContain(`\n\n${table}\n\n`);
});
