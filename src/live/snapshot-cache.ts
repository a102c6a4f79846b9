import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { ChangeFeed } from "./change-feed.ts";

type Read = (queues: readonly string[], parts: SnapshotParts) => Promise<QueueSnapshot[]>;

export interface SnapshotCacheOptions {
  readonly feed: Pick<ChangeFeed, "isConnected" | "listen">;
  readonly read: Read;
  /** Maximum age of a snapshot that is used again; 0 disables the cache. */
  readonly maxAgeMs: number;
  /** Whether every node of Redis can be reached; while one is away, nothing is used again. */
  readonly isWhole: () => boolean;
  readonly clock?: MonotonicClock;
}

/** Snapshots that answer more than one query. */
export interface SnapshotCache {
  /**
   * The state of queues, in the order asked. A snapshot is used again while it is at most `maxAgeMs` old and no change of its queue
   * was received since its read began; `measuredAtMs` says when it was read. A read that is under way is joined on the same terms.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  readonly read: Read;
  /** Forgets the snapshots of these queues: this process has changed them, and its next answer shows it. */
  drop(queues: Iterable<string>): void;
  /** Forgets all of them. */
  clear(): void;
}

interface Entry {
  readonly startedAtMs: number;
  readonly batch: Promise<QueueSnapshot[]>;
  readonly index: number;
  /** Once it is read. */
  snapshot: QueueSnapshot | undefined;
}

/** By queue, then by the parts that were read. */
type Generation = Map<string, Map<string, Entry>>;

export function createSnapshotCache(options: SnapshotCacheOptions): SnapshotCache {
  const { feed, read, maxAgeMs, isWhole, clock = monotonicClock } = options;
  /** Entries live in the generation in which they were read and the next one, so nothing has to be searched for what is too old. */
  let current: Generation = new Map();
  let previous: Generation = new Map();
  let turnedAtMs = clock.now();

  function clear(): void {
    current = new Map();
    previous = new Map();
  }

  function drop(queue: string): void {
    current.delete(queue);
    previous.delete(queue);
  }

  function turn(nowMs: number): void {
    if (nowMs - turnedAtMs <= maxAgeMs) return;
    previous = nowMs - turnedAtMs <= 2 * maxAgeMs ? current : new Map();
    current = new Map();
    turnedAtMs = nowMs;
  }

  function find(queue: string, key: string, nowMs: number): Entry | undefined {
    const entry = current.get(queue)?.get(key) ?? previous.get(queue)?.get(key);
    if (entry === undefined) return undefined;
    const ageMs = nowMs - entry.startedAtMs;
    if (ageMs > maxAgeMs) return undefined;
    const { measuredAtMs = 0, changesAtMs = null } = entry.snapshot ?? {};
    return changesAtMs !== null && measuredAtMs + ageMs >= changesAtMs ? undefined : entry;
  }

  function begin(queues: readonly string[], parts: SnapshotParts, key: string, nowMs: number): Entry[] {
    const batch = read(queues, parts);
    const entries = queues.map(
      (_, index): Entry => ({ startedAtMs: nowMs, batch, index, snapshot: undefined }),
    );
    queues.forEach((queue, i) => {
      const ofQueue = current.get(queue) ?? new Map<string, Entry>();
      current.set(queue, ofQueue.set(key, entries[i] as Entry));
    });
    batch.then(
      (snapshots) => {
        for (const entry of entries) entry.snapshot = snapshots[entry.index];
      },
      // A failure is not kept, and what was read of other queues before it may not be true any more.
      () => clear(),
    );
    return entries;
  }

  feed.listen({ onChange: drop, onConnected: clear, onDisconnected: clear });

  return {
    async read(queues, parts) {
      if (maxAgeMs === 0 || !feed.isConnected || !isWhole()) return await read(queues, parts);
      const nowMs = clock.now();
      turn(nowMs);
      const key = keyOf(parts);
      const entries: (Entry | undefined)[] = [];
      const known: QueueSnapshot[] = [];
      for (const queue of queues) {
        const entry = find(queue, key, nowMs);
        entries.push(entry);
        if (entry?.snapshot !== undefined) known.push(entry.snapshot);
      }
      if (known.length === queues.length) return known;
      const missing = [...new Set(queues.filter((_, i) => entries[i] === undefined))];
      const begun = new Map(
        missing.length === 0
          ? []
          : begin(missing, parts, key, nowMs).map((entry) => [missing[entry.index] as string, entry]),
      );
      const found = queues.map((queue, i) => entries[i] ?? (begun.get(queue) as Entry));
      return await Promise.all(
        found.map(async (entry) => entry.snapshot ?? ((await entry.batch)[entry.index] as QueueSnapshot)),
      );
    },
    drop(queues) {
      for (const queue of queues) drop(queue);
    },
    clear,
  };
}

const keys = new WeakMap<SnapshotParts, string>();

function keyOf(parts: SnapshotParts): string {
  const before = keys.get(parts);
  if (before !== undefined) return before;
  const { depth, scheduled, lost, totals, throughput, waitTime } = parts;
  const key = `${depth} ${scheduled} ${lost} ${totals === true} ${[...throughput].sort()} ${[...waitTime].sort()}`;
  keys.set(parts, key);
  return key;
}
