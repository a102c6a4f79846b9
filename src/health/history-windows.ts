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
   * @param isEnough whether the newest steps are enough: then no more are read. @default all of the window are wanted
   */
  of(
    queue: string,
    nowMs: number,
    isEnough?: IsEnough,
  ): readonly RecentStep[] | Promise<readonly RecentStep[]>;
}

export type IsEnough = (newest: readonly RecentStep[]) => boolean;

export interface HistoryWindowsOptions {
  readonly history: Pick<HistoryReader, "latest">;
  readonly clock?: MonotonicClock;
}

/** What is known of the history of a queue. */
interface Known {
  /** In the order of their times. */
  readonly steps: readonly RecentStep[];
  /** All steps that began at this instant or later are known; -Infinity: all of the window. */
  readonly fromMs: number;
}

interface Held {
  readonly readAtMs: number;
  readonly known: Known | Promise<Known>;
}

/**
 * Half a step: no step is missed for long, and a client that reads all queues each second does not read all histories
 * each second.
 */
const holdMs = 5_000;
/** After so long without a reading, the steps of a queue are not kept. */
const keepMs = 60_000;
/** Read first where these may be enough: a tenth of the window. */
const newestSteps = 3;

/** Reads only the steps that have come since, and the last one that is known: without it, the queue has a history of its own again. */
export function createHistoryWindows(options: HistoryWindowsOptions): HistoryWindows {
  const { history, clock = monotonicClock } = options;
  /** By queue; the oldest read stands first. */
  const held = new Map<string, Held>();

  async function latest(queue: string, sinceMs: number, max?: number): Promise<RecentStep[]> {
    const [steps = []] = await history.latest([queue], sinceMs, ...(max === undefined ? [] : [max]));
    return steps;
  }

  /** @returns null when the last step that is known has gone: then none of those before counts any more. */
  async function readOn(queue: string, { steps, fromMs }: Known, sinceMs: number): Promise<Known | null> {
    const last = steps.at(-1);
    if (last === undefined || last.atMs < sinceMs) return null;
    const [same, ...newer] = await latest(queue, last.atMs);
    if (same?.atMs !== last.atMs) return null;
    return { steps: [...steps.filter(({ atMs }) => atMs >= sinceMs), ...newer], fromMs };
  }

  /** Fewer than asked for may be all there are, or one of them was no step. */
  async function readNewest(queue: string, sinceMs: number): Promise<Known> {
    const steps = await latest(queue, sinceMs, newestSteps);
    return { steps, fromMs: steps[0]?.atMs ?? Number.POSITIVE_INFINITY };
  }

  /** One queue at a time: in a Redis Cluster one node may be away. All are asked in the same tick, and so in one go. */
  async function read(
    queue: string,
    before: Known | undefined,
    sinceMs: number,
    isEnough: IsEnough | undefined,
  ): Promise<Known> {
    try {
      const known =
        (before === undefined ? null : await readOn(queue, before, sinceMs)) ??
        (isEnough === undefined ? null : await readNewest(queue, sinceMs));
      if (known !== null && suffices(known, sinceMs, isEnough)) return known;
      return { steps: await latest(queue, sinceMs), fromMs: -Infinity };
    } catch (error) {
      held.delete(queue);
      if (isUnavailable(error)) return { steps: [], fromMs: -Infinity };
      throw error;
    }
  }

  function forgetUnused(now: number): void {
    for (const [oldest, { readAtMs }] of held) {
      if (now < readAtMs + keepMs) break;
      held.delete(oldest);
    }
  }

  function begin(
    queue: string,
    before: Known | undefined,
    sinceMs: number,
    isEnough: IsEnough | undefined,
  ): Promise<readonly RecentStep[]> {
    const now = clock.now();
    forgetUnused(now);
    const reading = read(queue, before, sinceMs, isEnough);
    const entry: Held = { readAtMs: now, known: reading };
    held.delete(queue);
    held.set(queue, entry);
    reading.then(
      (known) => {
        if (held.get(queue) === entry) held.set(queue, { ...entry, known });
      },
      () => {},
    );
    return reading.then(({ steps }) => steps);
  }

  function of(
    queue: string,
    nowMs: number,
    isEnough?: IsEnough,
  ): readonly RecentStep[] | Promise<readonly RecentStep[]> {
    const sinceMs = nowMs - windowMs;
    const { readAtMs, known } = held.get(queue) ?? {};
    const isFresh = readAtMs !== undefined && clock.now() < readAtMs + holdMs;
    if (known instanceof Promise) {
      if (!isFresh) return begin(queue, undefined, sinceMs, isEnough);
      return known.then((read) =>
        suffices(read, sinceMs, isEnough) ? read.steps : of(queue, nowMs, isEnough),
      );
    }
    if (known === undefined) return begin(queue, undefined, sinceMs, isEnough);
    if (isFresh && suffices(known, sinceMs, isEnough)) return known.steps;
    // The newest steps are of no use where all are wanted, and have been found not to be enough where they are fresh.
    const isOfUse = !isFresh && (isEnough !== undefined || known.fromMs <= sinceMs);
    return begin(queue, isOfUse ? known : undefined, sinceMs, isFresh ? undefined : isEnough);
  }

  return { of };
}

function suffices({ steps, fromMs }: Known, sinceMs: number, isEnough: IsEnough | undefined): boolean {
  return fromMs <= sinceMs || isEnough?.(steps) === true;
}
