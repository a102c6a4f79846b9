import { LeaseLostError } from "../core/lease.ts";
import type {
  FollowedCursor,
  FollowedEvent,
  FollowedKind,
  FollowedQueue,
  FollowSink,
  PresentJob,
} from "../core/log-following.ts";
import type { RedisClient } from "../redis/connect.ts";
import { answered } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts } from "../redis/scripts.ts";
import { monotonicClock } from "../runtime/clock.ts";
import { namedReply } from "../runtime/named-reply.ts";
import type { Forget } from "./forget.ts";
import { namePages } from "./name-pages.ts";
import type { QueueIndex } from "./queue-index.ts";

export type Follower = Omit<FollowSink, "observe" | "notes">;

export interface FollowerOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly index: QueueIndex;
  readonly forget: Forget;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

const kinds: Record<FollowedKind, string> = {
  ENQUEUED: "W",
  PROMOTED: "P",
  SCHEDULED: "S",
  DEQUEUED: "T",
  REMOVED: "R",
};
const presentKinds: Record<PresentJob["kind"], string> = { SCHEDULED: "S", ESTIMATED: "E", AT_LEAST: "L" };
/** Names of one source are looked through in pages of this many. */
const pageSize = 1000;

/** Keeps queues whose job system's own log is read: each log line is counted once, whichever process reads it and however often. */
export function createFollower({ redis, keys, index, forget, now }: FollowerOptions): Follower {
  const followScript = loadScript("queueLatencyFollow", new URL("lua/follow.lua", import.meta.url));

  function argsOf(followed: FollowedQueue, name: string, fence: number | undefined): (string | number)[] {
    const { source, events, expected, repair } = followed;
    return [
      now?.() ?? "",
      source,
      fence ?? "",
      followed.fromCursor ?? "",
      followed.toCursor,
      followed.sourceNowMs,
      Math.max(0, Math.round(monotonicClock.now() - followed.readAtMs)),
      Math.ceil(followed.uncertaintyMs),
      followed.freshForMs,
      followed.paused === null ? "" : Number(followed.paused),
      repair?.token ?? "",
      repair?.begin ?? "",
      repair?.sweepFrom ?? "",
      keys.changes,
      name,
      events.length,
      expected.length,
      followed.clockSkewMs ?? "",
      followed.missedUntilMs ?? "",
      ...events.flatMap(eventArgs),
      ...expected,
      ...(repair?.present ?? []).flatMap((job) => [job.jobId, job.sinceMs ?? "", presentKinds[job.kind]]),
    ];
  }

  async function cursorsOf(
    source: string,
    queues: readonly string[],
    found: Map<string, FollowedCursor>,
  ): Promise<void> {
    const fields = queues.map((queue) =>
      redis.hmget(keys.state(`${source}/${queue}`), "source", "cursor", "repair"),
    );
    const states = await answered(Promise.all(fields));
    queues.forEach((queue, i) => {
      const [owner, cursor, repair] = states[i] ?? [];
      if (owner === source && cursor) found.set(queue, { cursor, repairing: Boolean(repair) });
    });
  }

  return {
    async follow(followed, fence) {
      const name = `${followed.source}/${followed.queue}`;
      const [waiting, state, recent, seen] = keys.all(name);
      const [reply] = await runScripts(
        redis,
        followScript,
        [{ keys: [waiting, state, recent, seen] as string[], args: argsOf(followed, name, fence) }],
        // After the script: see recorder.ts.
        [["zadd", keys.index, 0, name]],
      );
      if (reply instanceof Error) throw reply;
      const { newerFence, ...found } = namedReply<FollowReply>(reply);
      if (newerFence !== undefined) throw new LeaseLostError(followed.source, Number(newerFence));
      return {
        applied: found.applied === 1,
        cursor: found.cursor ?? null,
        jobs: found.jobs ?? 0,
        head: found.head ?? null,
        lacksExpected: found.lacksExpected === 1,
        sweepFrom: found.sweepFrom ?? null,
        repairing: found.isRepairing === 1,
      };
    },

    async cursors(source, queues) {
      const found = new Map<string, FollowedCursor>();
      if (queues !== undefined) {
        for (let from = 0; from < queues.length; from += pageSize)
          await cursorsOf(source, queues.slice(from, from + pageSize), found);
        return found;
      }
      const prefix = `${source}/`;
      for await (const names of namePages(index, { prefix, pageSize }))
        await cursorsOf(
          source,
          names.map((name) => name.slice(prefix.length)),
          found,
        );
      return found;
    },

    async gone(source, queue, fence) {
      await forget(`${source}/${queue}`, { source, fence });
    },
  };
}

/** What follow.lua returns, whose header says what it means. */
interface FollowReply {
  readonly newerFence?: string;
  readonly applied?: 0 | 1;
  readonly cursor?: string;
  readonly isRepairing?: 0 | 1;
  readonly jobs?: number;
  readonly head?: string;
  readonly lacksExpected?: 0 | 1;
  readonly sweepFrom?: string;
}

function eventArgs(event: FollowedEvent): (string | number)[] {
  return [kinds[event.kind], event.jobId, event.atMs, event.availableAtMs ?? ""];
}
