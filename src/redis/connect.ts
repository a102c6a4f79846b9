import { type Cluster, Redis, type RedisOptions } from "ioredis";
import type { Logger } from "../runtime/logger.ts";
import { redisOptions } from "../settings/redis-url.ts";
import { createCluster } from "./cluster.ts";
import { logDisconnections, logRefusals } from "./outages.ts";

/** One Redis, or a Redis Cluster: a caller that uses the keys of one queue at a time need not know which. */
export type RedisClient = Redis | Cluster;

export interface ConnectOptions {
  /** As settings/redis-url.ts reads it. */
  readonly url: string;
  /** Shown by CLIENT LIST, and in our log. */
  readonly name: string;
  readonly logger: Logger;
}

/** How long a command may take before it counts as unanswered, in ms. */
const commandTimeoutMs = 1_500;
/** A connection over which nothing comes for so long, though something was asked, is dead: another one may be better. In ms. */
const socketTimeoutMs = 2_000;

const optionsOf = (name: string) =>
  ({
    connectionName: `queue-latency-${name}`,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    // No caller would get its error, which ends the process.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    commandTimeout: commandTimeoutMs,
    connectTimeout: 2_000,
    socketTimeout: socketTimeoutMs,
    // ioredis would wait as long as Redis estimates that it goes on loading, which is often wrong.
    maxLoadingRetryTime: 500,
    // The master has become a replica, and its address may lead to the new master next time.
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
    retryStrategy: backoffMs,
  }) satisfies RedisOptions;

function backoffMs(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), 1_000);
}

/** @param urls of one Redis, or of several nodes of a Redis Cluster. {@link createRedis} says what it promises. */
export function createClient({
  urls,
  name,
  logger,
}: Omit<ConnectOptions, "url"> & { readonly urls: readonly string[] }): RedisClient {
  if (urls.length <= 1) return createRedis({ url: urls[0] ?? "", name, logger });
  const cluster = createCluster({ urls, redisOptions: optionsOf(name), name, logger });
  logRefusals(cluster, name, logger);
  return cluster;
}

/**
 * A connection that is not open yet. While Redis is away every command fails at once, and a command that was on its way when
 * the connection broke fails too, rather than being run a second time; the connection itself comes back by itself.
 */
export function createRedis({ url, name, logger }: ConnectOptions): Redis {
  let wasReady = false;
  const redis = new Redis({
    ...optionsOf(name),
    ...redisOptions(url),
    // Until the first connection is there, unreachable Sentinels are an error; null would stop all retries later.
    sentinelRetryStrategy: (attempt) => (wasReady ? backoffMs(attempt) : null),
  });
  redis.once("ready", () => {
    wasReady = true;
  });
  logDisconnections(redis, name, logger);
  logRefusals(redis, name, logger);
  return redis;
}
