/**
 * `script/release VERSION` moves the changelog's section Unreleased to the version, sets the version of the package, keeps the schema for
 * comparison, and makes a commit and a tag. It pushes nothing; pushing the tag starts .github/workflows/release.yml. `--dry-run` shows what it would do.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

const unreleased = "## [Unreleased]";

/** The changelog with its unreleased changes as a version. @throws Error when there are none. */
export function withRelease(changelog: string, version: string, date: string): string {
  if (sectionOf(changelog, "Unreleased") === "") throw new Error("CHANGELOG.md has no unreleased changes");
  return changelog.replace(unreleased, `${unreleased}\n\n## [${version}] - ${date}`);
}

/** The section of a version, without its heading; "" when there is none. */
export function sectionOf(changelog: string, version: string): string {
  const lines = changelog.split("\n");
  const from = lines.findIndex((line) => line.startsWith(`## [${version}]`));
  if (from < 0) return "";
  const length = lines.slice(from + 1).findIndex((line) => line.startsWith("## "));
  const section = length < 0 ? lines.slice(from + 1) : lines.slice(from + 1, from + 1 + length);
  return section.join("\n").trim();
}

/** Whether `next` is a version that may follow `current`. */
export function isLater(next: string, current: string): boolean {
  const [a, b] = [next, current].map((version) => version.split(".").map(Number)) as [number[], number[]];
  if (!/^\d+\.\d+\.\d+$/.test(next)) return false;
  const at = a.findIndex((part, index) => part !== b[index]);
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
}

/** package.json or package-lock.json with another version of the package itself; nothing else changes. */
export function withVersion(json: string, current: string, next: string): string {
  // In the lock it stands twice, before the first dependency.
  let left = json.includes('"lockfileVersion"') ? 2 : 1;
  return json.replace(/"version": "[^"]*"/g, (text) => {
    if (left === 0) return text;
    left--;
    if (text !== `"version": "${current}"`) throw new Error(`expected ${current}, got ${text}`);
    return `"version": "${next}"`;
  });
}

function git(...args: string[]): string {
  return execFileSync("git", args, { encoding: "utf8" }).trim();
}

function release(version: string, isDryRun: boolean): void {
  const read = (file: string) => readFileSync(file, "utf8");
  const { version: current } = JSON.parse(read("package.json")) as { version: string };
  if (!isLater(version, current))
    throw new Error(`expected a version after ${current}, such as 1.2.3, got ${version}`);
  if (git("status", "--porcelain") !== "") throw new Error("there are changes that are not committed");
  if (git("tag", "--list", `v${version}`) !== "") throw new Error(`the tag v${version} is there already`);
  const date = new Date().toISOString().slice(0, 10);
  const changed = {
    "CHANGELOG.md": withRelease(read("CHANGELOG.md"), version, date),
    "package.json": withVersion(read("package.json"), current, version),
    "package-lock.json": withVersion(read("package-lock.json"), current, version),
    // What the next release is compared with: unit/schema-breaks.
    "test/fixtures/released-schema.graphql": read("schema.graphql"),
  };
  const notes = sectionOf(changed["CHANGELOG.md"], version);
  if (isDryRun) {
    console.log(`Would set the version ${current} to ${version} in ${Object.keys(changed).join(", ")},`);
    console.log(`commit "Release ${version}" and tag it v${version}, with these notes:\n\n${notes}`);
    return;
  }
  for (const [file, text] of Object.entries(changed)) writeFileSync(file, text);
  git("commit", "--quiet", "--message", `Release ${version}`, "--", ...Object.keys(changed));
  git("tag", "--annotate", `v${version}`, "--message", `queue-latency ${version}`);
  console.log(`Made the commit and the tag v${version}. To publish: git push --follow-tags`);
}

/** Prints the notes of the version in package.json. @throws Error when it is another one, or has no notes. */
function printNotes(version: string): void {
  const { version: current } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
  if (version !== current) throw new Error(`package.json has the version ${current}, not ${version}`);
  const notes = sectionOf(readFileSync("CHANGELOG.md", "utf8"), version);
  if (notes === "") throw new Error(`CHANGELOG.md has no section of ${version}`);
  console.log(notes);
}

if (import.meta.main) {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { "dry-run": { type: "boolean", default: false }, notes: { type: "boolean", default: false } },
    });
    const [version, ...rest] = positionals;
    if (version === undefined || rest.length > 0)
      throw new Error("usage: script/release VERSION [--dry-run]");
    if (values.notes) printNotes(version);
    else release(version, values["dry-run"]);
  } catch (error) {
    console.error(`script/release: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
