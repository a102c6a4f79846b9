import DataLoader from "dataloader";
import { Cluster } from "ioredis";
import { AppError } from "../core/errors.ts";
import type { RecentStep } from "../core/history.ts";
import type { RedisClient } from "../redis/connect.ts";
import { unavailableOr } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts } from "../redis/scripts.ts";
import { decodeRecentStep } from "./recent-step.ts";

export interface RecentStepsOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
}

/**
 * The steps of ten seconds of a queue that began at an instant or later, in the order of their times; gaps are left out, and so is
 * what is no step. Empty where the key has another type. All reads of one tick of the event loop share a round trip.
 *
 * @param max at most this number of them, the newest ones. @default all of them
 * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
 */
export type ReadRecentSteps = (queue: string, fromMs: number, max?: number) => Promise<RecentStep[]>;

interface Wanted {
  readonly queue: string;
  readonly fromMs: number;
  readonly max: number | undefined;
}

/** A call of the script blocks Redis: for five minutes of this number of queues about a millisecond. */
const queuesPerCall = 25;
/** For the script. */
const allSteps = "";

/** For the health of thousands of queues at once. */
export function createRecentSteps({ redis, keys }: RecentStepsOptions): ReadRecentSteps {
  const script = {
    ...loadScript("queueLatencyRecentSteps", new URL("lua/recent-steps.lua", import.meta.url)),
    repliesBytes: true,
  };
  // In a Redis Cluster each queue has a slot of its own, and no call may have keys of two.
  const perCall = redis instanceof Cluster ? 1 : queuesPerCall;

  async function readAll(wanted: readonly Wanted[]): Promise<(RecentStep[] | Error)[]> {
    const calls = Array.from({ length: Math.ceil(wanted.length / perCall) }, (_, i) =>
      wanted.slice(i * perCall, (i + 1) * perCall),
    );
    const replies = await runScripts(
      redis,
      script,
      calls.map((asked) => ({
        keys: asked.map(({ queue }) => keys.history(queue, "TEN_SECONDS")),
        args: asked.flatMap(({ fromMs, max }) => [Math.max(0, fromMs), max ?? allSteps]),
      })),
    );
    return calls.flatMap((asked, i) => {
      const reply = replies[i];
      return asked.map((_, j) => stepsOf(Array.isArray(reply) ? reply[j] : reply));
    });
  }

  const loader = new DataLoader<Wanted, RecentStep[]>(readAll, {
    cache: false,
    batchScheduleFn: setImmediate,
  });
  return (queue, fromMs, max) => loader.load({ queue, fromMs, max });
}

/** A key of another type has no steps: one broken key of one queue fails no answer that holds others. */
function stepsOf(reply: unknown): RecentStep[] | Error {
  if (reply instanceof AppError) return reply;
  if (reply instanceof Error) return reply.message.startsWith("WRONGTYPE") ? [] : unavailableOr(reply);
  return Buffer.isBuffer(reply) ? decodeAll(reply) : new Error("expected steps of a history in one text");
}

function decodeAll(packed: Buffer): RecentStep[] {
  const steps: RecentStep[] = [];
  for (let at = 0; at < packed.length; ) {
    const atMs = packed.readDoubleBE(at);
    const start = at + 10;
    at = start + packed.readUInt16BE(at + 8);
    try {
      steps.push(decodeRecentStep(atMs, packed.subarray(start, at)));
    } catch {
      // An unreadable step is a gap and must not hide all others.
    }
  }
  return steps;
}
