import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../../runtime/logger.ts";
import type { RedisDirectory } from "./redis-directory.ts";

const manifestName = "appendonly.aof.manifest";

/** The file to which redis-server appends. */
export interface AppendOnlyTail {
  readonly path: string;
  readonly bytes: number;
  /** Zeros were cut from it. */
  readonly isCut: boolean;
}

/**
 * Cuts the zeros from the end of the append-only file. A file system that lost its power may have made a file longer without
 * having written its content. No command ends in a zero byte, so nothing that was written is cut; a command of which only the
 * beginning was written is then at the end, where redis-server cuts it.
 *
 * @returns the file as it is now, for {@link reportCut}; null when there is none yet.
 */
export async function cutZeros(directory: RedisDirectory, logger: Logger): Promise<AppendOnlyTail | null> {
  const path = await tailPath(directory);
  if (path === null) return null;
  const file = await open(path, "r+");
  try {
    const { size } = await file.stat();
    const bytes = await lengthWithoutZeros(file, size);
    if (bytes < size) {
      await file.truncate(bytes);
      await file.sync();
      logger.warn(
        { path, offset: bytes, zeroBytes: size - bytes },
        "cut zeros from the end of the append-only file, as a power failure leaves them; commands written there are lost",
      );
    }
    return { path, bytes, isCut: bytes < size };
  } finally {
    await file.close();
  }
}

/**
 * Logs how many bytes redis-server itself has cut from the end: an incompletely written command. The file's size does
 * not show it, since keys that have expired are deleted at the load, and the deletion is appended.
 *
 * @param log the log of redis-server while it loaded the file. @returns whether bytes were cut.
 */
export function reportCut(tail: AppendOnlyTail, log: string, logger: Logger): boolean {
  const { path, bytes } = tail;
  const offset = /Truncating the AOF\b.* at offset (\d+)/.exec(log)?.[1];
  if (offset === undefined) return tail.isCut;
  logger.warn(
    { path, offset: Number(offset), bytes: bytes - Number(offset) },
    "redis-server cut an incomplete command from the end of the append-only file",
  );
  return true;
}

/** What to do about a damaged file; empty when the log of redis-server names another reason. */
export function repairAdvice(directory: RedisDirectory, log: string): string {
  if (
    !/append only file|AOF/i.test(log) ||
    !/bad file format|unexpected end of file|corrupt|unknown/i.test(log)
  )
    return "";
  return (
    `\nThe append-only file is damaged. Copy ${directory.path} first, then run: ` +
    `redis-check-aof --fix ${join(directory.path, "appendonlydir", manifestName)}\n` +
    "It cuts everything after the damaged place, and prints how much that is."
  );
}

/** The last file of the manifest: the only one to which anything was written of late. */
async function tailPath({ path }: RedisDirectory): Promise<string | null> {
  const directory = join(path, "appendonlydir");
  const manifest = await readFile(join(directory, manifestName), "utf8").catch(() => "");
  const names = [...manifest.matchAll(/^file (\S+) seq \d+ type i\b/gm)].map(([, name]) => name ?? "");
  const last = names.at(-1);
  if (last === undefined) return null;
  const isThere = await stat(join(directory, last)).then(
    (found) => found.isFile(),
    () => false,
  );
  return isThere ? join(directory, last) : null;
}

const blockBytes = 1 << 16;

async function lengthWithoutZeros(file: Awaited<ReturnType<typeof open>>, size: number): Promise<number> {
  const block = Buffer.alloc(blockBytes);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - blockBytes);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    for (let i = bytesRead - 1; i >= 0; i--) if (block[i] !== 0) return start + i + 1;
    end = start;
  }
  return 0;
}
