import { Redis } from "ioredis";
import { messageOf } from "../core/errors.ts";
import type { RedisConnectionOptions } from "../settings/redis-url.ts";

/** The Redis of a job system, of which a source asks something at each interval. */
export interface PolledRedis {
  /**
   * Works over the one connection, which is opened when there is none. After any failure, and when the signal aborts, it is
   * thrown away, so that a Redis that hangs cannot hold what comes later.
   *
   * @throws what went wrong, in words that hold no command and so no password.
   */
  use<T>(signal: AbortSignal, work: (redis: Redis) => Promise<T>): Promise<T>;
  close(): void;
}

export interface PolledRedisOptions {
  /** Where it is and how to log in. */
  readonly options: RedisConnectionOptions;
  readonly connectionName: string;
  /** Begins the message where it is a node of a Redis Cluster. */
  readonly isClusterMessage: string;
}

export function createPolledRedis(polled: PolledRedisOptions): PolledRedis {
  const { options, connectionName, isClusterMessage } = polled;
  let open: Redis | undefined;
  let ready: Redis | undefined;
  /** What was said last about the connection: what `connect` throws only says that it failed. */
  let reason: Error | undefined;

  async function connect(): Promise<Redis> {
    const redis = new Redis({
      ...options,
      connectionName,
      lazyConnect: true,
      enableOfflineQueue: false,
      // It would ask INFO, which not every user may; a Redis that is still loading says so to the first command.
      enableReadyCheck: false,
      disableClientInfo: true,
      maxRetriesPerRequest: 0,
      commandTimeout: 1_500,
      connectTimeout: 2_000,
      // The next reading opens the next connection.
      retryStrategy: () => null,
      sentinelRetryStrategy: () => null,
    });
    open = redis;
    reason = undefined;
    redis.on("error", (error: Error) => {
      // A discarded connection may still emit an error.
      if (open === redis) reason = error;
    });
    await redis.connect();
    // ioredis stays in database 0 when there is no such database, or it is not allowed.
    if (options.db !== 0) await redis.select(options.db);
    if (open !== redis) throw new Error("the connection was thrown away");
    reason = undefined;
    ready = redis;
    return redis;
  }

  function drop(): void {
    const dropped = open;
    open = undefined;
    ready = undefined;
    dropped?.disconnect();
    // It would wait for the other side to close, too.
    dropped?.stream?.destroy();
  }

  return {
    async use(signal, work) {
      const aborted = Promise.withResolvers<never>();
      const abort = () => aborted.reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      try {
        signal.throwIfAborted();
        const working = (async () => work(ready ?? (await connect())))();
        return await Promise.race([working, aborted.promise]);
      } catch (error) {
        drop();
        // An error of ioredis carries its command, and that of AUTH the password.
        const message = messageOf(reason ?? error);
        const isCluster = /^(MOVED|ASK|CROSSSLOT|CLUSTERDOWN) /.test(message);
        throw new Error(isCluster ? `${isClusterMessage}: ${message}` : message);
      } finally {
        signal.removeEventListener("abort", abort);
      }
    },
    close: drop,
  };
}
