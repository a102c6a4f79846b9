import type { Redis } from "ioredis";
import { processClock } from "../core/clock.ts";
import { LeaseLostError } from "../core/lease.ts";
import type { EventSink } from "../core/observation.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScript, runScripts } from "../redis/scripts.ts";
import type { QueueIndex } from "./queue-index.ts";

export interface Observer {
  /**
   * Takes down one reading of a job system: all its queues in one round trip; those that have gone are forgotten. What an
   * older fence says of a queue is left out, and then no queue is forgotten. A queue that has gone takes its fence with it:
   * should an older reader bring it back all the same, the next reading of the newer one forgets it again.
   */
  observe: EventSink["observe"];
  /** Removes all that is known of a queue. @returns false when nothing was. */
  forget(queue: string): Promise<boolean>;
}

export interface ObserverOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly index: QueueIndex;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

/** Names of one source are looked through in pages of this many. */
const page = 1000;

export function createObserver({ redis, keys, index, now }: ObserverOptions): Observer {
  const observeScript = loadScript("queueLatencyObserve", new URL("lua/observe.lua", import.meta.url));
  const forgetScript = loadScript("queueLatencyForget", new URL("lua/forget.lua", import.meta.url));

  /** Out of the index last: one that is listed without a state is passed over, the other way round it would be hidden. */
  async function forgetOf(queue: string, source: string, fence: number | ""): Promise<boolean> {
    const reply = await runScript(redis, forgetScript, {
      keys: keys.all(queue),
      args: [keys.changes, queue, source, fence],
    });
    if (reply === -2) throw new LeaseLostError(source);
    if (reply !== -1) await index.removeUnless(queue, keys.state(queue));
    return reply === 1;
  }

  async function forgetGone(source: string, present: ReadonlySet<string>, fence: number | ""): Promise<void> {
    let after: string | null = null;
    for (;;) {
      const names: string[] = await index.list({ prefix: `${source}/`, after, limit: page });
      for (const name of names) if (!present.has(name)) await forgetOf(name, source, fence);
      after = names.at(-1) ?? null;
      if (names.length < page) return;
    }
  }

  return {
    async observe({ source, queues, freshForMs }, fence) {
      const named = queues.map((observation) => ({
        ...observation,
        queue: `${source}/${observation.queue}`,
      }));
      const replies = await runScripts(
        redis,
        observeScript,
        named.map((seen) => ({
          keys: [keys.state(seen.queue)],
          args: [
            now?.() ?? "",
            source,
            seen.headAgeMs ?? "",
            seen.uncertaintyMs,
            Math.max(0, Math.round(processClock.now() - seen.readAtMs)),
            seen.depth,
            seen.scheduled,
            seen.accuracy,
            Number(seen.paused),
            freshForMs,
            keys.changes,
            seen.queue,
            fence ?? "",
          ],
        })),
        named.length === 0 ? [] : [["zadd", keys.index, ...named.flatMap(({ queue }) => [0, queue])]],
      );
      const failed = replies.find((reply) => reply instanceof Error);
      if (failed !== undefined) throw failed;
      if (replies.includes(-1)) throw new LeaseLostError(source);
      await forgetGone(source, new Set(named.map(({ queue }) => queue)), fence ?? "");
    },
    forget: (queue) => forgetOf(queue, "", ""),
  };
}
