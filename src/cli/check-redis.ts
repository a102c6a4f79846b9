import { execFile } from "node:child_process";
import { access, constants } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "../core/errors.ts";
import { createConnections } from "../redis/connections.ts";
import { redisServerProblem } from "../redis/embedded/redis-server-process.ts";
import { mastersOf, nodeName } from "../redis/masters.ts";
import { readinessOf } from "../redis/readiness.ts";
import { silentLogger } from "../runtime/logger.ts";
import { redisPlace } from "../settings/redis-url.ts";
import type { Finding } from "./finding.ts";

const minVersion = 7;

/** Connects to the Redis, or to the nodes of the Redis Cluster, that REDIS_URL names. */
export async function checkRedis(urls: readonly string[]): Promise<Finding> {
  const connections = createConnections({ urls, logger: silentLogger });
  try {
    await connections.start();
    const { warnings } = await readinessOf(connections);
    const masters = mastersOf(connections.commands);
    const versions = await Promise.all(masters.map(async (master) => versionIn(await master.info("server"))));
    const old = versions.find((version) => Number.parseInt(version, 10) < minVersion);
    const where = connections.isCluster ? masters.map(nodeName).join(", ") : urls.map(redisPlace).join(", ");
    const found = `Redis ${[...new Set(versions)].join(", ")} at ${where}`;
    if (old !== undefined)
      return { status: "wrong", found: `${found}: expected Redis ${minVersion}.0 or later` };
    if (warnings.length > 0) return { status: "warning", found: `${found}; ${warnings.join("; ")}` };
    return { status: "ok", found };
  } catch (error) {
    return { status: "wrong", found: messageOf(error) };
  } finally {
    await connections.stop();
  }
}

function versionIn(info: string): string {
  return /^redis_version:(\S+)/m.exec(info)?.[1] ?? "of unknown version";
}

/** Whether the own redis-server could be started: it is not, since a server may be running on its data. */
export async function checkOwnRedis(dataDir: string): Promise<Finding> {
  const version = await promisify(execFile)("redis-server", ["--version"]).catch(asError);
  if (version instanceof Error)
    return { status: "wrong", found: redisServerProblem("redis-server", version) };
  const [, number = "unknown"] = /\bv=(\S+)/.exec(version.stdout) ?? [];
  if (Number.parseInt(number, 10) < minVersion)
    return { status: "wrong", found: `redis-server ${number}: expected ${minVersion}.0 or later` };
  const problem = await writeProblem(dataDir);
  if (problem !== null) return { status: "wrong", found: `DATA_DIR ${dataDir}: ${problem}` };
  return { status: "ok", found: `own redis-server ${number}, data in ${dataDir}` };
}

/** Of the directory, or of the one that it would be made in. */
async function writeProblem(directory: string): Promise<string | null> {
  const error = await access(directory, constants.W_OK | constants.X_OK).catch(asError);
  if (!(error instanceof Error)) return null;
  const parent = dirname(directory);
  if ("code" in error && error.code === "ENOENT" && parent !== directory) return await writeProblem(parent);
  return error.message;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
