import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { access, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import config from "../../vitest.config.ts";
import { pages } from "../support/pages.ts";

const project = join(import.meta.dirname, "../..");

const read = (file: string): Promise<string> => readFile(join(project, file), "utf8");
const readJson = async (file: string): Promise<unknown> => JSON.parse(await read(file));

interface Workflow {
  readonly jobs: Readonly<Record<string, { readonly needs?: string; readonly steps: readonly Step[] }>>;
}

interface Step {
  readonly run?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}

interface Lock {
  readonly packages: Record<
    string,
    { readonly version: string; readonly optionalDependencies?: Record<string, string> }
  >;
}

describe("the package", () => {
  test.each([
    ["src", "what runs"],
    ["test", "what proves it"],
    ["script", "what people and CI call"],
    ["bench", "what it is measured with"],
    ["schema.graphql", "the contract, for clients and reviewers"],
    ["package.json", "npm's"],
    ["package-lock.json", "the exact versions"],
    ["tsconfig.json", "the compiler's"],
    ["Dockerfile", "for operators"],
    ["compose.yaml", "the server with its Redis"],
    ["deploy/kubernetes", "for kubectl apply -k"],
    ["deploy/systemd", "for servers without containers"],
    ["README.md", "where to begin"],
    ["docs/operations.md", "for those who run it"],
    ["docs/troubleshooting.md", "from a symptom to its remedy"],
    ["docs/promises.md", "what holds, and which test says so"],
    ["docs/decisions", "why it is as it is"],
    ["ARCHITECTURE.md", "where to begin changing it"],
    ["SECURITY.md", "threats and defences"],
    ["CHANGELOG.md", "what an update brings"],
    ["CONTRIBUTING.md", "how to change it"],
    [".github/CODEOWNERS", "who reviews what"],
    [".github/PULL_REQUEST_TEMPLATE.md", "what a change must say"],
    ["LICENSE", "MIT"],
    [".ci/run", "what CI calls"],
  ])("has %s: %s", async (file) => {
    await expect(access(join(project, file))).resolves.toBeUndefined();
  });

  test("says which Node it runs on, brings it for development, and stands on it in its image", async () => {
    const { engines, devDependencies, allowScripts } = (await readJson("package.json")) as Record<
      string,
      object
    >;
    const brought = /^\^(\d+)\./.exec((devDependencies as { node: string }).node)?.[1];
    expect(brought).toBe(process.versions.node.split(".")[0]);
    // The published package is JavaScript, and runs on an older one, too: e2e/published-package starts it there.
    expect(engines).toEqual({ node: ">=22.15" });
    for (const { file, text } of pages)
      for (const [, version] of text.matchAll(/Node\.js (\d+\.\d+)/g)) expect(version, file).toBe("22.15");
    expect(await read("Dockerfile")).toContain(`FROM node:${brought}-`);
    expect(await read(".nvmrc")).toBe(`${brought}\n`);
    // npm only runs the install scripts that are listed, and it is by one that this Node comes.
    expect(allowScripts).toHaveProperty("node", true);
  });
});

test("pins the packages of docs/decisions/0025-pinned-packages.md, and no others", async () => {
  const { dependencies, devDependencies, overrides } = (await readJson("package.json")) as Record<
    string,
    Record<string, string>
  >;
  const ranges = { ...dependencies, ...devDependencies, ...overrides };
  const isPinned = (range: string) => !/^(npm:[^@]+@)?\^|^\$/.test(range);
  const pinned = Object.keys(ranges).filter((name) => isPinned(ranges[name] ?? ""));
  const page = await read("docs/decisions/0025-pinned-packages.md");
  const explained = [...page.matchAll(/^\| `([^`]+)` \| [^|]+ \| [^|]{40,} \|$/gm)].map(([, name]) => name);
  expect(pinned.toSorted()).toEqual(explained.toSorted());
});

test("has each package of OpenTelemetry once, as its exporters ask for exact versions of the SDK", async () => {
  const { packages } = (await readJson("package-lock.json")) as Lock;
  const paths = Object.keys(packages).filter((path) => /\/@opentelemetry\/[^/]+$/.test(path));
  expect(paths).toContain("node_modules/@opentelemetry/sdk-metrics");
  expect(paths.filter((path) => path.lastIndexOf("node_modules/") > 0)).toEqual([]);
});

describe("GitHub's files", () => {
  const files = globSync(".github/**/*.yml", { cwd: project });
  test.each(files)("%s is YAML with a name or links", async (file) => {
    const content = parse(await read(file));
    expect(content).toHaveProperty(file.endsWith("config.yml") ? "contact_links" : "name");
  });

  test("call the scripts that people call, in every workflow before anything is published", async () => {
    for (const file of files.filter((name) => name.includes("workflows"))) {
      const { jobs } = parse(await read(file)) as Workflow;
      const commands = jobs.test?.steps.flatMap(({ run = [] }) => run);
      expect(commands, file).toEqual([".ci/run"]);
      const isAfterTests = (name = ""): boolean =>
        name === "test" || (name in jobs && isAfterTests(jobs[name]?.needs));
      for (const name of Object.keys(jobs)) expect(isAfterTests(name), `${file} ${name}`).toBe(true);
    }
  });

  test("publish the package and the image with the version in package.json, which the tag v1.2.3 names 1.2.3", async () => {
    const { jobs } = parse(await read(".github/workflows/release.yml")) as Workflow;
    const commands = (job: string) => jobs[job]!.steps.flatMap(({ run = [] }) => run);
    expect(commands("package")).toEqual([
      expect.stringMatching(/^script\/release --notes "\$\{GITHUB_REF_NAME#v\}"$/),
      "npm ci",
      "npm publish --provenance",
    ]);
    expect(jobs.package).toMatchObject({ permissions: { contents: "read", "id-token": "write" } });

    const [setVersion = ""] = commands("image");
    const environment = join(await mkdtemp(join(tmpdir(), "ql-workflow-")), "env");
    onTestFinished(() => rm(join(environment, ".."), { recursive: true }));
    const env = { ...process.env, GITHUB_REF_NAME: "v1.2.3", GITHUB_ENV: environment };
    await promisify(execFile)("bash", ["-c", setVersion], { env });
    const [, version = ""] = /^VERSION=(.*)\n$/.exec(await readFile(environment, "utf8")) ?? [];
    const { with: settings } = jobs.image!.steps.find(({ uses }) => uses?.startsWith("docker/build-push"))!;
    const values: Readonly<Record<string, string>> = { "env.VERSION": version, "github.repository": "us/it" };
    const filled = (text: unknown) =>
      String(text).replace(/\$\{\{ (\S+) \}\}/g, (_, name) => values[name] ?? "");
    expect(filled(settings?.["build-args"])).toBe("VERSION=1.2.3");
    expect(filled(settings?.tags)).toBe("ghcr.io/us/it:1.2.3\nghcr.io/us/it:latest\n");
    expect(await read("docs/kubernetes.md")).toMatch(/ newTag: \d+\.\d+\.\d+ /);
  });

  test("name the repository of package.json", async () => {
    const { repository, homepage, bugs } = (await readJson("package.json")) as {
      repository: { url: string };
      homepage: string;
      bugs: string;
    };
    const url = repository.url.replace(/^git\+|\.git$/g, "");
    expect([homepage, bugs]).toEqual([`${url}#readme`, `${url}/issues`]);
    const named = await Promise.all([".github/ISSUE_TEMPLATE/config.yml", "SECURITY.md"].map(read));
    for (const text of named) expect(text).toContain(`${url}/security/advisories/new`);
  });
});

