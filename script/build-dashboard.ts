// `npm run build`: bundles src/dashboard for browsers into dist/dashboard, unless what is there was made of the same sources.
import { createHash } from "node:crypto";
import { globSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

const project = join(import.meta.dirname, "..");
const sources = join(project, "src/dashboard");
/** The server reads what is here: index.html, documents.json, and in assets/ files whose names have a hash. */
const output = join(project, "dist/dashboard");

/**
 * Bundles the dashboard, which takes a few tenths of a second; nothing when the bundle is of the same sources already. Several processes
 * may do so at once.
 *
 * @returns what was done; `impossible` when the bundle is missing or stale and esbuild is not installed, as without devDependencies.
 */
export async function buildDashboard(): Promise<"built" | "fresh" | "impossible"> {
  const hash = await sourceHash();
  if ((await readFile(join(output, "sources"), "utf8").catch(() => "")) === hash) return "fresh";
  const esbuild = await import("esbuild").catch(() => null);
  if (esbuild === null) return "impossible";

  const { outputFiles } = await esbuild.build({
    entryPoints: { main: join(sources, "main.tsx"), styles: join(sources, "styles/main.css") },
    outdir: join(output, "assets"),
    entryNames: "[name]-[hash]",
    loader: { ".svg": "dataurl" },
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: ["es2023"],
    jsx: "automatic",
    jsxImportSource: "preact",
    legalComments: "none",
    // All that esbuild would take from a tsconfig.json is here.
    tsconfigRaw: {},
    logLevel: "warning",
  });
  const files = outputFiles.map(({ path, contents }) => ({ name: basename(path), contents }));
  const icon = encodeURIComponent(await readFile(join(sources, "icon.svg"), "utf8"));
  let page = await readFile(join(sources, "index.html"), "utf8");
  page = page.replace("%icon%", `data:image/svg+xml,${icon}`);
  for (const { name } of files) page = page.replace(`%${name.replace(/-\w+(?=\.)/, "")}%`, name);

  await mkdir(join(output, "assets"), { recursive: true });
  for (const { name, contents } of files) await writeWhole(join(output, "assets", name), contents);
  await writeWhole(join(output, "documents.json"), JSON.stringify(await documentsOf()));
  await writeWhole(join(output, "index.html"), page);
  // Last: it says that the others are there.
  await writeWhole(join(output, "sources"), hash);
  const current = new Set(files.map(({ name }) => name));
  for (const name of await readdir(join(output, "assets"))) {
    if (!current.has(name)) await rm(join(output, "assets", name), { force: true });
  }
  return "built";
}

/** What the page sends: a server that runs trusted documents only runs these, too. */
async function documentsOf(): Promise<readonly string[]> {
  const all: Readonly<Record<string, unknown>> = await import("../src/dashboard/graphql/documents.ts");
  return Object.values(all).filter((document) => typeof document === "string");
}

/** Of all that the bundle is made of: the sources, this script, and the versions of the packages. */
async function sourceHash(): Promise<string> {
  const hash = createHash("sha256");
  const files = globSync("src/dashboard/**/*.*", { cwd: project }).toSorted();
  for (const file of [...files, "script/build-dashboard.ts", "package-lock.json"]) {
    hash.update(`${file}\n`).update(await readFile(join(project, file)));
  }
  return hash.digest("hex");
}

/** A reader finds the old file or the new one, and never a part. */
async function writeWhole(path: string, contents: string | Uint8Array): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}`);
  await writeFile(temporary, contents);
  await rename(temporary, path);
}

if (import.meta.main) {
  // Not an error: the server runs without.
  if ((await buildDashboard()) === "impossible") {
    console.error(
      "The dashboard is not built: esbuild is not installed. Run npm ci with devDependencies, then npm run build.",
    );
  }
}
