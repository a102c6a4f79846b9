import slotOf from "cluster-key-slot";
import { Cluster, type Redis } from "ioredis";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { type ClockSteps, createClockSteps } from "./clock-steps.ts";
import type { RedisClient } from "./connect.ts";
import type { Keys } from "./keys.ts";

/** Watches the clock of each Redis, and logs when one was set. */
export interface ClockWatch extends Service {
  /** Of the Redis that has a queue; of a Redis Cluster, the master that is known to serve it. */
  stepsOf(queue: string): ClockSteps;
}

export interface ClockWatchOptions {
  readonly redis: RedisClient;
  readonly keys: Pick<Keys, "state">;
  readonly logger: Logger;
  readonly clock?: MonotonicClock | undefined;
  /** Called when a clock was set, after it was logged. */
  readonly onSet?: (() => void) | undefined;
  /** For clocks that nothing else asks for. @default 5_000 // 5 seconds */
  readonly everyMs?: number;
}

export function createClockWatch({
  redis,
  keys,
  logger,
  clock = monotonicClock,
  onSet = () => {},
  everyMs = 5_000,
}: ClockWatchOptions): ClockWatch {
  /** By host and port; of one Redis, by "". */
  const byNode = new Map<string, ClockSteps>();
  let timer: NodeJS.Timeout | undefined;

  function stepsAt(node: string): ClockSteps {
    const known = byNode.get(node);
    if (known !== undefined) return known;
    const steps = createClockSteps({ clock });
    const logged: ClockSteps = {
      ...steps,
      observe(...answer) {
        const byMs = steps.observe(...answer);
        if (byMs !== 0) {
          const fields = { seconds: Math.round(byMs / 1_000), ...(node === "" ? {} : { node }) };
          logger.warn(
            fields,
            "the clock of Redis was set; queues with jobs from before are UNKNOWN until these have left",
          );
          onSet();
        }
        return byMs;
      },
    };
    byNode.set(node, logged);
    return logged;
  }

  async function ask(node: Redis, name: string): Promise<void> {
    const sentAtMs = clock.now();
    const [seconds, microseconds] = (await node.time()) as unknown as readonly (string | number)[];
    const redisNowMs = Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
    stepsAt(name).observe(redisNowMs, sentAtMs, clock.now());
  }

  /** One that does not answer is asked again in the next round. */
  function askAll(): void {
    if (!(redis instanceof Cluster)) {
      ask(redis, "").catch(() => {});
      return;
    }
    const masters = redis
      .nodes("master")
      .map((node) => [node, `${node.options.host}:${node.options.port}`] as const);
    const names = new Set<string>(masters.map(([, name]) => name));
    for (const name of byNode.keys()) if (!names.has(name)) byNode.delete(name);
    for (const [node, name] of masters) ask(node, name).catch(() => {});
  }

  return {
    stepsOf: (queue) =>
      stepsAt(redis instanceof Cluster ? (redis.slots[slotOf(keys.state(queue))]?.[0] ?? "") : ""),
    async start() {
      askAll();
      timer = setInterval(askAll, everyMs);
      timer.unref();
    },
    async stop() {
      clearInterval(timer);
    },
  };
}
