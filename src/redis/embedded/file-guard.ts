import { link, rm, stat } from "node:fs/promises";
import type { DirectoryLock } from "./directory-lock.ts";
import type { RedisDirectory } from "./redis-directory.ts";

/** Brings back the files of a running embedded Redis that are removed, as cleaners of temporary directories do. */
export interface FileGuard {
  /** Begins, or goes on with the socket of another redis-server. */
  protect(): Promise<void>;
  release(): Promise<void>;
}

const checkEveryMs = 500;

/** A second name of the same socket leads to the same redis-server, with no restart and no client that notices. */
export function createFileGuard({ socketPath }: RedisDirectory, lock: DirectoryLock): FileGuard {
  const spare = `${socketPath}.spare`;
  let timer: NodeJS.Timeout | undefined;

  async function check(): Promise<void> {
    await lock.restore();
    const isMissing = await stat(socketPath).then(
      () => false,
      () => true,
    );
    // With both removed, connections stay open; redis-server is only restarted when they have ended.
    if (isMissing) await link(spare, socketPath).catch(() => {});
  }

  return {
    async protect() {
      await rm(spare, { force: true });
      // Where a file system cannot link a socket there is no spare one.
      await link(socketPath, spare).catch(() => {});
      timer ??= setInterval(() => void check(), checkEveryMs).unref();
    },
    async release() {
      clearInterval(timer);
      await rm(spare, { force: true });
    },
  };
}
