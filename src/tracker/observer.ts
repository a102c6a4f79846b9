import { LeaseLostError } from "../core/lease.ts";
import type { FollowSink } from "../core/log-following.ts";
import type { EventSink, Observation, ObservedCounts } from "../core/observation.ts";
import type { RedisClient } from "../redis/connect.ts";
import { answered } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { allowOutOfMemory, loadScript, runScripts } from "../redis/scripts.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Forget } from "./forget.ts";
import { namePages } from "./name-pages.ts";
import type { QueueIndex } from "./queue-index.ts";

export interface Observer {
  /**
   * Takes down one reading of a job system: all its queues in two round trips, also while Redis is full; those that have gone are
   * forgotten. What an older fence says of a queue is left out, and then no queue is forgotten. A queue that has gone takes its fence
   * with it: should an older reader bring it back all the same, the next reading of the newer one forgets it again.
   */
  observe: EventSink["observe"];
  notes: FollowSink["notes"];
}

export interface ObserverOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly index: QueueIndex;
  readonly forget: Forget;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

/** Names of one source are looked through in pages of this many. */
const pageSize = 1000;

/** One that was counted up to a limit is stored as a negative number: -1 is the null of the replies. */
function storedDepth({ depth, depthIsLowerBound = false }: Observation): number | "" {
  if (depth === null) return "";
  return depthIsLowerBound ? -depth : depth;
}

/** What count-observed.lua takes, from the cursor on. */
function countArgs(counts: ObservedCounts | null): readonly (number | "")[] {
  if (counts === null) return ["", 0, 0, "", 0];
  const nowMs = monotonicClock.now();
  const ago = (atMs: number) => Math.max(0, Math.round(nowMs - atMs));
  const { cursor, sinceMs, untilMs, enqueued, left, isLowerBound = false } = counts;
  const jobs = left.flatMap(({ atMs, waitMs, count = 1 }) => [ago(atMs), waitMs ?? "", count] as const);
  return [cursor, ago(sinceMs), ago(untilMs), enqueued ?? "", Number(isLowerBound), ...jobs];
}

export function createObserver({ redis, keys, index, forget, now }: ObserverOptions): Observer {
  // It writes a few fields of each queue: those of a full Redis are overwritten rather than left to become stale.
  const observeScript = allowOutOfMemory(
    loadScript("queueLatencyObserve", new URL("lua/observe.lua", import.meta.url)),
  );

  const countScript = allowOutOfMemory(
    loadScript("queueLatencyCountObserved", new URL("lua/count-observed.lua", import.meta.url)),
  );

  /** Once for each reading of the counts: they are new less often than heads. */
  async function count(
    source: string,
    observed: readonly Observation[],
    fence: number | undefined,
  ): Promise<void> {
    const counting = observed.filter(({ counts }) => counts !== undefined);
    const replies = await runScripts(
      redis,
      countScript,
      counting.map(({ queue, counts = null }) => ({
        keys: [keys.state(queue), keys.recent(queue)],
        args: [now?.() ?? "", source, fence ?? "", keys.changes, queue, ...countArgs(counts)],
      })),
    );
    const failed = replies.find((reply) => reply instanceof Error);
    if (failed !== undefined) throw failed;
  }

  const pagesOf = (source: string) => namePages(index, { prefix: `${source}/`, pageSize });

  async function forgetGone(source: string, present: ReadonlySet<string>, fence?: number): Promise<void> {
    for await (const names of pagesOf(source))
      for (const name of names) if (!present.has(name)) await forget(name, { source, fence });
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
            Math.max(0, Math.round(monotonicClock.now() - seen.readAtMs)),
            storedDepth(seen),
            seen.scheduled ?? "",
            seen.accuracy,
            Number(seen.paused),
            freshForMs,
            keys.changes,
            seen.queue,
            fence ?? "",
            seen.notes ?? "",
            seen.inFlight ?? "",
            seen.inFlightIdleMs ?? "",
            seen.overtaken?.count ?? "",
            seen.overtaken?.inOrderAgeMs ?? "",
          ],
        })),
      );
      await index.add(named.map(({ queue }) => queue));
      const failed = replies.find((reply) => reply instanceof Error);
      if (failed !== undefined) throw failed;
      const newerFence = -replies.reduce<number>((least, reply) => Math.min(least, Number(reply)), 0);
      if (newerFence > 0) throw new LeaseLostError(source, newerFence);
      await count(source, named, fence);
      await forgetGone(source, new Set(named.map(({ queue }) => queue)), fence);
    },

    async notes(source) {
      const found = new Map<string, string>();
      for await (const names of pagesOf(source)) {
        const fields = names.map((name) => redis.hmget(keys.state(name), "source", "notes"));
        const states = await answered(Promise.all(fields));
        names.forEach((name, i) => {
          const [owner, notes] = states[i] ?? [];
          if (owner === source && notes) found.set(name.slice(source.length + 1), notes);
        });
      }
      return found;
    },
  };
}