test("gives Node the same flags wherever the server is started", async () => {
  const { scripts } = (await readJson("package.json")) as { scripts: { start: string } };
  const args = scripts.start.replace("exec node ", "");
  expect(args).toMatch(/^--max-semi-space-size=\d+ --heap-growing-percent=\d+ src\/main\.ts$/);
  const inImage = ["tini", "--", "node", ...args.replace("src/main.ts", "lib/main.js").split(" ")];
  expect(await read("Dockerfile")).toContain(`ENTRYPOINT ${JSON.stringify(inImage).replaceAll(",", ", ")}`);
  expect(await read("script/server")).toContain(`exec node_modules/.bin/node ${args} "$@"\n`);
  const flags = args.replace(" src/main.ts", "").split(" ");
  const bin = await read("src/bin.ts");
  expect(bin).toContain(`const flags = ${JSON.stringify(flags).replaceAll(",", ", ")};`);
  // BusyBox, in Alpine's images, has an `env` that takes a program and nothing else.
  expect(bin).toMatch(/^#!\/usr\/bin\/env node\n/);
});

describe.each(["", "bench/"])("%spackage-lock.json", (directory) => {
  test("names no registry, so that each user's own is used", async () => {
    const lock = await read(`${directory}package-lock.json`);
    expect(lock).not.toContain('"resolved"');
    expect(await read(`${directory}.npmrc`)).toContain("omit-lockfile-registry-resolved=true");
  });

  test("knows the packages of every platform, which `npm ci` asks for", async () => {
    const { packages } = (await readJson(`${directory}package-lock.json`)) as Lock;
    for (const [path, { optionalDependencies }] of Object.entries(packages)) {
      for (const name of Object.keys(optionalDependencies ?? {})) {
        const places = [`${path}/node_modules/${name}`, `node_modules/${name}`];
        expect(
          places.some((place) => packages[place]?.version !== undefined),
          `${name}, for ${path}`,
        ).toBe(true);
      }
    }
  });
});

test("no script, image or setting names a package registry", async () => {
  const scripts = (await readdir(join(project, "script"))).map((file) => `script/${file}`);
  const others = [".ci/run", "Dockerfile", "compose.yaml"];
  for (const directory of ["", "bench/"]) others.push(`${directory}.npmrc`, `${directory}package.json`);
  for (const file of [...scripts, ...others]) {
    expect(await read(file), file).not.toMatch(/--registry|registry *=|registry\.\w|GOPROXY *=/);
  }
});

test("vitest's projects have each test file in one of them, and name none that is gone", () => {
  const projects = (config.test?.projects ?? []) as readonly {
    readonly test: { readonly name: string; readonly include: string[]; readonly exclude?: string[] };
  }[];
  expect(projects.map(({ test: { name } }) => name)).toEqual(["unit", "redis", "e2e", "slow", "cluster"]);
  const files = projects
    .filter(({ test: { name } }) => name !== "cluster")
    .flatMap(({ test: { include, exclude = [] } }) => globSync(include, { cwd: project, exclude }));
  expect(files.toSorted()).toEqual(
    globSync("test/{unit,redis,e2e}/**/*.test.ts", { cwd: project }).toSorted(),
  );
  for (const pattern of projects.flatMap(({ test: { include } }) => include)) {
    const names = /\{(.*)\}/.exec(pattern)?.[1]?.split(",") ?? [];
    const found = globSync(pattern, { cwd: project });
    if (names.length > 0) expect(found, pattern).toHaveLength(names.length);
  }
});
