import { Redis, type RedisOptions } from "ioredis";
import { messageOf, StartError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { logAbsence } from "./absence.ts";
import { logRefusals } from "./refusals.ts";

/** How long a command may take before it counts as unanswered, in ms. */
const commandTimeoutMs = 1_500;
/** A connection over which nothing comes for so long, though something was asked, is dead: another one may be better. In ms. */
const socketTimeoutMs = 2_000;

export interface ConnectOptions {
  /** `redis://…`, `rediss://…`, or the path of a Unix socket. */
  readonly url: string;
  /** Shown by CLIENT LIST, and in our log. */
  readonly name: string;
  readonly logger: Logger;
}

/**
 * A connection that is not open yet. While Redis is away every command fails at once, and a command that was on its way when
 * the connection broke fails too, rather than being run a second time; the connection itself comes back by itself.
 */
export function createRedis({ url, name, logger }: ConnectOptions): Redis {
  const options = {
    connectionName: `queue-latency-${name}`,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // Nobody would hear that it failed, which ends the process.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandTimeoutMs,
    connectTimeout: 2_000,
    socketTimeout: socketTimeoutMs,
    // Redis says itself how long it will go on loading, and is often wrong.
    maxLoadingRetryTime: 500,
    // The master has become a replica, and whoever is at its address next time may be the new one.
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
    retryStrategy: (attempt: number) => Math.min(50 * 2 ** Math.min(attempt, 5), 1_000),
  } satisfies RedisOptions;
  const redis = new Redis(url, options);
  logAbsence(redis, name, logger);
  logRefusals(redis, name, logger);
  return redis;
}

/** Opens connections at start. @throws StartError when Redis does not answer, or not to us. */
export async function openRedis(connections: readonly Redis[], where: string): Promise<void> {
  await Promise.all(connections.map((connection) => open(connection, where)));
}

async function open(connection: Redis, where: string): Promise<void> {
  // What `connect` throws only says that it failed; the reason comes as an event.
  let reason: Error | undefined;
  const hear = (error: Error) => {
    reason ??= error;
  };
  connection.on("error", hear);
  try {
    await connection.connect();
    // ioredis stays in database 0 when there is no such database.
    await connection.select(connection.options.db ?? 0);
  } catch (error) {
    const why = messageOf(reason ?? error).replace(/\.$/, "");
    throw new StartError(
      `Redis does not answer at ${where}: ${why}. Is REDIS_URL right, and Redis running?`,
      { cause: error },
    );
  } finally {
    connection.off("error", hear);
  }
}
