import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { StartError } from "../../core/errors.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { createOutageLog } from "../../runtime/outage-log.ts";
import type { Service } from "../../runtime/service.ts";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
import { createFileGuard, type FileGuard } from "./file-guard.ts";
import { prepareRedisDirectory, redisDirectory } from "./redis-directory.ts";
import { endRedis, type RunningRedis, type StartOptions, startRedis } from "./start-redis.ts";

export interface EmbeddedRedisOptions {
  /** The redis-server's files are kept in its subdirectory `redis`, which only its owner can enter. */
  readonly dataDir: string;
  readonly logger: Logger;
  /** @default "redis-server" */
  readonly command?: string;
}

export interface EmbeddedRedis extends Service {
  /** Where it is reached while it runs: an absolute path, of the same file after every outage. */
  readonly socketPath: string;
  /** The same as a URL, `unix://…`. */
  readonly url: string;
  /** Stores where this server listens, so that a second server on the same DATA_DIR can name it. */
  announce(url: string): Promise<void>;
  /** Whether the end of its data was lost, as a power failure does, when it was started by `start`. */
  hasLostData(): boolean;
}

/**
 * A redis-server of our own, with no port and no password: on a Unix socket in a directory that is ours alone, with an
 * append-only file that is written to disk every second. What a crash of the machine can lose is that second; a crash of
 * redis-server or of this process loses nothing that was acknowledged.
 *
 * - One server at a time owns the directory. `start` takes the ownership, adopts the redis-server that is there or starts
 *   one, and waits until its data is loaded. It throws StartError if that cannot be: another owner, no redis-server installed,
 *   a damaged append-only file, an unusable directory.
 * - While it runs, a redis-server that ended is started again, however long that takes; clients of the socket only
 *   have to connect again. Each outage is logged as one error, and as one info when it is over.
 * - `stop` ends redis-server and gives the ownership up. A process that ends without `stop` leaves redis-server running, for
 *   the next owner to adopt.
 */
export function createEmbeddedRedis(options: EmbeddedRedisOptions): EmbeddedRedis {
  const { dataDir, logger, command = "redis-server" } = options;
  const directory = redisDirectory(dataDir);
  const { socketPath } = directory;
  const stopping = new AbortController();
  const startOptions: StartOptions = { directory, command, logger, signal: stopping.signal };

  let lock: DirectoryLock | null = null;
  let guard: FileGuard | null = null;
  let running: RunningRedis | null = null;
  let runningSinceMs = 0;
  let hasLostData = false;
  let backoffMs = minBackoffMs;
  /** The start, or the latest repair: settled when nothing is under way. */
  let underWay: Promise<void> = Promise.resolve();
  let givenUp: Promise<void> | null = null;
  let stopped: Promise<void> | null = null;

  async function takeOwnership(): Promise<void> {
    await prepareRedisDirectory(directory);
    lock = await lockDirectory(directory);
    guard = createFileGuard(directory, lock);
    await run("redis-server is ready");
    hasLostData = running?.isCut ?? false;
  }

  async function run(message: string): Promise<void> {
    // It may have been removed since the start.
    await prepareRedisDirectory(directory);
    running = await startRedis(startOptions);
    runningSinceMs = monotonicClock.now();
    const { connection, adopted } = running;
    await guard?.protect();
    // A process that has nothing else to do may end, also without stopping us.
    connection.unref();
    logger.info({ socketPath, pid: connection.redisPid, adopted }, message);
    void connection.lost.then(() => {
      if (!stopping.signal.aborted) underWay = repair(connection.redisPid);
    });
  }

  async function repair(pid: number): Promise<void> {
    logger.error({ socketPath, pid }, "redis-server went away, it is started again");
    // One that ends again and again shortly after its start is started ever more rarely.
    if (monotonicClock.now() - runningSinceMs > maxBackoffMs) backoffMs = minBackoffMs;
    const outage = createOutageLog({
      ...{ logger, fields: { socketPath } },
      begins: "redis-server cannot be started, trying again",
    });
    while (!stopping.signal.aborted) {
      try {
        await sleep(backoffMs, undefined, { ref: false, signal: stopping.signal });
        backoffMs = Math.min(2 * backoffMs, maxBackoffMs);
        return await run("redis-server is back");
      } catch (error) {
        if (stopping.signal.aborted) return;
        outage.failed(error);
      }
    }
  }

  async function end(): Promise<void> {
    stopping.abort(new StartError("Redis was stopped while it was starting."));
    await underWay.catch(() => {}); // The caller of start has the error.
    await giveUp();
  }

  /** A start that failed and a stop meanwhile both wait until it is done. */
  function giveUp(): Promise<void> {
    givenUp ??= release();
    return givenUp;
  }

  async function release(): Promise<void> {
    const owned = lock;
    lock = null;
    if (owned === null) return;
    await guard?.release();
    await endRedis(startOptions, running);
    await owned.release();
  }

  return {
    socketPath,
    url: pathToFileURL(socketPath).href.replace("file:", "unix:"),
    announce: async (url) => lock?.announce(url),
    hasLostData: () => hasLostData,
    async start() {
      underWay = takeOwnership();
      try {
        await underWay;
      } catch (error) {
        // Nothing of it is left, also if stop is never called.
        await giveUp();
        throw error;
      }
    },
    stop: () => {
      stopped ??= end();
      return stopped;
    },
  };
}

const minBackoffMs = 100;
const maxBackoffMs = 5_000;
