import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { isLater, sectionOf, withRelease, withVersion } from "../../script/release.ts";

const project = join(import.meta.dirname, "../..");

const changelog = `# Changelog

## [Unreleased]

### Added

- A field.

## [0.1.0] - 2026-01-02

- The first version.
`;

describe("a version", () => {
  test.each([
    { next: "0.1.1", current: "0.1.0", later: true, why: "a patch" },
    { next: "0.2.0", current: "0.1.9", later: true, why: "a minor version" },
    { next: "1.0.0", current: "0.10.3", later: true, why: "a major version" },
    { next: "0.10.0", current: "0.9.0", later: true, why: "numbers, not text" },
    { next: "0.1.0", current: "0.1.0", later: false, why: "the same" },
    { next: "0.1.0", current: "0.2.0", later: false, why: "an earlier one" },
    { next: "v1.0.0", current: "0.1.0", later: false, why: "the name of a tag" },
    { next: "1.0", current: "0.1.0", later: false, why: "no patch" },
  ])("$next after $current: $later, $why", ({ next, current, later }) => {
    expect(isLater(next, current)).toBe(later);
  });

  test("is set for the package alone, in package.json and package-lock.json", () => {
    for (const file of ["package.json", "package-lock.json"]) {
      const before = readFileSync(join(project, file), "utf8");
      const { version } = JSON.parse(before) as { version: string };
      const after = withVersion(before, version, "99.0.0");
      expect(JSON.parse(after).version).toBe("99.0.0");
      expect(after.split("99.0.0")).toHaveLength(file === "package.json" ? 2 : 3);
      expect(withVersion(after, "99.0.0", version)).toBe(before);
    }
  });
});

describe("the changelog", () => {
  test("has the unreleased changes as a version, and an empty section for the next ones", () => {
    const released = withRelease(changelog, "0.2.0", "2026-02-03");
    expect(sectionOf(released, "0.2.0")).toBe("### Added\n\n- A field.");
    expect(sectionOf(released, "Unreleased")).toBe("");
    expect(sectionOf(released, "0.1.0")).toBe("- The first version.");
    expect(released).toContain("## [0.2.0] - 2026-02-03\n");
  });

  test("of no changes is refused", () => {
    const released = withRelease(changelog, "0.2.0", "2026-02-03");
    expect(() => withRelease(released, "0.3.0", "2026-02-04")).toThrow("no unreleased changes");
  });
});

describe("script/release", () => {
  test("changes nothing in a dry run; else it makes a commit and a tag, and prints the notes of the tag", () => {
    const { git, release, read } = newRepository();
    const before = git("rev-parse", "HEAD");
    const dry = release("0.2.0", "--dry-run");
    expect(dry).toContain("0.1.0 to 0.2.0");
    expect(dry).toContain("- A field.");
    expect([git("rev-parse", "HEAD"), git("status", "--porcelain"), git("tag")]).toEqual([before, "", ""]);

    release("0.2.0");
    expect(git("log", "-1", "--format=%s")).toBe("Release 0.2.0");
    expect(git("rev-parse", "v0.2.0^{commit}")).toBe(git("rev-parse", "HEAD"));
    expect(git("status", "--porcelain")).toBe("");
    expect(JSON.parse(read("package-lock.json")).packages[""].version).toBe("0.2.0");
    // The next release is compared with this one.
    expect(read("test/fixtures/released-schema.graphql")).toBe("type Query { next: Int }\n");
    expect(release("--notes", "0.2.0")).toBe("### Added\n\n- A field.\n");
  });

  test.each([
    { args: ["0.1.0"], message: "expected a version after 0.1.0", why: "the same version" },
    {
      args: ["--notes", "0.3.0"],
      message: "package.json has the version 0.1.0",
      why: "the notes of another tag",
    },
    { args: [], message: "usage", why: "no version" },
    { args: ["0.2.0"], dirty: true, message: "not committed", why: "a change in the work tree" },
  ])("refuses $args: $why", ({ args, message, dirty = false }) => {
    const { release, write } = newRepository();
    if (dirty)
      write("package.json", `${JSON.stringify({ name: "example", version: "0.1.0", private: true })}\n`);
    expect(() => release(...args)).toThrow(message);
  });
});

function newRepository() {
  const directory = mkdtempSync(join(tmpdir(), "ql-release-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const run = (command: string, args: readonly string[]) =>
    execFileSync(command, args, {
      cwd: directory,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env.PATH,
        ...{ GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" },
        ...{
          GIT_AUTHOR_NAME: "a",
          GIT_AUTHOR_EMAIL: "a@b",
          GIT_COMMITTER_NAME: "a",
          GIT_COMMITTER_EMAIL: "a@b",
        },
      },
    });
  const git = (...args: string[]) => run("git", args).trim();
  const write = (file: string, text: string) => writeFileSync(join(directory, file), text);
  const version = { name: "example", version: "0.1.0" };
  write("CHANGELOG.md", changelog);
  write("package.json", JSON.stringify(version, null, 2));
  write(
    "package-lock.json",
    JSON.stringify({ ...version, lockfileVersion: 3, packages: { "": version } }, null, 2),
  );
  write("schema.graphql", "type Query { next: Int }\n");
  mkdirSync(join(directory, "test/fixtures"), { recursive: true });
  write("test/fixtures/released-schema.graphql", "type Query { last: Int }\n");
  mkdirSync(join(directory, "script"));
  cpSync(join(project, "script/release.ts"), join(directory, "script/release.ts"));
  git("init", "--quiet");
  git("add", "--all");
  git("commit", "--quiet", "--message", "Begin");
  return {
    git,
    write,
    read: (file: string) => readFileSync(join(directory, file), "utf8"),
    release: (...args: string[]) => run(process.execPath, ["script/release.ts", ...args]),
  };
}
