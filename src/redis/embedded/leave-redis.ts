import { setTimeout as sleep } from "node:timers/promises";
import { StartError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { type ControlConnection, connectControl } from "./control-connection.ts";
import { isAlive } from "./process-life.ts";
import type { RedisDirectory } from "./redis-directory.ts";
import type { RedisServerProcess } from "./redis-server-process.ts";
import { acquireStartLock, type StartLock } from "./start-lock.ts";

/** One of those that share the redis-server of a directory. */
export interface RedisUser {
  readonly directory: RedisDirectory;
  /** What its control connection is called: its alone, and always the same. */
  readonly name: string;
  readonly logger: Logger;
}

/** A redis-server that answers, and that counts us among its users. */
export interface JoinedRedis {
  readonly connection: ControlConnection;
  /** Its process, if it is a child of ours; null when another process has started it. */
  readonly server: RedisServerProcess | null;
  /** It was running already. */
  readonly adopted: boolean;
}

/**
 * Stops using the redis-server, and ends it if nobody else uses it, whoever has started it. Resolves when it has gone or
 * was left to the others; takes at most about half a minute.
 */
export async function leaveRedis(user: RedisUser, joined: JoinedRedis): Promise<void> {
  const { directory, logger, name } = user;
  // Under the lock of the starters: none can come between our look at who else is there and the end.
  const lock = await lockUnlessBusy(directory.lockPath);
  if (lock === "busy") {
    joined.connection.close();
    logger.info({ socketPath: directory.socketPath }, "redis-server is left to one that is starting");
    return;
  }
  let connection: ControlConnection | null = joined.connection;
  try {
    // A connection can be lost while redis-server lives.
    if (!connection.isOpen()) connection = await connectControl(directory.socketPath, name);
    if (connection === null) return await joined.server?.kill();
    const others = await connection.others();
    if (others === 0) return await end(connection, joined.server, logger);
    // The next to look shall not count us, and believe that it is not the last.
    await connection.unregister();
    logger.info({ pid: connection.redisPid, others }, "redis-server is left to the others that use it");
  } catch (error) {
    logger.error(
      { err: error, socketPath: directory.socketPath },
      "redis-server does not answer while stopping",
    );
    await joined.server?.kill();
  } finally {
    joined.connection.close();
    connection?.close();
    await lock?.release();
  }
}

const lockTimeoutMs = 10_000;
const endTimeoutMs = 10_000;
const pollMs = 20;

/** "busy": somebody has been starting for long, and will use it; null: there can be no lock, the directory has gone. */
async function lockUnlessBusy(lockPath: string): Promise<StartLock | "busy" | null> {
  try {
    return await acquireStartLock(lockPath, { timeoutMs: lockTimeoutMs });
  } catch (error) {
    return error instanceof StartError ? "busy" : null;
  }
}

async function end(
  connection: ControlConnection,
  server: RedisServerProcess | null,
  logger: Logger,
): Promise<void> {
  const pid = connection.redisPid;
  const objection = await connection.shutdown();
  const isRunning = async () => (server === null ? await isAlive(pid) : server.isRunning());
  const deadline = performance.now() + endTimeoutMs;
  while (await isRunning()) {
    if (performance.now() >= deadline) {
      logger.error({ pid, objection, killed: server !== null }, "redis-server did not stop in time");
      return await server?.kill();
    }
    await sleep(pollMs);
  }
  logger.info({ pid }, "redis-server has stopped");
}
