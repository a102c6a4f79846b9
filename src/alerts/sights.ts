import type { AlertFacts } from "../core/alerts.ts";
import type { Health } from "../core/health.ts";
import type { Logger } from "../core/logger.ts";
import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import { createHealthMemory } from "./health-memory.ts";
import type { AlertRule } from "./rules.ts";
import { type Finding, findingOf } from "./verdict.ts";

/** What alerts are decided by: names of queues, how they stand, and how they fare. */
export interface Sights {
  /** In the order of their bytes, those behind `after`. */
  list(options: { readonly after: string | null; readonly limit: number }): Promise<string[]>;
  read(queues: readonly string[], parts: SnapshotParts): Promise<QueueSnapshot[]>;
  /** One for each snapshot, in order. */
  healthOf(snapshots: readonly QueueSnapshot[]): Promise<readonly Health[]>;
}

/** A queue that at least one rule is about. */
export interface WatchedQueue {
  readonly queue: string;
  readonly rules: readonly AlertRule[];
}

/** How it stands in one round. */
export interface Sight extends WatchedQueue {
  /** Null: it cannot be read. */
  readonly snapshot: QueueSnapshot | null;
  /** UNKNOWN also when nobody asked. */
  readonly health: Health;
}

const noWindows: ReadonlySet<never> = new Set();
const depthOnly: SnapshotParts = {
  ...{ depth: true, scheduled: false, lost: false },
  ...{ throughput: noWindows, waitTime: noWindows },
};
const withWaits: SnapshotParts = { ...depthOnly, waitTime: new Set(["FIVE_MINUTES"]) };
const withRates: SnapshotParts = { ...depthOnly, throughput: new Set(["ONE_MINUTE"]) };

/** Looks at queues for the rules that are about them, and no closer than these need. */
export function createLookout({ read, healthOf }: Sights, logger: Logger) {
  const memory = createHealthMemory();
  const saidBlind = new Set<string>();

  return {
    /**
     * Each queue for itself: at a Redis Cluster one may be out of reach, and all reads of one tick share their round trips anyway.
     *
     * @param isPending whether the health of a queue is asked for though no rule is about it: it will be one of the facts.
     */
    async look(
      queues: readonly WatchedQueue[],
      isPending: (queue: WatchedQueue) => boolean,
      nowMs: number,
    ): Promise<Sight[]> {
      const snapshots = await each(queues, async ({ queue, rules }) => {
        const parts = rules.some(isAboutWaits) ? withWaits : depthOnly;
        return (await read([queue], parts))[0];
      });
      const asked = queues.flatMap((queue, i) => {
        const snapshot = snapshots[i];
        const isAboutHealth = queue.rules.some(({ condition }) => condition.subject === "health");
        return snapshot != null && (isAboutHealth || isPending(queue)) ? [snapshot] : [];
      });
      const healths = await each(asked, async (one) => (await healthOf([one]))[0]);
      const known = new Map(asked.map(({ queue }, i) => [queue, healths[i] ?? "UNKNOWN"]));
      for (const [queue, health] of known) memory.note(queue, health, nowMs);
      memory.sweep(nowMs);
      return queues.map((queue, i) => ({
        ...queue,
        snapshot: snapshots[i] ?? null,
        health: known.get(queue.queue) ?? "UNKNOWN",
      }));
    },

    findingOf({ snapshot, health }: Sight, { name, condition }: AlertRule): Finding {
      if (snapshot === null) {
        return { verdict: condition.subject === "unknown" ? "TRUE" : "BLIND", value: null };
      }
      const { source, waitTime } = snapshot;
      const about = `${name} ${source}`;
      if (isAboutWaits({ condition }) && source !== null && waitTime === null && !saidBlind.has(about)) {
        saidBlind.add(about);
        logger.warn({ rule: name, source }, "a rule never fires: the source tells no wait times");
      }
      return findingOf(condition, snapshot, health);
    },

    /** By queue; those that could not be read have none. With rates, which nobody needs to know before. */
    async factsOf(sights: readonly Sight[], nowMs: number): Promise<ReadonlyMap<string, AlertFacts>> {
      const seen = sights.filter(({ snapshot }) => snapshot !== null);
      if (seen.length === 0) return new Map();
      // Of what fires at once nobody has asked yet.
      const healths = await healthOf(seen.map(({ snapshot }) => snapshot as QueueSnapshot));
      for (const [i, { queue }] of seen.entries()) memory.note(queue, healths[i] ?? "UNKNOWN", nowMs);
      const rates = await each(
        seen,
        async ({ queue }) => (await read([queue], withRates))[0]?.throughput?.ONE_MINUTE,
      );
      return new Map(
        seen.map(({ queue, snapshot }, i) => {
          const { measuredAtMs, latencyMs, oldestSinceMs, depth, accuracy } = snapshot as QueueSnapshot;
          return [
            queue,
            {
              ...{ measuredAtMs, latencyMs, oldestSinceMs, depth, accuracy },
              throughput: rates[i] ?? null,
              health: [...memory.of(queue)],
            },
          ];
        }),
      );
    },
  };
}

function isAboutWaits({ condition: { subject } }: Pick<AlertRule, "condition">): boolean {
  return subject === "p50" || subject === "p95" || subject === "p99";
}

/** What came of each; undefined where it failed. */
async function each<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<(R | undefined)[]> {
  const results = await Promise.allSettled(items.map(run));
  return results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
}
