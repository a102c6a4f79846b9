import { access, chmod, constants, mkdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { messageOf, StartError } from "../../core/errors.ts";

/** Where the embedded Redis lives: absolute paths. */
export interface RedisDirectory {
  readonly dataDir: string;
  readonly path: string;
  readonly socketPath: string;
  /** Names the server that owns the directory, for a message. The lock is not in it. */
  readonly ownerPath: string;
  readonly logPath: string;
}

export function redisDirectory(dataDir: string): RedisDirectory {
  const path = resolve(dataDir, "redis");
  return {
    dataDir,
    path,
    socketPath: join(path, "redis.sock"),
    ownerPath: join(path, "owner"),
    logPath: join(path, "redis.log"),
  };
}

/**
 * Makes the directory, for its owner only: a process that can reach the socket in it can read and write everything.
 *
 * @throws StartError when it cannot be made or written to, or when the socket's path is too long.
 */
export async function prepareRedisDirectory(directory: RedisDirectory): Promise<void> {
  checkSocketPath(directory.socketPath);
  try {
    await makeDirectory(directory.path);
    const { uid, mode } = await stat(directory.path);
    const isOurs = uid === process.getuid?.();
    if (isOurs && (mode & 0o777) !== 0o700) await chmod(directory.path, 0o700);
    await access(directory.path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unusableDataDir(directory, error);
  }
}

/** Not mkdir's option `recursive`: that loops without end where the kernel reports ENOENT under an existing parent, as in /proc. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
    const parent = dirname(path);
    if (code !== "ENOENT" || parent === path || (await exists(parent))) throw error;
    await makeDirectory(parent);
    await mkdir(path, { mode: 0o700 });
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** What to say when the file system refuses something under DATA_DIR. */
export function unusableDataDir(directory: RedisDirectory, error: unknown): StartError {
  return new StartError(
    `DATA_DIR must be a directory that this user can write to; ${directory.dataDir}: ${messageOf(error)}`,
    { cause: error },
  );
}

/** A Unix socket's address has a field of fixed size for the path: 108 bytes on Linux, 104 elsewhere, with a final 0. */
function checkSocketPath(socketPath: string): void {
  const maxBytes = process.platform === "linux" ? 107 : 103;
  const bytes = Buffer.byteLength(socketPath);
  if (bytes <= maxBytes) return;
  throw new StartError(
    `DATA_DIR must be shorter: the path of a Unix socket has at most ${maxBytes} bytes, ${socketPath} has ${bytes}.`,
  );
}
