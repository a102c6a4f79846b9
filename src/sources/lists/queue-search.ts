import type { Redis } from "ioredis";
import { monotonicClock } from "../../runtime/clock.ts";
import type { ResumedScan } from "../resumed-scan.ts";
import type { OpenedSystem } from "./list-system.ts";

/** Which queues there are, in small steps: no reading looks through all keys. */
export interface QueueSearch {
  /** Looks a little further, and returns all queues that are known now. */
  step(redis: Redis): Promise<readonly string[]>;
  /** These exist. */
  found(names: readonly string[]): void;
  /** Whether all keys were looked at. */
  isPassed(): boolean;
}

export interface QueueSearchOptions {
  readonly opened: OpenedSystem;
  /** Only these; null: all that there are. */
  readonly named: readonly string[] | null;
  readonly maxQueues: number;
  readonly isUsable: (name: string) => boolean;
  readonly keys: ResumedScan;
  readonly onTooMany: () => void;
}

const keysPerScan = 1_000;
/** A queue that no list names is kept so long after it was last seen with a job, and through two looks at all keys. */
const keptMs = 600_000;

export function createQueueSearch(options: QueueSearchOptions): QueueSearch {
  const { opened, named, maxQueues, isUsable, keys, onTooMany } = options;
  const { scan } = opened;
  /** When each was last seen, by monotonicClock, and in which look at all keys. */
  const seen = new Map<string, { readonly atMs: number; readonly pass: number }>();
  const isScanned = scan !== null && named === null;

  function found(names: readonly string[]): void {
    if (named !== null) return;
    for (const name of names) {
      if (!isUsable(name)) continue;
      if (seen.size >= maxQueues && !seen.has(name)) onTooMany();
      else seen.set(name, { atMs: monotonicClock.now(), pass: keys.passes });
    }
  }

  async function scanOn(redis: Redis): Promise<void> {
    if (scan === null || !isScanned) return;
    await keys.step(async (position) => {
      const match = ["MATCH", scan.pattern, "COUNT", keysPerScan] as const;
      const [next, page] = await (scan.type === null
        ? redis.scan(position, ...match)
        : redis.scan(position, ...match, "TYPE", scan.type));
      found(await scan.queuesOf(redis, page));
      return next;
    });
  }

  return {
    async step(redis) {
      if (named !== null) return named.filter(isUsable);
      const listed = await opened.listed(redis, maxQueues + 1);
      await scanOn(redis);
      const usable = listed.filter(isUsable);
      if (usable.length > maxQueues) onTooMany();
      const names = new Set(usable.slice(0, maxQueues));
      const nowMs = monotonicClock.now();
      for (const [name, last] of seen) {
        const isOld =
          nowMs - last.atMs > keptMs && (!isScanned || keys.isRefused || keys.passes > last.pass + 2);
        if (isOld) seen.delete(name);
        else if (names.size < maxQueues) names.add(name);
      }
      return [...names];
    },
    found,
    isPassed: () => !isScanned || keys.isRefused || keys.passes > 0,
  };
}
