import { Cluster, Redis } from "ioredis";
import { pause } from "../runtime/pause.ts";
import { nodeAccess, type RedisConnectionOptions } from "../settings/redis-url.ts";
import { causeOf, isConnectionLost } from "./connection-lost.ts";
import { createMasterCheck } from "./lost-master.ts";

/** The Redis of a job system: one server, or a Redis Cluster of which one node was named. */
export interface WatchedRedis {
  /** False until it was connected to. */
  readonly isCluster: boolean;
  /**
   * Connects when it is not connected, and hands the connection over. Where that turns out to be lost, the next one is handed over,
   * once: where there is none, it says why.
   *
   * @throws Error with what went wrong, in words that hold no command and so no password.
   */
  use<T>(ask: (redis: Redis | Cluster) => Promise<T>): Promise<T>;
  close(): void;
}

export interface WatchedRedisOptions {
  /** Where it is and how to log in. */
  readonly options: RedisConnectionOptions;
  readonly connectionName: string;
  /** Called once for each connection that is made, before it is used. */
  readonly prepare: (redis: Redis | Cluster) => void;
}

const commandMs = 2_000;
const maxRetryMs = 1_000;
const closingMs = 50;

/** A connection that comes back by itself; what was asked while it was away fails at once. */
export function createWatchedRedis({ options, connectionName, prepare }: WatchedRedisOptions): WatchedRedis {
  const retryMs = (attempt: number) => Math.min(100 * attempt, maxRetryMs);
  const shared = {
    connectionName,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandMs,
    connectTimeout: commandMs,
    // It would ask INFO, which not every user may; a Redis that is still loading says so to the first command.
    enableReadyCheck: false,
    disableClientInfo: true,
  };
  const single = new Redis({ ...options, ...shared, lazyConnect: true, retryStrategy: retryMs });
  let redis: Redis | Cluster = single;
  let isKindKnown = false;
  /** What went wrong last: every command fails with it, too, in other words. */
  let reason: Error | undefined;
  const closed = Promise.withResolvers<void>();
  const stopping = new AbortController();
  const checkMaster = createMasterCheck();

  function watch(connection: Redis | Cluster): void {
    const fail = (error: Error) => {
      reason = error;
    };
    // Without a listener ioredis prints it.
    connection.on("error", fail);
    connection.on("node error", fail);
    connection.on("ready", () => {
      reason = undefined;
    });
    prepare(connection);
  }

  /** A connection that is being made is waited for, until it fails; ioredis does not report when it is closed meanwhile. */
  async function ready(): Promise<void> {
    if (redis.status === "wait") redis.connect().catch(() => {});
    if (redis.status === "ready" || redis.status === "end") return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const turns = ["ready", "close", "end"] as const;
    for (const turn of turns) redis.once(turn, resolve);
    await Promise.race([promise, closed.promise]);
    for (const turn of turns) redis.off(turn, resolve);
  }

  async function findKind(): Promise<void> {
    // ioredis stays in database 0 when there is no such database, or it is not allowed.
    if (options.db !== 0) await single.select(options.db);
    // Not every user may ask INFO: then it is taken for what most are.
    const info = await single.info("cluster").catch((error: Error) => {
      if (/^NOPERM/.test(error.message)) return "";
      throw error;
    });
    isKindKnown = true;
    if (!info.includes("cluster_enabled:1")) return;
    const { host = "127.0.0.1", port = 6379 } = options;
    redis = new Cluster([{ host, port }], {
      lazyConnect: true,
      enableOfflineQueue: false,
      // The names of nodes are left as they are, so that TLS can compare them with the certificates.
      dnsLookup: (name, callback) => callback(null, name),
      clusterRetryStrategy: retryMs,
      redisOptions: { ...shared, ...nodeAccess(options) },
    });
    watch(redis);
    single.disconnect();
    await ready();
  }

  watch(single);
  return {
    get isCluster() {
      return redis instanceof Cluster;
    },
    async use(ask) {
      const attempt = async () => {
        await ready();
        if (!isKindKnown) await findKind();
        await checkMaster(redis);
        return await ask(redis);
      };
      try {
        return await attempt().catch(async (error: unknown) => {
          if (stopping.signal.aborted || !isConnectionLost(reason ?? error)) throw error;
          // ioredis reports an error of a socket before it knows that it is closed.
          await pause(closingMs, stopping.signal);
          return await attempt();
        });
      } catch (error) {
        // Errors of ioredis carry the command, with a password.
        throw new Error(reason?.message ?? causeOf(error));
      }
    },
    close() {
      stopping.abort();
      single.disconnect();
      redis.disconnect();
      closed.resolve();
    },
  };
}
