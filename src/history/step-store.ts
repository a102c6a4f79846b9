import { decode } from "@msgpack/msgpack";
import { type HistoryStep, stepSeconds } from "../core/history.ts";
import type { RedisClient } from "../redis/connect.ts";
import { answered, unavailableOr } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScript } from "../redis/scripts.ts";
import { createRecentSteps, type ReadRecentSteps } from "./recent-steps.ts";
import {
  decodeRecord,
  encodeRecord,
  historyBucket,
  type StepCounts,
  type StepRecord,
} from "./step-record.ts";

export interface StepStoreOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** For how long steps are kept after they began, in ms. */
  readonly keptMs: Readonly<Record<HistoryStep, number>>;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: () => number;
}

export interface StoredStep {
  readonly atMs: number;
  readonly record: StepRecord;
}

export interface StepRange {
  readonly fromMs: number;
  /** Exclusive; null: to the newest. */
  readonly toMs: number | null;
  /** @default all of them */
  readonly limit?: number;
}

/** The steps of all queues, in Redis: a stream for each queue and length of step. Rejects with SERVICE_UNAVAILABLE. */
export interface StepStore {
  /** What was counted of a queue in a step of ten seconds that is over, and began less than three minutes ago. */
  countsOf(queue: string, atMs: number): Promise<StepCounts>;
  /**
   * Writes one step and removes expired ones. The first write of a step wins; later writes change nothing. Steps that
   * begin later than now, by Redis's clock, and block the write are removed, too.
   */
  append(queue: string, step: HistoryStep, written: StoredStep): Promise<void>;
  /** In the order of their times; gaps are left out, and so is what is no step. Empty where the key has another type. */
  range(queue: string, step: HistoryStep, range: StepRange): Promise<StoredStep[]>;
  readonly recent: ReadRecentSteps;
  /** When the newest one that began before an instant did; null when there is none. */
  newest(queue: string, step: HistoryStep, beforeMs: number): Promise<number | null>;
  forget(queue: string): Promise<void>;
}

/** tracker/lua/includes/recent.lua counts each step of ten seconds in one of 21 slots that take turns. */
const slotsPerWindow = 20;
const windowSeconds = 200;
/** More than a stream ever holds. */
const everything = 1_000_000;
const noCounts: StepCounts = {
  enqueued: 0,
  dequeued: 0,
  waits: 0,
  sumMs: 0,
  maxMs: 0,
  buckets: new Map(),
};

export function createStepStore({ redis, keys, keptMs, now }: StepStoreOptions): StepStore {
  const dropFutureSteps = loadScript(
    "queueLatencyHistoryDropFutureSteps",
    new URL("lua/drop-future-steps.lua", import.meta.url),
  );

  /** @returns false when the stream has a step of that time, or a later one. */
  async function add(key: string, oldestMs: number, { atMs, record }: StoredStep): Promise<boolean> {
    try {
      await redis.xadd(key, "MINID", "~", oldestMs, `${atMs}-1`, "step", encodeRecord(record));
      return true;
    } catch (error) {
      if (error instanceof Error && /equal or smaller/.test(error.message)) return false;
      throw unavailableOr(error);
    }
  }

  return {
    async countsOf(queue, atMs) {
      const slot = Math.floor(atMs / (stepSeconds.TEN_SECONDS * 1000));
      const fieldOf = (kind: string) => `${kind}${windowSeconds}:${slot % (slotsPerWindow + 1)}`;
      const reply = redis.hmgetBuffer(keys.recent(queue), fieldOf("r"), fieldOf("w"));
      const [rates, waits] = await answered(reply);
      const [ratesSlot, enqueued = 0, dequeued = 0] = (rates?.toString() ?? "").split(" ").map(Number);
      const packed = waits == null ? [] : (decode(waits) as number[]);
      const [waitsSlot, count = 0, sumMs = 0, maxMs = 0] = packed;
      return {
        ...noCounts,
        ...(ratesSlot === slot ? { enqueued, dequeued } : {}),
        ...(waitsSlot === slot ? { waits: count, sumMs, maxMs, buckets: bucketsIn(packed) } : {}),
      };
    },
    async append(queue, step, written) {
      const key = keys.history(queue, step);
      const oldestMs = Math.max(0, written.atMs - keptMs[step]);
      const expire = () => answered(redis.pexpire(key, keptMs[step] + stepSeconds[step] * 1000));
      const [isAdded] = await Promise.all([add(key, oldestMs, written), expire()]);
      if (isAdded) return;
      const dropped = await runScript(redis, dropFutureSteps, { keys: [key], args: [now?.() ?? ""] });
      if (dropped === 0) return;
      await add(key, oldestMs, written);
      await expire();
    },
    async range(queue, step, { fromMs, toMs, limit }) {
      const to = toMs === null ? "+" : `(${toMs}-0`;
      const from = Math.max(0, fromMs);
      const entries = await unlessWrongType(
        redis.xrangeBuffer(keys.history(queue, step), from, to, "COUNT", limit ?? everything),
      );
      const steps: StoredStep[] = [];
      for (const [id, [, bytes]] of entries) {
        try {
          if (bytes !== undefined)
            steps.push({ atMs: Number.parseInt(id.toString(), 10), record: decodeRecord(bytes) });
        } catch {
          // Not a step. An unreadable step is a gap and must not hide all others.
        }
      }
      return steps;
    },
    recent: createRecentSteps({ redis, keys }),
    async newest(queue, step, beforeMs) {
      const key = keys.history(queue, step);
      const [entry] = await unlessWrongType(redis.xrevrange(key, `(${beforeMs}-0`, "-", "COUNT", 1));
      return entry === undefined ? null : Number.parseInt(entry[0], 10);
    },
    async forget(queue) {
      const steps = Object.keys(stepSeconds) as HistoryStep[];
      await answered(redis.unlink(...steps.map((step) => keys.history(queue, step))));
    },
  };
}

function bucketsIn(packed: readonly number[]): ReadonlyMap<number, number> {
  const buckets = new Map<number, number>();
  for (let i = 4; i + 1 < packed.length; i += 2) {
    const bucket = historyBucket(packed[i] ?? 0);
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + (packed[i + 1] ?? 0));
  }
  return buckets;
}

/** A key of another type has no steps: one broken key of one queue fails no answer that holds others. */
async function unlessWrongType<T>(reply: Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await answered(reply);
  } catch (error) {
    if (error instanceof Error && error.message.startsWith("WRONGTYPE")) return [];
    throw error;
  }
}
