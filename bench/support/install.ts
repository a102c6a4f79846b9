import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const directory = join(import.meta.dirname, "..");

/** Brings the peers and the load tools, as the lock file of `bench` has them, unless they are there. */
export async function installPeers(): Promise<void> {
  if (await areInstalled()) return;
  process.stderr.write("Installing what we are measured against\n");
  await promisify(execFile)("npm", ["ci", "--loglevel=error"], { cwd: directory });
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version: string; readonly optional?: boolean }>>;
}

async function areInstalled(): Promise<boolean> {
  const lockAt = async (path: string): Promise<Lock> =>
    JSON.parse(await readFile(join(directory, path), "utf8"));
  const wanted = await lockAt("package-lock.json");
  // npm keeps a record of what it has installed.
  const installed = await lockAt("node_modules/.package-lock.json").catch(() => null);
  return Object.entries(wanted.packages).every(
    ([path, { version, optional }]) =>
      path === "" || optional === true || installed?.packages[path]?.version === version,
  );
}
