import { access, chmod, constants, mkdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { messageOf, StartError } from "../../core/errors.ts";

/** Where the embedded Redis lives: absolute paths. */
export interface RedisDirectory {
  readonly dataDir: string;
  readonly path: string;
  readonly socketPath: string;
  readonly lockPath: string;
  readonly logPath: string;
}

export function redisDirectory(dataDir: string): RedisDirectory {
  const path = resolve(dataDir, "redis");
  return {
    dataDir,
    path,
    socketPath: join(path, "redis.sock"),
    lockPath: join(path, "starting.lock"),
    logPath: join(path, "redis.log"),
  };
}

/**
 * Makes the directory, for its owner only: whoever can reach the socket in it can read and write everything.
 *
 * @throws StartError when it cannot be made or written to, or when the socket's path is too long.
 */
export async function prepareRedisDirectory(directory: RedisDirectory): Promise<void> {
  checkSocketPath(directory.socketPath);
  try {
    await mkdir(directory.path, { recursive: true, mode: 0o700 });
    const { uid, mode } = await stat(directory.path);
    const isOurs = uid === process.getuid?.();
    if (isOurs && (mode & 0o777) !== 0o700) await chmod(directory.path, 0o700);
    await access(directory.path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unusableDataDir(directory, error);
  }
}

/** What to say when the file system refuses something under DATA_DIR. */
export function unusableDataDir(directory: RedisDirectory, error: unknown): StartError {
  return new StartError(
    `DATA_DIR must be a directory that this user can write to, but with ${directory.dataDir}: ${messageOf(error)}`,
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
