import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const project = join(import.meta.dirname, "../..");

/** ARCHITECTURE.md's table. A name that ends in `.ts` is a file of src, any other one is a room. */
const table = [
  { importer: "core", may: [], why: "the vocabulary depends on nothing" },
  { importer: "runtime", may: ["core"], why: "clocks, pauses and files know nothing of queues" },
  {
    importer: "settings",
    may: ["core", "runtime"],
    why: "how a text becomes a value does not depend on its use",
  },
  { importer: "redis", may: ["core", "runtime", "settings"], why: "a driver knows none of its users" },
  { importer: "auth", may: ["core", "runtime"], why: "who a caller is does not depend on what it asks" },
  { importer: "tracker", may: ["core", "runtime", "redis"], why: "the tracker does not know the clients" },
  {
    importer: "live",
    may: ["core", "runtime", "redis"],
    why: "the feed does not know what makes the changes",
  },
  { importer: "history", may: ["core", "runtime", "redis"], why: "history has keys of its own" },
  { importer: "health", may: ["core", "runtime"], why: "what numbers mean is pure" },
  { importer: "alerts", may: ["core", "runtime", "redis"], why: "an alert gets what it is decided by" },
  { importer: "exporters", may: ["core", "runtime"], why: "an exporter gets the reader of what it exports" },
  {
    importer: "limits",
    may: ["core", "runtime", "redis", "auth"],
    why: "how much a client may ask has nothing to do with queues",
  },
  { importer: "sources", may: ["core", "runtime", "settings"], why: "a source gets the sink for its events" },
  {
    importer: "api",
    may: ["core", "runtime", "limits", "tracker", "live"],
    why: "the schema gets what it presents",
  },
  { importer: "executor", may: ["core", "runtime"], why: "it executes any schema" },
  {
    importer: "server",
    may: ["core", "runtime", "executor"],
    why: "it gets the schema, the context and its routes",
  },
  {
    importer: "cli",
    may: ["core", "runtime", "settings", "redis", "auth", "config.ts"],
    why: "a check is handed the sources that it tries",
  },
  { importer: "recorder", may: [], why: "it runs in producers, without the server" },
  { importer: "dashboard", may: [], why: "it runs in browsers, and knows the API only" },
  {
    importer: "app.ts",
    may: [
      ...["core", "runtime", "settings", "redis", "auth", "tracker", "live", "history", "health", "alerts"],
      ...["exporters", "limits", "sources", "api", "executor", "server", "config.ts"],
    ],
    why: "one place to learn the wiring",
  },
  {
    importer: "config.ts",
    may: ["core", "runtime", "settings"],
    why: "rooms get plain options, the environment knows none of them",
  },
  {
    importer: "main.ts",
    may: ["core", "runtime", "cli", "sources", "app.ts", "config.ts"],
    why: "from the environment to an exit code",
  },
  { importer: "bin.ts", may: ["main.ts"], why: "it starts main.ts with the flags of Node.js" },
] as const;

const names = table.map(({ importer }) => importer);

const packages = [
  {
    verdict: "allows",
    file: "src/core/builtin.ts",
    specifier: "node:fs/promises",
    why: "it comes with Node",
  },
  { verdict: "forbids", file: "src/core/package.ts", specifier: "zod", why: "core imports nothing" },
  {
    verdict: "allows",
    file: "src/sources/client.ts",
    specifier: "faktory-worker",
    why: "its job system's client",
  },
  {
    verdict: "forbids",
    file: "src/api/tool.ts",
    specifier: "fast-check",
    why: "production lacks devDependencies",
  },
] as const;

let dir: string;
/** Line numbers that the linter complained about, by file. */
let complaints: Map<string, number[]>;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "ql-imports-"));
  for (const file of ["biome.json", "package.json"]) await cp(join(project, file), join(dir, file));
  for (const { importer } of table) {
    for (const file of probeFiles(importer)) await write(file, importsOfAll(importer, file));
  }
  for (const { file, specifier } of packages) await write(file, [`import "${specifier}";`]);
  complaints = await lint();
});

afterAll(() => rm(dir, { recursive: true, force: true }));

