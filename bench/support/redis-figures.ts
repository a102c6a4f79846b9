import type { RedisClient } from "../../src/redis/connect.ts";

type Informant = Pick<RedisClient, "info">;

/** What Redis's data takes, in bytes. */
export async function usedMemory(redis: Informant): Promise<number> {
  const used = /^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1];
  if (used === undefined) throw new Error("expected used_memory in INFO memory");
  return Number(used);
}

/** How many commands Redis has run since it began, those of scripts with them, and without such questions as this one. */
export async function commandsRun(redis: Informant): Promise<number> {
  const stats = await redis.info("commandstats");
  let calls = 0;
  for (const [, name, count] of stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    if (name !== "info") calls += Number(count);
  }
  return calls;
}

/** CPU time that Redis has taken since it began, in ms. */
export async function redisCpuMs(redis: Informant): Promise<number> {
  const info = await redis.info("cpu");
  const seconds = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1]);
  return 1_000 * (seconds("used_cpu_user") + seconds("used_cpu_sys"));
}
