import { Cluster, type Redis } from "ioredis";
import type { RedisClient } from "./connect.ts";

/** Everything that can be written to: the one Redis, or every master of a Redis Cluster. */
export function mastersOf(redis: RedisClient): readonly Redis[] {
  return redis instanceof Cluster ? redis.nodes("master") : [redis];
}

/** Host and port, or the path of a Unix socket. */
export function nodeName({ options: { path, host, port } }: Redis): string {
  return path ?? `${host}:${port}`;
}
