import { AppError } from "../core/errors.ts";
import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import { createRecentMap } from "../runtime/recent-map.ts";

/** Which windows are wanted of what is counted. */
export type CountParts = Pick<SnapshotParts, "throughput" | "waitTime">;

export interface SharedCounts {
  /**
   * The same snapshots with what is counted of their queues. It is read once for all subscribers that are pushed a queue in the same
   * state. It is read again when the state is another one, when a change of a watched queue was received since, or after `holdMs`: a
   * subscriber with a push every second reads every second, and a thousand of them read no more often than one.
   *
   * Null where the source does not report them, and of a stale queue. When Redis did not answer, the windows are absent instead.
   */
  withCounts(
    snapshots: readonly QueueSnapshot[],
    parts: CountParts,
    holdMs: number,
  ): Promise<readonly QueueSnapshot[]>;
}

interface Held {
  readonly of: QueueSnapshot;
  readonly readAtMs: number;
  readonly counted: Promise<QueueSnapshot | undefined>;
}

/** What was read longer ago than this is of no use. */
const maxHoldMs = 900;

export interface SharedCountsOptions {
  readonly read: (queues: readonly string[], parts: SnapshotParts) => Promise<QueueSnapshot[]>;
  /** What is counted of a queue could not be read. */
  readonly onUnavailable: (queue: string) => void;
  readonly clock?: MonotonicClock;
}

export function createSharedCounts({
  read,
  onUnavailable,
  clock = monotonicClock,
}: SharedCountsOptions): SharedCounts {
  /** By what is wanted of which queue. */
  const held = createRecentMap<string, Held>({ maxAgeMs: maxHoldMs, clock });

  function counted(snapshot: QueueSnapshot, parts: CountParts, holdMs: number): Held["counted"] {
    const now = clock.now();
    const key = [[...parts.throughput].sort(), [...parts.waitTime].sort(), snapshot.queue].join(" ");
    const known = held.get(key);
    const { changedAtMs = Number.NEGATIVE_INFINITY } = snapshot;
    const isHeld = known !== undefined && now < known.readAtMs + holdMs && known.readAtMs >= changedAtMs;
    if (isHeld && isSameState(known.of, snapshot)) return known.counted;
    const fresh = read([snapshot.queue], { depth: false, scheduled: false, lost: false, ...parts });
    const entry = { of: snapshot, readAtMs: now, counted: fresh.then(([each]) => each) };
    held.set(key, entry);
    // Those who wait for a read get its failure; later ones read again.
    entry.counted.catch(() => {
      if (held.get(key) === entry) held.delete(key);
    });
    return entry.counted;
  }

  return {
    withCounts: (snapshots, parts, holdMs) =>
      Promise.all(
        snapshots.map(async (snapshot) => {
          // A stale snapshot is the last reading: another one would fail, or have nothing new.
          if (snapshot.stale) return { ...snapshot, throughput: null, waitTime: null };
          try {
            const { throughput = null, waitTime = null } =
              (await counted(snapshot, parts, Math.min(holdMs, maxHoldMs))) ?? {};
            return { ...snapshot, throughput, waitTime };
          } catch (error) {
            if (!(error instanceof AppError)) throw error;
            onUnavailable(snapshot.queue);
            return { ...snapshot, throughput: {}, waitTime: {} };
          }
        }),
      ),
  };
}

/** Whether both are the same state of a queue, but for its growing older. */
function isSameState(a: QueueSnapshot, b: QueueSnapshot): boolean {
  return (
    a.state === b.state &&
    a.source === b.source &&
    a.oldestSinceMs === b.oldestSinceMs &&
    a.depth === b.depth &&
    a.depthIsLowerBound === b.depthIsLowerBound &&
    a.scheduled === b.scheduled &&
    a.lost === b.lost
  );
}
