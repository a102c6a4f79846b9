/**
 * A process that reads under a lease, reduced to that: `node lease-process.ts REDIS_URL PREFIX`. It prints a line of JSON when
 * it has the lease, and on every line of its standard input observes a queue twice: as a source would, through a sink that asks
 * the lease first, and past that, straight with its fencing token, as what was on its way already when it was frozen.
 */
import { createInterface } from "node:readline";
import { createClient } from "../../src/redis/connect.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { createLease } from "../../src/redis/lease.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { createTracker } from "../../src/tracker/tracker.ts";
import { silentLogger } from "./logger.ts";

const [, , url = "", prefix = ""] = process.argv;
const redis = createClient({ urls: url.split(","), name: "lease-process", logger: silentLogger });
await redis.connect();
const keys = createKeys(prefix);
const lease = createLease({ redis, keys, name: "faktory", logger: silentLogger });
const tracker = createTracker({
  ...{ redis, keys, logger: silentLogger },
  ...{ eventWindowMs: 60_000, maxWaitMs: 60_000 },
});
const say = (fields: object) => process.stdout.write(`${JSON.stringify(fields)}\n`);

const hold = await lease.acquire(new AbortController().signal);
say({ fence: hold.fence });
for await (const _ of createInterface({ input: process.stdin })) {
  const isHeld = hold.isHeld();
  const observation = {
    queue: "q",
    headAgeMs: 1_000,
    uncertaintyMs: 0,
    depth: 99,
    scheduled: 0,
    paused: false,
  };
  const queues = [{ ...observation, accuracy: "EXACT" as const, readAtMs: monotonicClock.now() }];
  const refusal = await tracker
    .observe({ source: "faktory", queues, freshForMs: 60_000 }, hold.fence)
    .then(() => null)
    .catch((error: Error) => error.name);
  say({ isHeld, refusal });
}
redis.disconnect();
