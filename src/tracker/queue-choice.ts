import { AppError } from "../core/errors.ts";
import type { QueueChoice } from "../core/queue-choice.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts } from "../redis/scripts.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import { namePages } from "./name-pages.ts";
import type { QueueIndex } from "./queue-index.ts";

/** How active a queue is. Instants are in ms by Redis's clock. */
export interface QueueActivity {
  /** When its first event came; 0 for a queue of a job system, and when it is not known. */
  readonly knownSinceMs: number;
  /** When it last had a job or an event; 0 when that is not known. */
  readonly activeAtMs: number;
}

export interface QueueChooserOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly index: Pick<QueueIndex, "list" | "count">;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
  /** Measures how old a ranking is. */
  readonly clock?: MonotonicClock;
}

export interface QueueChooser {
  /**
   * All queues, or, when there are more than `max`, those with the least {@link rankOf}. How active all of them are is read again
   * after five seconds, or half a millisecond for each queue if that is longer.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  choose(max: number): Promise<QueueChoice>;
  /**
   * When the first event of each queue came, in order, in ms by Redis's clock; 0 for a queue of a job system, and when it is not
   * known.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  knownSince(queues: readonly string[]): Promise<readonly number[]>;
}

const activeForMs = 3_600_000;
const pageSize = 500;
const minRankingAgeMs = 5_000;
const rankingAgeMsPerQueue = 0.5;

interface Ranking {
  /** In the order of their bytes. */
  readonly names: readonly string[];
  /** By the position of the name. */
  readonly ranks: Float64Array;
  /** The same ranks, least first: sorting 100,000 numbers takes 10 ms, sorting objects with a function ten times as long. */
  readonly sorted: Float64Array;
  readonly readAtMs: number;
}

export function createQueueChooser(options: QueueChooserOptions): QueueChooser {
  const { redis, keys, index, now, clock = monotonicClock } = options;
  const script = loadScript("queueLatencyActivity", new URL("lua/activity.lua", import.meta.url));
  let ranking: Ranking | undefined;
  let refreshing: Promise<Ranking> | undefined;
  /** What the last ranking found: of a job system's queue only earlier readings show when it last had a job. */
  let seen: ReadonlyMap<string, QueueActivity> = new Map();

  async function readPage(queues: readonly string[], found: Map<string, QueueActivity>): Promise<number> {
    const calls = queues.map((queue) => ({
      keys: [keys.waiting(queue), keys.state(queue), keys.recent(queue)],
      args: [now?.() ?? ""],
    }));
    const replies = await runScripts(redis, script, calls);
    const away = replies.filter((reply) => reply instanceof AppError);
    if (away.length > 0 && away.length === replies.length) throw away[0];
    let nowMs = 0;
    queues.forEach((queue, i) => {
      const reply = replies[i];
      const before = seen.get(queue);
      if (reply instanceof Error) {
        // It cannot be read now: it keeps its place, and the reader of its state says what is wrong.
        found.set(queue, before ?? { knownSinceMs: 0, activeAtMs: Number.POSITIVE_INFINITY });
        return;
      }
      const [atMs, knownSinceMs, activeAtMs] = reply as [now: number, knownSince: number, activeAt: number];
      nowMs = atMs;
      // Redis's clock may have been set back.
      const lastActiveAtMs = Math.max(activeAtMs, Math.min(before?.activeAtMs ?? 0, atMs));
      found.set(queue, { knownSinceMs, activeAtMs: lastActiveAtMs });
    });
    return nowMs;
  }

  async function rank(): Promise<Ranking> {
    const found = new Map<string, QueueActivity>();
    let nowMs = 0;
    for await (const names of namePages(index, { pageSize })) {
      nowMs = Math.max(nowMs, await readPage(names, found));
    }
    seen = found;
    const ranks = Float64Array.from(found.values(), (activity) => rankOf(activity, nowMs));
    return { names: [...found.keys()], ranks, sorted: ranks.toSorted(), readAtMs: clock.now() };
  }

  function refresh(): Promise<Ranking> {
    refreshing ??= rank()
      .then((fresh) => {
        ranking = fresh;
        return fresh;
      })
      .finally(() => {
        refreshing = undefined;
      });
    return refreshing;
  }

  /** With 100,000 queues a ranking takes a second, so one that is not too old is used while the next one is made. */
  async function currentRanking(): Promise<Ranking> {
    const maxAgeMs = Math.max(minRankingAgeMs, rankingAgeMsPerQueue * (ranking?.names.length ?? 0));
    const ageMs = ranking === undefined ? Number.POSITIVE_INFINITY : clock.now() - ranking.readAtMs;
    if (ranking === undefined || ageMs >= 2 * maxAgeMs) return refresh();
    // Best effort: the next caller tries again, and waits once the ranking is too old.
    if (ageMs >= maxAgeMs) refresh().catch(() => {});
    return ranking;
  }

  return {
    async choose(max) {
      const known = await index.count();
      if (known > max) return { names: firstOf(await currentRanking(), max), known };
      const names: string[] = [];
      for await (const page of namePages(index, { pageSize, max })) names.push(...page);
      return { names, known: Math.max(known, names.length) };
    },
    async knownSince(queues) {
      const found = new Map<string, QueueActivity>();
      await readPage(queues, found);
      return queues.map((queue) => found.get(queue)?.knownSinceMs ?? 0);
    },
  };
}

function firstOf({ names, ranks, sorted }: Ranking, max: number): readonly string[] {
  const last = sorted[max - 1];
  if (last === undefined) return max > 0 ? names : [];
  // Of those that share the last rank, the first ones by name.
  let left = max - sorted.indexOf(last);
  return names.filter((_, i) => {
    const rank = ranks[i] as number;
    return rank < last || (rank === last && left-- > 0);
  });
}

/**
 * Decides which queue has a place: the one with the lesser rank. First those that had a job or an event within the last hour, the
 * one that has been known for longest first: so new names, whatever they are, displace no queue that is in use. Then the others,
 * the one that was active last first.
 */
export function rankOf({ knownSinceMs, activeAtMs }: QueueActivity, nowMs: number): number {
  if (activeAtMs > nowMs - activeForMs) return Math.min(knownSinceMs, nowMs);
  return nowMs + 1 + (nowMs - activeAtMs);
}
