import { createHash } from "node:crypto";
import type { Cluster, Redis } from "ioredis";
import { messageOf } from "../core/errors.ts";

/** Runs a script that writes nothing. */
export type ReadOnlyScript = (
  redis: Redis | Cluster,
  keys: readonly string[],
  args: readonly (string | number)[],
) => Promise<unknown>;

/** Run as read-only where Redis can (7.0 and later), so that Redis itself sees to it; otherwise as any script is. */
export function createReadOnlyScript(lua: string): ReadOnlyScript {
  const sha = createHash("sha1").update(lua).digest("hex");
  let mode: "_RO" | "" = "_RO";

  return async function run(redis, keys, args) {
    const rest = [String(keys.length), ...keys, ...args.map(String)];
    try {
      return await redis.call(`EVALSHA${mode}`, sha, ...rest);
    } catch (error) {
      const message = messageOf(error);
      if (message.startsWith("NOSCRIPT")) return await redis.call(`EVAL${mode}`, lua, ...rest);
      if (mode === "" || !/^ERR unknown command/i.test(message)) throw error;
      mode = "";
      return await run(redis, keys, args);
    }
  };
}
