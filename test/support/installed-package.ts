import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";

const project = join(import.meta.dirname, "../..");
const run = promisify(execFile);

/**
 * Packs the project as `npm publish` would, and installs that into the empty directory. Nothing is asked of a registry: the package has all
 * that it needs in it.
 *
 * @returns the directory of the installed programs.
 */
export async function installPackage(directory: string): Promise<string> {
  await run("npm", ["pack", "--silent", "--pack-destination", directory], { cwd: project, env: npmEnv });
  const [file = ""] = await readdir(directory);
  const options = ["--loglevel=error", "--offline", "--no-audit", "--no-fund"];
  await run("npm", ["install", ...options, `./${file}`], { cwd: directory, env: npmEnv });
  return join(directory, "node_modules/.bin");
}

/** Without what `npm test` has set for this project. */
const npmEnv: NodeJS.ProcessEnv = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(package|lifecycle|config_local_prefix|command)|INIT_CWD|VITEST|NODE_ENV$|TEST$)/.test(name),
  ),
);

/** Each Node.js that the package is for and that is there, with the directory of its program; in CI all must be. */
export const nodes: readonly { readonly name: string; readonly directory: string }[] = [
  { name: "Node 22", directory: resolve(project, ".cache/node-22/node_modules/node/bin") },
  { name: `Node ${process.versions.node.split(".")[0]}`, directory: dirname(process.execPath) },
].filter(({ directory }) => process.env.CI === "true" || existsSync(join(directory, "node")));
