import { AppError } from "../core/errors.ts";
import type { WaitingJob } from "../core/snapshot.ts";
import type { ClockWatch } from "../redis/clock-watch.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts } from "../redis/scripts.ts";
import { namedReply } from "../runtime/named-reply.ts";
import { ownerIn } from "./queue-owner.ts";

export interface WaitingListOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly maxWaitMs: number;
  readonly clocks: Pick<ClockWatch, "stepsOf">;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

/**
 * The jobs of a queue that have waited longest, oldest first. Empty when no job waits, or the queue is not known; of a queue
 * that a job system's log reports, `attempt` is always 0.
 *
 * @throws AppError BAD_USER_INPUT when only a job system knows the queue's jobs; SERVICE_UNAVAILABLE.
 */
export type WaitingList = (queue: string, first: number) => Promise<WaitingJob[]>;

export function createWaitingList({ redis, keys, maxWaitMs, clocks, now }: WaitingListOptions): WaitingList {
  const script = loadScript("queueLatencyWaiting", new URL("lua/waiting.lua", import.meta.url));
  return async (queue, first) => {
    if (first < 1) return [];
    const maxMs = maxWaitMs + clocks.stepsOf(queue).aheadMs(maxWaitMs);
    const call = { keys: [keys.waiting(queue), keys.state(queue)], args: [now?.() ?? "", maxMs, first] };
    const [reply] = await runScripts(redis, script, [call]);
    if (reply instanceof Error) {
      const source = ownerIn(reply);
      if (source === null) throw reply;
      const problem = `expected a queue whose jobs are known here; those of this one are known to ${source} alone`;
      throw new AppError("BAD_USER_INPUT", problem);
    }
    const { now: nowMs, isFollowed, jobs } = namedReply<WaitingReply>(reply);
    return Array.from({ length: jobs.length / 2 }, (_, i): WaitingJob => {
      const sinceMs = Number(jobs[2 * i + 1]);
      const identity = identityOf(String(jobs[2 * i]), isFollowed === 1);
      return { ...identity, sinceMs, waitedMs: Math.max(0, nowMs - sinceMs) };
    });
  };
}

/** What waiting.lua returns. */
interface WaitingReply {
  readonly now: number;
  readonly isFollowed: 0 | 1;
  readonly jobs: readonly (string | number)[];
}

function identityOf(
  member: string,
  isFollowed: boolean,
): { readonly jobId: string; readonly attempt: number } {
  if (isFollowed) return { jobId: member, attempt: 0 };
  const colon = member.indexOf(":");
  return { jobId: member.slice(colon + 1), attempt: Number(member.slice(0, colon)) };
}
