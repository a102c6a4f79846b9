/**
 * A server process reduced to its embedded Redis: `node embedded-redis-process.ts DATA_DIR`. It prints one line of JSON when
 * it is ready, and stops when its standard input ends. With a second argument it is forgetful: it ends without stopping.
 */
import { once } from "node:events";
import { createEmbeddedRedis } from "../../src/redis/embedded/embedded-redis.ts";

const [, , dataDir = "", forgetful] = process.argv;
const ignore = () => {};
const logger = {
  debug: ignore,
  info: (fields: Readonly<Record<string, unknown>>, message: string) => {
    if (message === "redis-server is ready") process.stdout.write(`${JSON.stringify(fields)}\n`);
  },
  warn: ignore,
  error: (fields: Readonly<Record<string, unknown>>, message: string) => {
    process.stderr.write(`${message} ${JSON.stringify(fields)}\n`);
  },
};
const redis = createEmbeddedRedis({ dataDir, logger });
await redis.start();
if (forgetful === undefined) {
  await once(process.stdin.resume(), "end");
  await redis.stop();
}
