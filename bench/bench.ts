/** `npm run bench`: measures the server beside the alternatives, and writes RESULTS.md. See `--help`. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installPeers } from "./support/install.ts";
import { circumstances, commit } from "./support/machine.ts";
import { hottestIn } from "./support/profile.ts";
import { report } from "./support/report.ts";
import { type MeasuredRow, merge, type Results } from "./support/results.ts";
import { isRow, type RowGroup } from "./support/row.ts";

const usage = `npm run bench [-- [ROW ...] [--rounds N] [--quick [--keep]] [--profile]]

  ROW        the rows to measure, such as 3b, or 3 for 3 and 3b; all of them by default. Some rows are only measured together.
  --rounds   how often each side is measured; 5 by default
  --quick    one short round, to see whether it works; only printed, and worth nothing as a number
  --keep     with --quick: written down all the same, and marked as indicative
  --profile  one round, only printed, with a CPU profile of each server and what took the most time in it

What was measured is written to bench/results.json and bench/RESULTS.md. The machine should have nothing
else to do: what is measured beside other work is marked as indicative.
`;

/** Load average of the last minute above which other work counts. */
const maxLoad = 0.5;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    profile: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const isTrial = (options.quick && !options.keep) || options.profile;
const rounds = Number(options.rounds ?? (options.quick || options.profile ? 1 : 5));
const indicative = whyIndicative();

if (options.help) {
  process.stdout.write(usage);
} else if (!Number.isInteger(rounds) || rounds < 1) {
  fail(`--rounds: expected a number of at least 1, got ${options.rounds}`);
} else {
  // Everything that is started here, of which there is much, ends with this process.
  process.setMaxListeners(0);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));
  await installPeers();
  await run();
}

async function run(): Promise<void> {
  // They need what was installed only now.
  const { rowGroups } = await import("./rows.ts");
  const rows = rowGroups.flatMap((group) => group.rows);
  const unknown = positionals.filter((asked) => !rows.some(({ id }) => isRow(id, asked)));
  if (unknown.length > 0) {
    return fail(
      `expected some of the rows ${rows.map(({ id }) => id).join(", ")}, got ${unknown.join(", ")}`,
    );
  }
  const groups = rowGroups.filter((group) => {
    return (
      positionals.length === 0 || group.rows.some(({ id }) => positionals.some((asked) => isRow(id, asked)))
    );
  });

  const measured: MeasuredRow[] = [];
  for (const group of groups) measured.push(...(await measure(group)));
  const file = (name: string) => join(import.meta.dirname, name);
  if (isTrial) {
    process.stdout.write(report(merge(null, circumstances(), measured), rows));
    return;
  }
  const known = await readFile(file("results.json"), "utf8").catch(() => "null");
  const results = merge(JSON.parse(known) as Results | null, circumstances(), measured);
  await writeFile(file("results.json"), `${JSON.stringify(results, null, 1)}\n`);
  await writeFile(file("RESULTS.md"), report(results, rows));
  process.stdout.write("Written to bench/RESULTS.md\n");
}

/** Rows that cannot be measured are said to be so, and do not keep the others from it. */
async function measure(group: RowGroup): Promise<readonly MeasuredRow[]> {
  const names = group.rows.map(({ id, title }) => `${id}. ${title}`).join("; ");
  const startedAtMs = performance.now();
  const profiles = join(".cache/profiles", `row-${group.rows[0]?.id}-${Date.now()}`);
  if (options.profile) {
    await mkdir(profiles, { recursive: true });
    process.env.BENCH_PROFILE_DIR = profiles;
  }
  try {
    const results = await group.measure({ rounds, isQuick: options.quick });
    const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(0);
    process.stderr.write(`${names} (${seconds} s)\n`);
    if (options.profile) process.stderr.write(`${hottestIn(profiles, 20)}\n`);
    const measuredAt = `${new Date().toISOString().slice(0, 16)}Z`;
    return results.map((result) => ({
      ...{ ...result, measuredAt, commit: commit(), rounds },
      ...(indicative === null ? {} : { indicative }),
    }));
  } catch (error) {
    process.exitCode = 1;
    process.stderr.write(`${names}: not measured\n`);
    console.error(error);
    return [];
  }
}

/** Other work shows in the load before anything is measured; in that afterwards, the benchmark's own does. */
function whyIndicative(): string | null {
  const [load = 0] = loadavg();
  const reasons = [
    ...(options.quick ? ["measured in short rounds"] : []),
    ...(load > maxLoad ? [`the machine had a load of ${load.toFixed(1)} before`] : []),
  ];
  return reasons.length === 0 ? null : reasons.join(", and ");
}

function fail(message: string): void {
  process.stderr.write(`${message}\n\n${usage}`);
  process.exitCode = 1;
}
