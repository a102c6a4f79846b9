import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, StartError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Service } from "../../core/service.ts";
import { controlNamePrefix } from "./control-connection.ts";
import { type JoinOptions, joinRedis } from "./join-redis.ts";
import { type JoinedRedis, leaveRedis } from "./leave-redis.ts";
import { redisDirectory } from "./redis-directory.ts";

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
}

/**
 * A redis-server of our own, with no port and no password: on a Unix socket in a directory that is ours alone, with an
 * append-only file that is written to disk every second. What a crash of the machine can lose is that second; a crash of
 * redis-server or of this process loses nothing that was acknowledged.
 *
 * - `start` adopts the redis-server that is there, or starts one, and waits until its data is loaded.
 *   It throws StartError if that cannot be: no redis-server installed, a broken append-only file, an unusable directory.
 * - While it runs, a redis-server that went away is started again, however long that takes; clients of the socket only
 *   have to connect again. Each outage is logged as one error, and as one info when it is over.
 * - `stop` ends redis-server, unless other processes use it too: the last one out does. A process that ends without
 *   `stop` leaves it running, for the next to adopt.
 */
export function createEmbeddedRedis(options: EmbeddedRedisOptions): EmbeddedRedis {
  const { dataDir, logger, command = "redis-server" } = options;
  const directory = redisDirectory(dataDir);
  const { socketPath } = directory;
  const stopping = new AbortController();
  const name = `${controlNamePrefix}${process.pid}:${randomBytes(6).toString("hex")}`;
  const joinOptions: JoinOptions = { directory, command, name, logger, signal: stopping.signal };

  let joined: JoinedRedis | null = null;
  let joinedAt = 0;
  let backoffMs = minBackoffMs;
  /** The start, or the latest repair: settled when nothing is under way. */
  let underWay: Promise<void> = Promise.resolve();
  let stopped: Promise<void> | null = null;

  async function join(message: string): Promise<void> {
    const { connection, server, adopted } = await joinRedis(joinOptions, joined?.server ?? null);
    joined = { connection, server, adopted };
    joinedAt = performance.now();
    // A process that has nothing else to do may end, also without stopping us.
    connection.setKeepsProcess(false);
    logger.info({ socketPath, pid: connection.redisPid, adopted }, message);
    void connection.lost.then(() => {
      if (!stopping.signal.aborted) underWay = repair(connection.redisPid);
    });
  }

  async function repair(pid: number): Promise<void> {
    logger.error({ socketPath, pid }, "redis-server went away, it is started again");
    // One that ends again and again shortly after its start is started ever more rarely.
    if (performance.now() - joinedAt > maxBackoffMs) backoffMs = minBackoffMs;
    for (let told = ""; !stopping.signal.aborted; ) {
      try {
        await sleep(backoffMs, undefined, { ref: false, signal: stopping.signal });
        backoffMs = Math.min(2 * backoffMs, maxBackoffMs);
        return await join("redis-server is back");
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (messageOf(error) !== told)
          logger.warn({ err: error }, "redis-server cannot be started, trying again");
        told = messageOf(error);
      }
    }
  }

  async function leave(): Promise<void> {
    stopping.abort(new StartError("Redis was stopped while it was starting."));
    await underWay.catch(() => {}); // Whoever called start has been told.
    joined?.connection.setKeepsProcess(true);
    if (joined !== null) await leaveRedis(joinOptions, joined);
  }

  return {
    socketPath,
    start: () => {
      underWay = join("redis-server is ready");
      return underWay;
    },
    stop: () => {
      stopped ??= leave();
      return stopped;
    },
  };
}

const minBackoffMs = 100;
const maxBackoffMs = 5_000;
