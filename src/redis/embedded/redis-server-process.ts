import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { messageOf, StartError } from "../../core/errors.ts";
import type { RedisDirectory } from "./redis-directory.ts";

/** A redis-server that this process has started. */
export interface RedisServerProcess {
  readonly pid: number;
  /** Resolves when it has ended, with how: "exit code 1", "SIGKILL". Never rejects. */
  readonly ended: Promise<string>;
  isRunning(): boolean;
  /** The last lines that it has logged since it was started. */
  lastLogLines(): Promise<string>;
}

/**
 * Starts a redis-server on the directory; whether it answers is for the caller to find out.
 *
 * @throws StartError when there is no such program, or when it cannot be run.
 */
export async function spawnRedisServer(
  command: string,
  directory: RedisDirectory,
): Promise<RedisServerProcess> {
  const log = await open(directory.logPath, "a", 0o600);
  try {
    const logStart = (await log.stat()).size;
    const child = spawn(command, redisServerArguments(directory), {
      // A process group of its own: Ctrl-C in the terminal is for us, and we stop it when what was under way is done.
      detached: true,
      // From the first instant on it can be found by where it works.
      cwd: directory.path,
      // What it prints before it has opened its log (a wrong option, a missing library) goes there too.
      stdio: ["ignore", log.fd, log.fd],
    });
    const ended = new Promise<string>((resolve) => {
      child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    await once(child, "spawn");
    child.unref();
    const isRunning = () => child.exitCode === null && child.signalCode === null;
    return {
      pid: child.pid ?? -1,
      ended,
      isRunning,
      lastLogLines: () => lastLines(directory.logPath, logStart),
    };
  } catch (error) {
    throw new StartError(redisServerProblem(command, error), { cause: error });
  } finally {
    await log.close();
  }
}

function redisServerArguments(directory: RedisDirectory): readonly string[] {
  return [
    ...["--port", "0", "--unixsocket", directory.socketPath, "--unixsocketperm", "600"],
    ...["--dir", directory.path, "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""],
    ...["--lazyfree-lazy-expire", "yes", "--lazyfree-lazy-user-del", "yes"],
    ...["--daemonize", "no", "--logfile", directory.logPath],
  ];
}

/** Why a program could not be started, and what to do. */
export function redisServerProblem(command: string, error: unknown): string {
  const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
  return (
    `${isMissing ? `${command} was not found` : `${command} cannot be run (${messageOf(error)})`}. ` +
    "Install Redis 7 or later (apt-get install redis-server, or brew install redis), " +
    "or use one that runs: set REDIS_URL, or give --redis-url."
  );
}

async function lastLines(logPath: string, from: number): Promise<string> {
  const log = await readFile(logPath).catch(() => Buffer.alloc(0));
  const lines = log.subarray(from).toString().trimEnd().split("\n");
  return lines.slice(-8).join("\n");
}
