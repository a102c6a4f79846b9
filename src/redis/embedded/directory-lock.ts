import { spawn } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { StartError } from "../../core/errors.ts";
import type { RedisDirectory } from "./redis-directory.ts";

/** Exclusive ownership of a directory by this process. */
export interface DirectoryLock {
  /** Stores where the owner listens, so that a second server can name it. */
  announce(url: string): Promise<void>;
  release(): Promise<void>;
}

/**
 * Locks the directory itself with flock(2): the kernel keeps the lock with the open directory and drops it when this process
 * ends, however it ends. No file holds the lock, so removing one changes nothing.
 *
 * @throws StartError that names the owner when another process holds the lock.
 */
export async function lockDirectory(directory: RedisDirectory): Promise<DirectoryLock> {
  // A number, not a FileHandle: Node closes a FileHandle that is garbage collected.
  const fd = openSync(directory.path, constants.O_RDONLY | constants.O_DIRECTORY);
  const describe = (text: string) => writeFile(directory.ownerPath, `${text}\n`, { mode: 0o600 });
  try {
    if (!(await flock(fd))) throw ownedBy(directory, await readOwner(directory));
    await describe(`process ${process.pid}`);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return {
    announce: (url) => describe(`process ${process.pid} (${url})`),
    release: async () => {
      await rm(directory.ownerPath, { force: true });
      closeSync(fd);
    },
  };
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
