import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { errorStatus } from "../../src/core/errors.ts";
import { createQueueMetrics } from "../../src/exporters/queue-series.ts";
import { listSettings } from "../../src/settings/settings.ts";
import {
  intervalSetting,
  polledKindNames,
  sourceKindNames,
  urlSetting,
} from "../../src/settings/source-kinds.ts";
import { blocks, pages, project } from "../support/pages.ts";

/** Why a block is not run by e2e/docs: the only words that `<!-- not run: WORD -->` may have. */
const reasonsNotToRun: Readonly<Record<string, string>> = {
  bench: "takes an hour on an idle machine",
  cluster: "needs a Redis Cluster: e2e/cluster starts servers on one",
  docker: "needs a Docker engine: e2e/image builds and runs the image with Podman",
  itself: "would run this test once more",
  package: "e2e/published-package installs the package and runs it",
  release: "publishes: unit/release runs the script on a repository of its own",
  rabbitmq: "needs a RabbitMQ as a service: redis/rabbitmq-source makes such a user by the management API",
  postgres: "needs the tables of job systems: redis/postgres-systems grants by it",
  teams: "needs Alertmanager 0.28, and Debian's is older",
  kubernetes: "needs a cluster: e2e/deployment checks the manifests by the code of Kustomize and Kubernetes",
  systemd: "needs systemd: e2e/deployment checks the unit with systemd-analyze",
  nginx: "needs nginx: the transports behind a proxy are tested by e2e/graphiql and e2e/transports",
};

const page = (file: string) => {
  const found = pages.find((one) => one.file === file);
  if (found === undefined) throw new Error(`there is no ${file}`);
  return found;
};

