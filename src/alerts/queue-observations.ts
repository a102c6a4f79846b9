import type { AlertRule, Condition } from "../core/alert-rules.ts";
import type { AlertFacts } from "../core/alerts.ts";
import type { Health } from "../core/health.ts";
import { inOrderLatencyMs, type QueueSnapshot, type SnapshotParts } from "../core/snapshot.ts";
import type { Logger } from "../runtime/logger.ts";
import { type Evaluation, evaluateCondition } from "./evaluate-condition.ts";
import { createHealthMemory } from "./health-memory.ts";

/** What rules are evaluated against: names of queues, their snapshots, and their health. */
export interface QueueReader {
  /** In the order of their bytes, those behind `after`. */
  list(options: { readonly after: string | null; readonly limit: number }): Promise<string[]>;
  read(queues: readonly string[], parts: SnapshotParts): Promise<QueueSnapshot[]>;
  /** When each queue became known, in ms, in order; 0 when that is not known. */
  knownSince(queues: readonly string[]): Promise<readonly number[]>;
  /** One for each snapshot, in order. */
  healthOf(snapshots: readonly QueueSnapshot[]): readonly Health[] | Promise<readonly Health[]>;
}

/** A queue that at least one rule matches. */
export interface WatchedQueue {
  readonly queue: string;
  readonly rules: readonly AlertRule[];
  /** Its name is in the index. A queue that is forgotten leaves the index; one whose state Redis has lost stays there. @default false */
  readonly isListed?: boolean;
}

/** A watched queue as it was read in one round. */
export interface Observed extends WatchedQueue {
  /** Null: it cannot be read. */
  readonly snapshot: QueueSnapshot | null;
  /** UNKNOWN also when no rule needs it. */
  readonly health: Health;
}

const noWindows: ReadonlySet<never> = new Set();
const depthOnly: SnapshotParts = {
  ...{ depth: true, scheduled: false, lost: false },
  ...{ throughput: noWindows, waitTime: noWindows },
};
const withWaits: SnapshotParts = { ...depthOnly, waitTime: new Set(["FIVE_MINUTES"]) };
const withRates: SnapshotParts = { ...depthOnly, throughput: new Set(["ONE_MINUTE"]) };

/** Reads queues for the rules that match them, and no more of each than these rules need. */
export function createQueueObservations(
  { read, healthOf }: Pick<QueueReader, "read" | "healthOf">,
  logger: Logger,
) {
  const memory = createHealthMemory();
  /** By rule and source: since when what the rule needs has not been reported of any queue. */
  const unreportedSinceMs = new Map<string, number>();
  const warnedOf = new Set<string>();

  /** @param nowMs by the monotonic clock */
  function warnOfUnreported({ name, condition }: AlertRule, snapshot: QueueSnapshot, nowMs: number): void {
    const { source } = snapshot;
    const about = `${name} ${source}`;
    const need = needOf(condition, snapshot);
    if (source === null || need === null || warnedOf.has(about)) return;
    const sinceMs = unreportedSinceMs.get(about);
    if (need.isReported) unreportedSinceMs.delete(about);
    else if (sinceMs === undefined) unreportedSinceMs.set(about, nowMs);
    else if (nowMs - sinceMs >= unreportedForMs) {
      warnedOf.add(about);
      logger.warn({ rule: name, source }, `a rule never fires: the source does not report ${need.what}`);
    }
  }

  return {
    /**
     * Reads each queue by itself: at a Redis Cluster one may be out of reach, and all reads of one tick share their round trips.
     *
     * @param isPending whether the health of a queue is read though no rule needs it: it will be one of the facts.
     */
    async observe(
      queues: readonly WatchedQueue[],
      isPending: (queue: WatchedQueue) => boolean,
      nowMs: number,
    ): Promise<Observed[]> {
      const snapshots = await each(queues, async ({ queue, rules }) => {
        const parts = rules.some(needsWaitTimes) ? withWaits : depthOnly;
        return (await read([queue], parts))[0];
      });
      const asked = queues.flatMap((queue, i) => {
        const snapshot = snapshots[i];
        const needsHealth = queue.rules.some(({ condition }) => condition.subject === "health");
        return snapshot != null && (needsHealth || isPending(queue)) ? [snapshot] : [];
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

    evaluate({ snapshot, health, isListed }: Observed, rule: AlertRule, nowMs: number): Evaluation {
      const { condition } = rule;
      if (snapshot === null) {
        return { verdict: condition.subject === "unknown" ? "TRUE" : "NO_DATA", value: null };
      }
      if (snapshot.state === "MISSING" && isListed) return { verdict: "NO_DATA", value: null };
      warnOfUnreported(rule, snapshot, nowMs);
      return evaluateCondition(condition, snapshot, health);
    },

    /** By queue; those that could not be read have none. Rates are read only here, since no rule needs them. */
    async factsOf(observed: readonly Observed[], nowMs: number): Promise<ReadonlyMap<string, AlertFacts>> {
      const seen = observed.filter(({ snapshot }) => snapshot !== null);
      if (seen.length === 0) return new Map();
      // The health of a queue whose alert fires at once was not read yet.
      const healths = await healthOf(seen.map(({ snapshot }) => snapshot as QueueSnapshot));
      for (const [i, { queue }] of seen.entries()) memory.note(queue, healths[i] ?? "UNKNOWN", nowMs);
      const rates = await each(
        seen,
        async ({ queue }) => (await read([queue], withRates))[0]?.throughput?.ONE_MINUTE,
      );
      return new Map(
        seen.map(({ queue, snapshot }, i) => {
          const { measuredAtMs, latencyMs, oldestSinceMs, depth, depthIsLowerBound, overtaken, accuracy } =
            snapshot as QueueSnapshot;
          return [
            queue,
            {
              ...{ measuredAtMs, latencyMs, oldestSinceMs, depth, depthIsLowerBound, accuracy },
              overtaken: overtaken ?? null,
              inOrderLatencyMs: inOrderLatencyMs(snapshot as QueueSnapshot),
              throughput: rates[i] ?? null,
              health: [...memory.of(queue)],
            },
          ];
        }),
      );
    },
  };
}

function needsWaitTimes({ condition: { subject } }: Pick<AlertRule, "condition">): boolean {
  return subject === "p50" || subject === "p95" || subject === "p99";
}

/** A source may report some things only after its first readings. */
const unreportedForMs = 120_000;

/** What a rule needs that not every source reports; null: nothing, or it cannot be seen now. */
function needOf(
  condition: Condition,
  { waitTime, overtaken, accuracy }: QueueSnapshot,
): { readonly what: string; readonly isReported: boolean } | null {
  if (needsWaitTimes({ condition })) return { what: "wait times", isReported: waitTime !== null };
  if (condition.subject !== "overtaken") return null;
  if (overtaken === undefined && accuracy === "UNKNOWN") return null;
  return { what: "overtaken jobs", isReported: overtaken !== undefined };
}

/** The result for each item; undefined where it failed. */
async function each<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<(R | undefined)[]> {
  const results = await Promise.allSettled(items.map(run));
  return results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
}
