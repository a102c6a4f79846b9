import { spawn } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { StartError } from "../../core/errors.ts";
import type { RedisDirectory } from "./redis-directory.ts";

/** Exclusive ownership of a directory by this process. */
export interface DirectoryLock {
  /** Stores where the owner listens, so that a second server can name it. */
  announce(url: string): Promise<void>;
  /** Names the owner again when the file that does so was removed. */
  restore(): Promise<void>;
  release(): Promise<void>;
}

/**
 * Locks DATA_DIR and its subdirectory themselves with flock(2): the kernel keeps a lock with the open directory and drops it when this
 * process ends, however it ends. No file holds the lock, so removing one changes nothing; nor does removing the subdirectory.
 *
 * @throws StartError that names the owner when another process holds the lock.
 */
export async function lockDirectory(directory: RedisDirectory): Promise<DirectoryLock> {
  const descriptors: number[] = [];
  const close = () => {
    for (const fd of descriptors.splice(0)) closeSync(fd);
  };
  let text = `process ${process.pid}`;
  const write = (flag: "w" | "wx") => writeFile(directory.ownerPath, `${text}\n`, { mode: 0o600, flag });
  try {
    for (const path of [directory.dataDir, directory.path]) {
      const fd = openDirectory(path);
      if (fd === null) continue;
      descriptors.push(fd);
      if (!(await flock(fd))) throw ownedBy(directory, await readOwner(directory));
    }
    await write("w");
  } catch (error) {
    close();
    throw error;
  }
  return {
    async announce(url) {
      text = `process ${process.pid} (${url})`;
      await write("w");
    },
    restore: () => write("wx").catch(() => {}),
    async release() {
      await rm(directory.ownerPath, { force: true });
      close();
    },
  };
}

/** A number, not a FileHandle: Node closes a FileHandle that is garbage collected. Null when this user may not list it. */
function openDirectory(path: string): number | null {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EACCES") return null;
    throw error;
  }
}

/** Node has no flock(2). A helper locks the open directory that it inherits as descriptor 3; the lock stays when it ends. */
const perl = `use Fcntl ":flock"; open(my $d, "<&=", 3) or exit 2; exit(flock($d, LOCK_EX | LOCK_NB) ? 0 : 1)`;
const helpers = [
  ["/usr/bin/flock", "-n", "-x", "3"],
  ["flock", "-n", "-x", "3"],
  ["/usr/bin/perl", "-e", perl],
  ["perl", "-e", perl],
] as const;

/** @returns whether the lock is ours now. */
async function flock(fd: number): Promise<boolean> {
  for (const [command, ...args] of helpers) {
    const status = await run(command, args, fd);
    if (status === 0 || status === 1) return status === 0;
  }
  throw new StartError(
    "DATA_DIR cannot be locked: the commands flock (util-linux) and perl are both missing or failed. Install one, or set REDIS_URL.",
  );
}

function run(command: string, args: readonly string[], fd: number): Promise<number | null> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "ignore", fd] });
    child.once("error", () => resolve(null));
    child.once("exit", resolve);
  });
}

async function readOwner({ ownerPath }: RedisDirectory): Promise<string> {
  const text = await readFile(ownerPath, "utf8").catch(() => "");
  return /^process \d+.*$/m.exec(text)?.[0] ?? "another process";
}

function ownedBy({ dataDir }: RedisDirectory, owner: string): StartError {
  return new StartError(
    `DATA_DIR ${dataDir} is in use by ${owner}. One server at a time owns the Redis in it: ` +
      "stop that server, choose another DATA_DIR, or run one Redis for all servers and set REDIS_URL.",
  );
}
