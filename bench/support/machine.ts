import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { faktoryBinary } from "../../test/support/faktory.ts";

/** What the numbers depend on beside the code: name and value, to be compared and to be shown. */
export type Circumstances = Readonly<Record<string, string>>;

const project = join(import.meta.dirname, "../..");
const ours = ["graphql-yoga", "graphql", "graphql-ws", "ws", "ioredis"];
const peers = ["mercurius", "fastify", "graphql-jit", "graphql", "ws", "ioredis"];

export function circumstances(): Circumstances {
  return {
    machine: `${cpus()[0]?.model.trim()}, ${availableParallelism()} CPUs, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${type()} ${release()}`,
    node: process.versions.node,
    redis: /v=(\S+)/.exec(run("redis-server", "--version"))?.[1] ?? "unknown",
    faktory: /faktory-([^/]+)$/.exec(faktoryBinary() ?? "")?.[1] ?? "none",
    "our packages": versions("node_modules", ours),
    "their packages": versions("bench/node_modules", peers),
  };
}

/** Which code is measured; a plus says that src is not as it was committed. */
export function commit(): string {
  try {
    const changed = run("git", "-C", project, "status", "--porcelain", "--", "src").trim() !== "";
    return run("git", "-C", project, "rev-parse", "--short", "HEAD").trim() + (changed ? "+" : "");
  } catch {
    return "unknown";
  }
}

function versions(directory: string, names: readonly string[]): string {
  return names
    .map((name) => {
      const manifest = readFileSync(join(project, directory, name, "package.json"), "utf8");
      return `${name} ${(JSON.parse(manifest) as { readonly version: string }).version}`;
    })
    .join(", ");
}

function run(command: string, ...args: readonly string[]): string {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}
