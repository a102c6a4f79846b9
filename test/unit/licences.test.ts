import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { project } from "../support/pages.ts";

/** Of what the MIT License of this project may be distributed with. None of them asks that the whole has its own terms. */
const compatible: Readonly<Record<string, string>> = {
  MIT: "our own",
  ISC: "as MIT, in fewer words",
  "0BSD": "asks for nothing",
  "BSD-2-Clause": "asks for its text",
  "BSD-3-Clause": "asks for its text, and that its authors do not advertise us",
  "Apache-2.0": "asks for its text, and for a NOTICE where there is one",
  "BlueOak-1.0.0": "asks for its text",
  Unlicense: "public domain",
  "CC0-1.0": "public domain",
};

/** Packages for development whose code esbuild copies into the dashboard's bundle. */
const bundled = ["preact", "@preact/signals", "@preact/signals-core"].map((name) => `node_modules/${name}`);

interface Locked {
  readonly dev?: boolean;
  readonly license?: string;
  readonly hasInstallScript?: boolean;
}

const read = (file: string) => JSON.parse(readFileSync(join(project, file), "utf8"));
const locked = Object.entries(read("package-lock.json").packages as Readonly<Record<string, Locked>>);
const production = locked.filter(
  ([path, { dev = false }]) => path !== "" && (!dev || bundled.includes(path)),
);

/** SPDX: of `A OR B` we take one, of `A AND B` both count. */
function isCompatible(licence: string): boolean {
  const text = licence.replace(/^\((.*)\)$/, "$1");
  if (text.includes(" OR ")) return text.split(" OR ").some(isCompatible);
  if (text.includes(" AND ")) return text.split(" AND ").every(isCompatible);
  return Object.hasOwn(compatible, text);
}

/** Old manifests have an object. */
function licenceOf({ license }: { readonly license?: string | { readonly type: string } }): string {
  return typeof license === "object" ? license.type : (license ?? "none");
}

test.each([
  ["MIT", true],
  ["(MIT OR GPL-3.0-only)", true],
  ["MIT AND ISC", true],
  ["MIT AND GPL-3.0-only", false],
  ["AGPL-3.0-only", false],
  ["SEE LICENSE IN LICENSE.md", false],
  ["UNLICENSED", false],
  ["none", false],
])("%s is compatible: %s", (licence, expected) => {
  expect(isCompatible(licence)).toBe(expected);
});

describe("packages of production", () => {
  const byLicence = Map.groupBy(production, ([, { license = "none" }]) => license);

  test.each([...byLicence].map(([licence, packages]) => ({ licence, packages })))(
    "under $licence may be distributed with ours",
    ({ licence, packages }) => {
      const names = packages.map(([path]) => path.replace(/^.*node_modules\//, ""));
      expect(isCompatible(licence), names.join(", ")).toBe(true);
    },
  );

  test("have the licence that the lock file says", () => {
    // Those for other platforms are not installed.
    const installed = production.filter(([path]) => existsSync(join(project, path, "package.json")));
    expect(installed.length).toBeGreaterThan(100);
    for (const [path, { license = "none" }] of installed)
      expect(licenceOf(read(`${path}/package.json`)), path).toBe(license);
  });

  test("include each that the dashboard's bundle copies", () => {
    expect(production.map(([path]) => path)).toEqual(expect.arrayContaining(bundled));
  });

  test("run no script when they are installed", () => {
    const allowed = read("package.json").allowScripts as Readonly<Record<string, boolean>>;
    const scripted = production.filter(([, { hasInstallScript = false }]) => hasInstallScript);
    const names = scripted.map(([path]) => path.replace(/^.*node_modules\//, ""));
    expect(names.filter((name) => allowed[name] !== false)).toEqual([]);
  });
});
