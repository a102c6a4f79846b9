import { execFile } from "node:child_process";
import { readdir, readFile, readlink, realpath } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { monotonicClock } from "../../runtime/clock.ts";
import type { RedisDirectory } from "./redis-directory.ts";

/** Redis-servers of this machine, by their process ids. */
export interface RedisServers {
  /** That work in the directory, whether or not they can be reached. */
  readonly working: readonly number[];
  /** That work in a directory that had the same path, and was removed. Known only from /proc. */
  readonly removed: readonly number[];
}

export async function redisServersIn(directory: RedisDirectory): Promise<RedisServers> {
  const pids = await readdir("/proc").then(
    (names) => names.filter((name) => /^\d+$/.test(name)),
    () => [],
  );
  return pids.length > 0
    ? await fromProc(pids, directory)
    : { working: await fromPs(directory), removed: [] };
}

async function fromProc(pids: readonly string[], { path }: RedisDirectory): Promise<RedisServers> {
  const workingDirectory = await realpath(path).catch(() => path);
  const servers = await Promise.all(
    pids.map(async (pid) => {
      try {
        const isRedis = isRedisServer(await readFile(`/proc/${pid}/comm`, "utf8"));
        return { pid: Number(pid), directory: isRedis ? await readlink(`/proc/${pid}/cwd`) : "" };
      } catch {
        return { pid: Number(pid), directory: "" }; // It has ended, or belongs to another user.
      }
    }),
  );
  const inDirectory = (name: string) =>
    servers.filter(({ directory }) => directory === name).map(({ pid }) => pid);
  return { working: inDirectory(workingDirectory), removed: inDirectory(`${workingDirectory} (deleted)`) };
}

/** For systems without /proc: redis-server shows its socket among its arguments. */
export async function fromPs({ socketPath }: RedisDirectory): Promise<readonly number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-ww", "-o", "pid=,args="]);
  return stdout.split("\n").flatMap((line) => {
    const [, pid, program = "", args = ""] = /^\s*(\d+)\s+(\S+)(.*)$/.exec(line) ?? [];
    const isOurs = isRedisServer(program.replace(/^.*\//, "")) && args.includes(socketPath);
    return pid !== undefined && isOurs ? [Number(pid)] : [];
  });
}

function isRedisServer(name: string): boolean {
  return /^(redis|valkey)-server/.test(name);
}

/** Ends a process by SIGTERM, or by SIGKILL when it still runs after `timeoutMs`. @returns the signal that ended it. */
export async function endProcess(pid: number, timeoutMs: number): Promise<"SIGTERM" | "SIGKILL"> {
  signal(pid, "SIGTERM");
  if (await hasEnded(pid, timeoutMs)) return "SIGTERM";
  signal(pid, "SIGKILL");
  await hasEnded(pid, timeoutMs);
  return "SIGKILL";
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

/** Waits until a process is gone. @returns false when it still runs after `timeoutMs`. */
export async function hasEnded(pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = monotonicClock.now() + timeoutMs;
  while (await isAlive(pid)) {
    if (monotonicClock.now() >= deadline) return false;
    await sleep(pollMs);
  }
  return true;
}

const pollMs = 20;

/**
 * Whether a process lives. A zombie does not: it has ended, and its parent has not read its exit code. In a container
 * whose process 1 reads no exit codes an orphan stays a zombie.
 */
async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, and belongs to another user.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
  const state = stat?.charAt(stat.lastIndexOf(")") + 2);
  return state !== "Z" && state !== "X";
}
