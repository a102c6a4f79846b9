import { Redis } from "ioredis";
import type { RedisConnectionOptions } from "../settings/redis-url.ts";
import { causeOf, isConnectionLost } from "./connection-lost.ts";
import { createMasterCheck } from "./lost-master.ts";

/** The Redis of a job system, of which a source asks something at each interval. */
export interface PolledRedis {
  /**
   * Works over the one connection, which is opened when there is none. After any failure, and when the signal aborts, it is
   * thrown away, so that a Redis that hangs cannot hold what comes later. A connection that was kept and turns out to be lost
   * is replaced, and the work begins anew: where that fails, it says why.
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
  const checkMaster = createMasterCheck();
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
      const attempt = async () => {
        const redis = ready ?? (await connect());
        await checkMaster(redis);
        return await work(redis);
      };
      try {
        signal.throwIfAborted();
        const wasKept = ready !== undefined;
        const working = attempt().catch(async (error: unknown) => {
          if (!wasKept || signal.aborted || !isConnectionLost(reason ?? error)) throw error;
          drop();
          return await attempt();
        });
        return await Promise.race([working, aborted.promise]);
      } catch (error) {
        drop();
        // An error of ioredis carries its command, and that of AUTH the password.
        const message = causeOf(reason ?? error);
        const isCluster = /^(MOVED|ASK|CROSSSLOT|CLUSTERDOWN) /.test(message);
        throw new Error(isCluster ? `${isClusterMessage}: ${message}` : message);
      } finally {
        signal.removeEventListener("abort", abort);
      }
    },
    close: drop,
  };
}
