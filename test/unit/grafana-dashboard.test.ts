import { execFile } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { dashboard, dashboardExpressions, dashboardText } from "../support/grafana-dashboard.ts";
import { project } from "../support/pages.ts";

/**
 * Grafana generates its TypeScript from its schema. JSON has the values of its enums, not their members. The data source of
 * Prometheus reads the formats of an annotation from beside the target.
 */
const types = `
import type { AnnotationQuery, Dashboard } from "@grafana/schema";
type Json<T> = T extends string ? \`\${T}\` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
type PrometheusAnnotation = Omit<AnnotationQuery, "target"> & {
  titleFormat?: string;
  textFormat?: string;
  target: { refId: string; expr: string };
};
export const dashboard: Json<Omit<Dashboard, "annotations"> & { annotations: { list: PrometheusAnnotation[] } }> =`;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "ql-grafana-"));
  await symlink(join(project, "node_modules"), join(directory, "node_modules"));
  await writeFile(join(directory, "package.json"), '{ "type": "module" }');
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** What the compiler says of dashboards, by the names of their files; "" of all that are right. */
async function compilerSays(texts: Readonly<Record<string, string>>): Promise<string> {
  const files = Object.keys(texts).map((name) => join(directory, `${name}.ts`));
  for (const [name, text] of Object.entries(texts))
    await writeFile(join(directory, `${name}.ts`), `${types} ${text};\n`);
  const options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2024", "--module", "nodenext"];
  return promisify(execFile)(join(project, "node_modules/.bin/tsc"), [...options, ...files], {
    cwd: directory,
  }).then(
    ({ stdout }) => stdout,
    ({ stdout }: { readonly stdout: string }) => stdout,
  );
}

describe("the dashboard for Grafana", () => {
  it("is one by Grafana's own schema, which refuses others", async () => {
    const said = await compilerSays({
      ours: dashboardText,
      misspelt: dashboardText.replaceAll('"gridPos"', '"gridPosition"'),
      mistyped: dashboardText.replace('"graphTooltip": 1', '"graphTooltip": "shared"'),
      unknown: dashboardText.replace('"mode": "absolute"', '"mode": "relative"'),
    });
    const refused = [...said.matchAll(/^(\w+)\.ts\(/gm)].map(([, name]) => name);
    expect([...new Set(refused)].toSorted(), said).toEqual(["misspelt", "mistyped", "unknown"]);
  });

  it("has ids of its own for each panel, and panels beside each other in 24 columns", () => {
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)}:${y + Math.floor(i / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(panels.every(({ gridPos: { x, w } }) => x + w <= 24)).toBe(true);
  });

  it("uses each of its variables, and no other", () => {
    const names = dashboard.templating.list.map(({ name }) => name);
    expect(names).toEqual(["datasource", "source", "queue"]);
    const used = [...dashboardText.matchAll(/\$\{?(\w+)/g)].map(([, name = ""]) => name);
    const grafanas = ["__rate_interval", "__all"];
    expect([...new Set(used)].filter((name) => !grafanas.includes(name)).toSorted()).toEqual(
      names.toSorted(),
    );
  });
});

test("its expressions have no variable left, once Grafana has put their values in", () => {
  const expressions = dashboardExpressions("mail");
  expect(expressions.length).toBeGreaterThan(20);
  expect(expressions.filter((expression) => expression.includes("$"))).toEqual([]);
});
