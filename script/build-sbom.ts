// Lists what the published package has in it, as CycloneDX, in lib/sbom.cdx.json. script/build-package.ts runs this.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const project = join(import.meta.dirname, "..");

/** Packages for development whose code esbuild copies into the dashboard's bundle. */
const inDashboard = ["preact", "@preact/signals", "@preact/signals-core"];
/** script/build-package.ts leaves out the first; the others are what it needs. */
const leftOut = ["unix-dgram", "bindings", "file-uri-to-path", "nan"];

interface Entry {
  readonly dev?: boolean;
  readonly inBundle?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/**
 * Asks `npm sbom` about a copy of the lock file that has just these packages. Of the project itself npm refuses to: it wants a bundled
 * dependency, such as graphql, in the version that package.json overrides. And with --omit=dev it would leave out each package that
 * one for development needs, too.
 */
export async function buildSbom(): Promise<void> {
  const { devDependencies, bundleDependencies, scripts, ...manifest } = await read("package.json");
  const lock = await read("package-lock.json");
  const dependencies = { ...manifest.dependencies };
  for (const name of inDashboard) dependencies[name] = devDependencies[name] ?? "*";
  const root = { ...manifest, dependencies };

  const packages: Record<string, unknown> = { "": root };
  for (const [path, entry] of Object.entries(lock.packages as Record<string, Entry>)) {
    const { dev = false, inBundle, optionalDependencies = {}, ...rest } = entry;
    const name = path.replace(/^node_modules\//, "");
    if (path !== "" && (!dev || inDashboard.includes(name)) && !leftOut.includes(name)) {
      const optional = Object.entries(optionalDependencies).filter(([other]) => !leftOut.includes(other));
      packages[path] = { ...rest, optionalDependencies: Object.fromEntries(optional) };
    }
  }

  const directory = await mkdtemp(join(tmpdir(), "ql-sbom-"));
  // npm names the package after its directory.
  const copy = join(directory, manifest.name);
  try {
    await mkdir(copy);
    await writeFile(join(copy, "package.json"), JSON.stringify(root));
    await writeFile(join(copy, "package-lock.json"), JSON.stringify({ ...lock, packages }));
    const { stdout } = await promisify(execFile)(
      "npm",
      ["sbom", "--package-lock-only", "--sbom-format=cyclonedx", "--sbom-type=application"],
      { cwd: copy, env: environment(), maxBuffer: 64 * 1024 * 1024 },
    );
    await writeFile(join(project, "lib/sbom.cdx.json"), stdout);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function read(file: string) {
  return JSON.parse(await readFile(join(project, file), "utf8"));
}

/** Without what `npm pack` has set for the project. */
function environment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env);
  return Object.fromEntries(
    entries.filter(([name]) => !/^npm_(package|lifecycle|config_local_prefix|command)|^INIT_CWD$/.test(name)),
  );
}