describe("the linter", () => {
  test.each(table)("lets $importer import $may and nothing else of src: $why", ({ importer, may }) => {
    for (const file of probeFiles(importer)) {
      const lines = importsOfAll(importer, file);
      const isAllowed = (line: string) => may.some((name) => line.includes(`/${name}`));
      const passed = lines.filter((_, index) => !complaints.get(file)?.includes(index + 1));
      expect(passed, file).toEqual(lines.filter(isAllowed));
    }
  });

  test.each(packages)("$verdict $specifier in $file: $why", ({ file, verdict }) => {
    expect(complaints.has(file)).toBe(verdict === "forbids");
  });
});

describe("src", () => {
  test("holds only what the table knows", async () => {
    expect(names).toEqual(expect.arrayContaining(await readdir(join(project, "src"))));
  });

  test("has no specifier that goes around the table, such as ../core/../redis/keys.ts", async () => {
    const detour = /["']\.\/\.\.|["']\.[^"'\s]*\w\/\.\.\//;
    expect("../core/../redis/keys.ts".replace(/^/, '"')).toMatch(detour);
    for (const file of await sources("")) expect(await read(file), file).not.toMatch(detour);
  });
});

describe("the api", () => {
  test.each([
    ['import type { Tracker } from "../tracker/tracker.ts";', true, "erased before it runs"],
    ['type Tracker = import("../tracker/tracker.ts").Tracker;', true, "a type, too"],
    ['import { createFeed } from "../live/feed.ts";', false, "a value"],
    ['import { type Feed } from "../live/feed.ts";', false, "erasing leaves an import that runs the module"],
    ['export { createFeed } from "../../live/feed.ts";', false, "a value, from a sub-folder"],
    ['await import("../tracker/tracker.ts");', false, "a value at run time"],
  ])("of %s: types only is %s, %s", (code, typesOnly) => {
    expect(takesOnlyTypes(code)).toBe(typesOnly);
  });

  test("takes only types from the rooms it presents", async () => {
    for (const file of await sources("api")) expect(takesOnlyTypes(await read(file)), file).toBe(true);
  });
});

/** True when nothing of tracker or live is left once the types are gone: Biome cannot distinguish the two. */
function takesOnlyTypes(code: string): boolean {
  return !/["'](\.\.\/)+(tracker|live)\//.test(stripTypeScriptTypes(code));
}

/** Where code of an importer may stand: a room may have sub-folders. */
function probeFiles(importer: string): readonly string[] {
  return importer.endsWith(".ts")
    ? [`src/${importer}`]
    : [`src/${importer}/probe.ts`, `src/${importer}/sub/probe.ts`];
}

/** Everything else of src, imported in every way there is, one import a line. */
function importsOfAll(importer: string, file: string): readonly string[] {
  const up = ["./", "../", "../../"][file.split("/").length - 2];
  return names
    .filter((name) => name !== importer)
    .map((name) => `${up}${name}${name.endsWith(".ts") ? "" : "/probe.ts"}`)
    .flatMap((specifier) => [
      `import { a } from "${specifier}";`,
      `import type { B } from "${specifier}";`,
      `export { c } from "${specifier}";`,
      `export const d = await import("${specifier}");`,
    ]);
}

async function write(file: string, lines: readonly string[]): Promise<void> {
  await mkdir(dirname(join(dir, file)), { recursive: true });
  await writeFile(join(dir, file), lines.join("\n"));
}

async function lint(): Promise<Map<string, number[]>> {
  const only = ["--only=style/noRestrictedImports", "--only=correctness/noUndeclaredDependencies"];
  const args = ["lint", "--reporter=json", "--max-diagnostics=none", ...only, "src"];
  const output = await new Promise<string>((resolve) => {
    // It ends with an error when it has found something, as it should here.
    execFile(join(project, "node_modules/.bin/biome"), args, { cwd: dir, maxBuffer: 2 ** 26 }, (_, stdout) =>
      resolve(stdout),
    );
  });
  const found = new Map<string, number[]>();
  const report = JSON.parse(output) as {
    diagnostics: { location: { path: string; start: { line: number } } }[];
  };
  for (const { path, start } of report.diagnostics.map(({ location }) => location)) {
    found.set(path, [...(found.get(path) ?? []), start.line]);
  }
  return found;
}

async function sources(room: string): Promise<readonly string[]> {
  const files = await readdir(join(project, "src", room), { recursive: true });
  return files.filter((file) => file.endsWith(".ts")).map((file) => join("src", room, file));
}

function read(file: string): Promise<string> {
  return readFile(join(project, file), "utf8");
}
