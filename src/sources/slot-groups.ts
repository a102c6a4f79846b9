import type { WatchedRedis } from "./watched-redis.ts";

/** What decides the slot of a key: what is between its first braces, or all of it. */
export function hashTagOf(key: string): string {
  return /^[^{]*\{([^}]+)\}/.exec(key)?.[1] ?? key;
}

/**
 * Divides names into those that one script may read: of a Redis Cluster, where their keys have one slot.
 *
 * @param keyOf a key of that name.
 */
export function slotGroups(
  { isCluster }: Pick<WatchedRedis, "isCluster">,
  names: readonly string[],
  size: number,
  keyOf: (name: string) => string = (name) => name,
): readonly (readonly string[])[] {
  const groups = isCluster ? [...Map.groupBy(names, (name) => hashTagOf(keyOf(name))).values()] : [names];
  return groups.flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / size) }, (_, i) => group.slice(i * size, (i + 1) * size)),
  );
}
