import { isUnavailable } from "../core/errors.ts";
import type { HistoryReader, RecentStep } from "../core/history.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import { windowMs } from "./window.ts";

/** The last five minutes of the history of queues, kept in memory. */
export interface HistoryWindows {
  /**
   * Steps that were read at most {@link holdMs} ago; a value where they are kept, since 10,000 queues are asked for at once. Empty
   * when Redis does not answer.
   *
   * @param nowMs by the queue's Redis.
   */
  of(queue: string, nowMs: number): readonly RecentStep[] | Promise<readonly RecentStep[]>;
}

export interface HistoryWindowsOptions {
  readonly history: Pick<HistoryReader, "latest">;
  readonly clock?: MonotonicClock;
}

interface Held {
  readonly readAtMs: number;
  readonly steps: readonly RecentStep[] | Promise<readonly RecentStep[]>;
}

/**
 * Half a step: no step is missed for long, and a client that reads all queues each second does not read all histories
 * each second.
 */
const holdMs = 5_000;
/** After so long without a reading, the steps of a queue are not kept. */
const keepMs = 60_000;

/** Reads only the steps that have come since, and the last one that is known: without it, the queue has a history of its own again. */
export function createHistoryWindows(options: HistoryWindowsOptions): HistoryWindows {
  const { history, clock = monotonicClock } = options;
  /** By queue; the oldest read stands first. */
  const held = new Map<string, Held>();

  /** One queue at a time: in a Redis Cluster one node may be away. All are asked in the same tick, and so in one go. */
  async function read(
    queue: string,
    known: readonly RecentStep[],
    nowMs: number,
  ): Promise<readonly RecentStep[]> {
    const sinceMs = nowMs - windowMs;
    const last = known.at(-1);
    try {
      if (last !== undefined && last.atMs >= sinceMs) {
        const [[same, ...newer] = []] = await history.latest([queue], last.atMs);
        if (same?.atMs === last.atMs) return [...known.filter(({ atMs }) => atMs >= sinceMs), ...newer];
      }
      const [steps = []] = await history.latest([queue], sinceMs);
      return steps;
    } catch (error) {
      held.delete(queue);
      if (isUnavailable(error)) return [];
      throw error;
    }
  }

  function forgetUnused(now: number): void {
    for (const [oldest, { readAtMs }] of held) {
      if (now < readAtMs + keepMs) break;
      held.delete(oldest);
    }
  }

  return {
    of(queue, nowMs) {
      const now = clock.now();
      const known = held.get(queue);
      if (known !== undefined && now < known.readAtMs + holdMs) return known.steps;
      forgetUnused(now);
      const before = known === undefined || known.steps instanceof Promise ? [] : known.steps;
      const steps = read(queue, before, nowMs);
      const entry: Held = { readAtMs: now, steps };
      held.delete(queue);
      held.set(queue, entry);
      steps.then(
        (settled) => {
          if (held.get(queue) === entry) held.set(queue, { ...entry, steps: settled });
        },
        () => {},
      );
      return steps;
    },
  };
}
