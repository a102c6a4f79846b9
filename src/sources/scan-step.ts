import { Cluster, type Redis } from "ioredis";

export interface ScanStepOptions {
  /** As `SCAN` takes it: special characters of a literal name are escaped by {@link escapeGlob}. */
  readonly match: string;
  /** How many keys one step looks at. */
  readonly count: number;
  /** Keys of another type are left out, by Redis itself. */
  readonly type?: "stream" | "string";
}

/**
 * One step of a look through all keys, of a Redis Cluster one node after the other. "0" is the begin, and the end; any other
 * position names the node, too.
 */
export async function scanStep(
  redis: Redis | Cluster,
  position: string,
  { match, count, type }: ScanStepOptions,
): Promise<{ readonly position: string; readonly keys: readonly string[] }> {
  const [cursor = "0", node = "0"] = position.split(" ").reverse();
  const nodes = redis instanceof Cluster ? redis.nodes("master") : [redis];
  const server = nodes[Number(node)];
  if (server === undefined) return { position: "0", keys: [] };
  const [next, keys] =
    type === undefined
      ? await server.scan(cursor, "MATCH", match, "COUNT", count)
      : await server.scan(cursor, "MATCH", match, "COUNT", count, "TYPE", type);
  const following = next === "0" ? Number(node) + 1 : Number(node);
  return { position: following === nodes.length ? "0" : `${following} ${next}`, keys };
}

export function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, "\\$&");
}
