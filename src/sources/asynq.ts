import { readFileSync } from "node:fs";
import type { Cluster, Redis } from "ioredis";
import type { EventSink, Observation } from "../core/observation.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { redisOptions } from "../settings/redis-url.ts";
import { createForeignSystems } from "./foreign-systems.ts";
import { headAge, maxAheadMs } from "./head-age.ts";
import { createPolledSource } from "./polled-source.ts";
import { createReadOnlyScript } from "./read-only-script.ts";
import { slotGroups } from "./slot-groups.ts";
import { createWatchedRedis } from "./watched-redis.ts";

export interface AsynqSourceOptions {
  /** `redis://...`: the Redis that asynq uses. It may name one node of a Redis Cluster. */
  readonly url: string;
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. @default "asynq" */
  readonly source?: string;
}

const lua = readFileSync(new URL("lua/asynq.lua", import.meta.url), "utf8");
const queuesPerCall = 50;
const maxQueues = 10_000;
const namesPerScan = 500;

/**
 * Reads every queue in asynq's set of queues from its Redis, which it never changes.
 *
 * - The age is the time of that Redis minus the task's `pending_since`, which the clock of a client or of an asynq server wrote:
 *   ESTIMATED. A task that is due and that no server has moved to the list waits since it was due.
 * - A server that shuts down puts its tasks back without that time, and one that is more than a minute ahead says nothing. Then the
 *   oldest task that has one makes the age a LOWER_BOUND; where none has, it is UNKNOWN.
 * - Tasks of a group that is being aggregated do not wait.
 *
 * @throws StartError when the URL is not that of a Redis.
 */
export function createAsynqSource({ url, source = "asynq", ...options }: AsynqSourceOptions): Service {
  const script = createReadOnlyScript(lua);
  const foreignSystems = createForeignSystems("asynq");
  const watched = createWatchedRedis({
    options: redisOptions(url),
    connectionName: `queue-latency-${source}`,
    prepare: () => {},
  });

  async function read(signal: AbortSignal) {
    return await watched.use(async (redis) => {
      const names = await queueNames(redis);
      const queues: Observation[] = [];
      for (const some of slotGroups(watched, names, queuesPerCall, pendingKey)) {
        signal.throwIfAborted();
        queues.push(...(await readSome(redis, some)));
      }
      const whyEmpty = names.length > 0 ? null : await foreignSystems(redis);
      return { queues, whyEmpty };
    });
  }

  async function readSome(redis: Redis | Cluster, names: readonly string[]): Promise<readonly Observation[]> {
    const sentAtMs = monotonicClock.now();
    const [now, ...fields] = (await script(redis, names.map(pendingKey), [maxAheadMs])) as (
      | string
      | number
    )[];
    const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
    const at = { readAtMs: sentAtMs + uncertaintyMs, uncertaintyMs };
    return names.map((queue, i) => ({
      queue,
      ...at,
      ...stateOf(Number(now), fields.slice(i * rowLength, (i + 1) * rowLength)),
    }));
  }

  return createPolledSource({ ...options, source, read, close: watched.close });
}

const rowLength = 6;

function stateOf(
  nowMs: number,
  [depth, since, untimed, scheduled, active, paused]: readonly (string | number)[],
): Omit<Observation, "queue" | "readAtMs" | "uncertaintyMs"> {
  if (depth === -1)
    return { depth: null, headAgeMs: null, accuracy: "UNKNOWN", scheduled: null, paused: false };
  const state = {
    depth: Number(depth),
    scheduled: Number(scheduled),
    inFlight: Number(active),
    paused: paused === 1,
  };
  if (depth === 0) return { ...state, headAgeMs: null, accuracy: "EXACT" };
  if (since === "") return { ...state, headAgeMs: null, accuracy: "UNKNOWN" };
  return {
    ...state,
    ...headAge(nowMs - Number(since), untimed === 1 ? "LOWER_BOUND" : "ESTIMATED"),
  };
}

async function queueNames(redis: Redis | Cluster): Promise<readonly string[]> {
  const found = new Set<string>();
  let cursor = "0";
  do {
    const [next, names] = await redis.sscan("asynq:queues", cursor, "COUNT", namesPerScan);
    for (const name of names) found.add(name);
    cursor = next;
  } while (cursor !== "0" && found.size <= maxQueues);
  return [...found];
}

function pendingKey(queue: string): string {
  return `asynq:{${queue}}:pending`;
}
