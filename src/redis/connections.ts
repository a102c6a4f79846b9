import { Cluster, Redis } from "ioredis";
import { messageOf, StartError } from "../core/errors.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { redisPlace } from "../settings/redis-url.ts";
import { assertClusterServes, connectElsewhere } from "./cluster.ts";
import { createClient, createRedis, type RedisClient } from "./connect.ts";
import { findEvictingNodes } from "./eviction-policy.ts";

export interface RedisConnections extends Service {
  readonly commands: RedisClient;
  /** For subscriptions: in a Redis Cluster every node delivers them, and each new connection goes to another node. */
  readonly changes: Redis;
  readonly isCluster: boolean;
  /** Whether Redis, or every master of a Redis Cluster, is connected right now, as far as this process knows. */
  readonly isWhole: () => boolean;
  /** @throws Error while not everything that is kept in Redis can be reached. */
  assertServes(): Promise<void>;
}

export interface RedisConnectionsOptions {
  /** Of one Redis, as settings/redis-url.ts reads it; or of several nodes of a Redis Cluster. */
  readonly urls: readonly string[];
  readonly logger: Logger;
}

/** All connections to Redis. Its start throws StartError when Redis does not answer, or not to us. */
export function createConnections({ urls, logger }: RedisConnectionsOptions): RedisConnections {
  const commands = createClient({ urls, name: "commands", logger });
  const changes = createRedis({ url: urls[0] ?? "", name: "changes", logger });
  const cluster = commands instanceof Cluster ? commands : null;
  if (cluster !== null) changes.on("close", () => connectElsewhere(changes, cluster));

  async function assertServes(): Promise<void> {
    if (cluster !== null) await assertClusterServes(cluster);
    else await commands.ping();
  }

  return {
    commands,
    changes,
    isCluster: cluster !== null,
    isWhole: () =>
      cluster === null
        ? commands.status === "ready"
        : cluster.nodes("master").every(({ status }) => status === "ready"),
    assertServes,
    async start() {
      const where = urls.map(redisPlace).join(", ");
      await open(commands, where, async () => {
        if (commands instanceof Redis) await assertSuits(commands, where);
        await assertServes();
      });
      if (cluster !== null) connectElsewhere(changes, cluster);
      await open(changes, where);
      for (const evicting of await findEvictingNodes(commands)) {
        logger.warn(
          { ...evicting },
          "Redis may evict keys of queues; set its maxmemory-policy to noeviction",
        );
      }
    },
    async stop() {
      commands.disconnect();
      changes.disconnect();
    },
  };
}

/** Opens a connection, and checks that it is what we need. @throws StartError with the reason. */
async function open(
  connection: RedisClient,
  where: string,
  assertGood: () => Promise<void> = async () => {},
): Promise<void> {
  // `connect` throws only that it failed; the reason comes as an event.
  let reason: unknown;
  const keepReason = (error: unknown) => {
    reason ??= error;
  };
  connection.on("error", keepReason);
  connection.on("node error", keepReason);
  try {
    await connection.connect();
    await assertGood();
  } catch (error) {
    if (error instanceof StartError) throw error;
    const cause = reason ?? error;
    const why = messageOf(cause).replace(/\.$/, "");
    const isRefused = cause instanceof Error && cause.name === "ReplyError";
    throw new StartError(
      isRefused
        ? `Redis at ${where} refuses the connection: ${why}. REDIS_URL names its user, password and database.`
        : `Redis does not answer at ${where}: ${why}. Is REDIS_URL right, and Redis running?`,
      { cause: error },
    );
  } finally {
    connection.off("error", keepReason);
    connection.off("node error", keepReason);
  }
}

async function assertSuits(redis: Redis, where: string): Promise<void> {
  // ioredis stays in database 0 when there is no such database.
  await redis.select(redis.options.db ?? 0);
  if (!(await redis.info("cluster")).includes("cluster_enabled:1")) return;
  // A cluster of one node is like one Redis.
  const [, masters] = /\bcluster_size:(\d+)/.exec(String(await redis.cluster("INFO"))) ?? [];
  if (Number(masters) <= 1) return;
  throw new StartError(
    `${where} is one node of a Redis Cluster: set REDIS_URL to several of them, separated by commas.`,
  );
}