describe("links", () => {
  test("of every page lead to a file, and to a heading that is there", () => {
    const broken = pages.flatMap(({ file, links }) =>
      links
        .filter(({ to, anchor }) => {
          if (!existsSync(join(project, to))) return true;
          return anchor !== null && to.endsWith(".md") && !page(to).anchors.has(anchor);
        })
        .map(({ to, anchor }) => `${file}: ${to}${anchor === null ? "" : `#${anchor}`}`),
    );
    expect(broken).toEqual([]);
  });

  test("lead from README.md to every page of docs, at most by one page between", () => {
    const direct = new Set(page("README.md").links.map(({ to }) => to));
    const reached = new Set(
      [...direct].flatMap((to) => pages.find(({ file }) => file === to)?.links ?? []).map(({ to }) => to),
    );
    const docs = pages.map(({ file }) => file).filter((file) => file.startsWith("docs/"));
    expect(docs.filter((file) => !direct.has(file) && !reached.has(file))).toEqual([]);
  });
});

describe("pages", () => {
  test.each([
    ["README.md", 200],
    ["ARCHITECTURE.md", 250],
  ])("%s has at most %i lines", (file, max) => {
    expect(page(file).text.split("\n").length - 1).toBeLessThanOrEqual(max);
  });

  test("of decisions have a context, a decision and consequences, and a line in their list", () => {
    const decisions = pages.filter(({ file }) => /^docs\/decisions\/\d{4}-/.test(file));
    expect(decisions.length).toBeGreaterThan(20);
    const listed = page("docs/decisions/README.md").links.map(({ to }) => to);
    expect(listed).toEqual(decisions.map(({ file }) => file));
    for (const { file, text, anchors } of decisions) {
      expect([...anchors].slice(1), file).toEqual(["context", "decision", "consequences"]);
      expect(text, file).toMatch(
        new RegExp(`^# ${Number(file.slice("docs/decisions/".length).slice(0, 4))}\\. `),
      );
    }
  });

  test("name files of src that are there", () => {
    const rooms = readdirSync(join(project, "src"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
    const path = new RegExp(`(?<![\\w/])(?:src/)?(?:${rooms.join("|")})/[\\w/-]+\\.(?:ts|lua)\\b`, "g");
    const known = pages.filter(({ file }) => file !== "CHANGELOG.md" && !file.startsWith("bench/"));
    const gone = known.flatMap(({ file, text }) =>
      [...text.matchAll(path)]
        .map(([name]) => name)
        .filter((name) => name !== "src/sources/example.ts")
        .filter((name) => !existsSync(join(project, "src", name.replace(/^src\//, ""))))
        .map((name) => `${file}: ${name}`),
    );
    expect(gone).toEqual([]);
  });
});

test("commands that pages name are there", () => {
  const { scripts } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as {
    readonly scripts: Readonly<Record<string, string>>;
  };
  const current = pages.filter(({ file }) => file !== "CHANGELOG.md");
  const named = current.flatMap(({ file, text }) =>
    [
      ...text.matchAll(
        /\bnpm (?:run )?(start|test|[\w:]+(?<=npm run [\w:]+))|\b((?:script|bench)\/[\w./-]*\w)/g,
      ),
    ].map(([whole, script, path]) => ({ file, whole, script, path })),
  );
  const gone = named.filter(({ script, path }) =>
    script === undefined ? !existsSync(join(project, path ?? "")) : scripts[script] === undefined,
  );
  expect(named.length).toBeGreaterThan(50);
  expect(gone.map(({ file, whole }) => `${file}: ${whole}`)).toEqual([]);
});

describe("promises", () => {
  test.each(["docs/promises.md", "SECURITY.md"])("of %s have a test each, that is there", (file) => {
    const rows = page(file)
      .text.split("\n")
      .filter((line) => /^\| (?!promise|---)/.test(line));
    expect(rows.length).toBeGreaterThan(30);
    const missing = rows.filter((row) => {
      const tests = [...(row.split("|").at(-2) ?? "").matchAll(/\b(unit|redis|e2e|cluster|slow)\/[\w-]+/g)];
      const isThere = ([name]: RegExpMatchArray) => existsSync(join(project, "test", `${name}.test.ts`));
      return !/project `cluster`/.test(row) && (tests.length === 0 || !tests.every(isThere));
    });
    expect(missing).toEqual([]);
  });
});

test("messages that docs/troubleshooting.md quotes are in the code", () => {
  const files = readdirSync(join(project, "src"), { recursive: true }).map(String);
  const code = files
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(join(project, "src", file), "utf8"))
    .join("\n")
    .replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const symptoms = page("docs/troubleshooting.md")
    .text.split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.split(" | ")[0] ?? "");
  const quotes = symptoms.flatMap((symptom) =>
    [...symptom.matchAll(/`([^`]*)`/g)].map(([, quote = ""]) => quote),
  );
  expect(quotes.length).toBeGreaterThan(25);
  const parts = quotes.flatMap((quote) => quote.split("…").map((part) => part.trim()));
  expect(parts.filter((part) => !code.includes(part))).toEqual([]);
});

describe("tables", () => {
  const rowsOf = (file: string) =>
    page(file)
      .text.split("\n")
      .filter((line) => line.startsWith("| "))
      .map((line) => line.slice(2, -2).split(" | "));
  const namesIn = (cell = "") => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);

  test("of docs/configuration.md have every setting with its default", () => {
    const declared = readFileSync(join(project, "src/settings/settings.ts"), "utf8");
    const settings = [
      ...declared.matchAll(/^ {2}([A-Z_]+): (?:(?:whole|duration)\("?([\w]+)"?)?/gm),
      ...sourceKindNames.map((kind) => [kind, urlSetting(kind)]),
      ...polledKindNames.map((kind) => [kind, intervalSetting(kind), "1s"]),
    ];
    const defaults = new Map(
      rowsOf("docs/configuration.md").flatMap(([names, values = ""]) =>
        namesIn(names).map((name, index) => [name, values.split(", ")[index] ?? values] as const),
      ),
    );
    expect(settings.length).toBeGreaterThan(40);
    expect([...defaults.keys()].toSorted()).toEqual(settings.map(([, name]) => name).toSorted());
    for (const [, name = "", value] of settings) {
      if (value !== undefined) expect(defaults.get(name), name).toBe(value.replaceAll("_", ""));
    }
  });

  test("of docs/opentelemetry.md have every variable that is read", () => {
    const variables = listSettings().flatMap(({ name }) => (name.startsWith("OTEL_") ? [name] : []));
    expect(variables.length).toBeGreaterThan(10);
    const named = rowsOf("docs/opentelemetry.md").flatMap(([cell]) => namesIn(cell));
    expect(named).toEqual(expect.arrayContaining(variables));
  });

  test("of docs/opentelemetry.md have every metric of a queue", () => {
    const metrics = createQueueMetrics(() => null).map(({ otelName }) => otelName);
    expect(metrics.length).toBeGreaterThan(8);
    const named = rowsOf("docs/opentelemetry.md").flatMap(([cell]) => namesIn(cell));
    expect(named).toEqual(expect.arrayContaining(metrics));
  });

  test("of docs/errors.md have every code with its status", () => {
    const documented = rowsOf("docs/errors.md").flatMap(([codes, statuses = ""]) =>
      namesIn(codes).map((code, index) => [code, Number(statuses.split(", ")[index] ?? statuses)] as const),
    );
    expect(Object.fromEntries(documented)).toMatchObject(errorStatus);
  });

  test("of docs/operations.md have every alert of docs/prometheus-rules.yml", () => {
    const rules = readFileSync(join(project, "docs/prometheus-rules.yml"), "utf8");
    const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name);
    const named = rowsOf("docs/operations.md").flatMap(([cell]) => namesIn(cell));
    expect(named).toEqual(expect.arrayContaining(alerts));
  });

  test("of docs/metrics.md have every series of a queue", () => {
    const code = readFileSync(join(project, "src/exporters/queue-series.ts"), "utf8");
    const series = [...code.matchAll(/"(queue_[a-z_]+)"/g)].map(([, name = ""]) => name);
    expect(series.length).toBeGreaterThan(8);
    const named = rowsOf("docs/metrics.md").flatMap(([cell]) =>
      namesIn(cell).map((name) => name.replace(/\{.*/, "")),
    );
    expect(named).toEqual(expect.arrayContaining(series));
  });
});

describe("blocks", () => {
  test("that are not run say why, with a reason that is known, and each reason is needed", () => {
    const words = blocks.flatMap(({ notRun }) => (notRun === null ? [] : [notRun]));
    expect([...new Set(words)].sort()).toEqual(Object.keys(reasonsNotToRun).sort());
  });

  test("are of a language that e2e/docs knows how to run", () => {
    const known = new Set(["sh", "graphql", "json", "yaml", "js", "ts", "promql", "conf", "text"]);
    const others = blocks.filter(({ language, notRun }) => notRun === null && !known.has(language));
    expect(others.map(({ at, language }) => `${at} ${language}`)).toEqual([]);
  });
});
