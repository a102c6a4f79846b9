import { AppError } from "../core/errors.ts";
import type { Forecast, Health } from "../core/health.ts";
import type { HistoryPoint, HistoryReader } from "../core/history.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import { forecastOf } from "./forecast.ts";
import { healthOf } from "./health.ts";
import { windowMs } from "./window.ts";

export interface HealthReaderOptions {
  readonly history: Pick<HistoryReader, "latest">;
  readonly objectiveMsOf: (queue: string) => number | null;
  /** Tests only. */
  readonly clock?: MonotonicClock;
}

/**
 * Derives health from snapshots, which include the depth, and from the history. The history of a queue is read once in
 * five seconds for all clients, and only where it can change the result. When it cannot be read, health is UNKNOWN and
 * nothing fails.
 */
export interface HealthReader {
  /** In ms; null: no objective is set. */
  objectiveMsOf(queue: string): number | null;
  /** In the order asked. */
  healthOf(snapshots: readonly QueueSnapshot[]): Promise<readonly Health[]>;
  forecastOf(snapshot: QueueSnapshot): Promise<Forecast | null>;
}

interface Held {
  readonly readAtMs: number;
  readonly points: Promise<readonly HistoryPoint[]>;
}

/**
 * Half a step: no step is missed for long, and a client that reads all queues each second does not read all histories
 * each second.
 */
const holdMs = 5_000;

export function createHealthReader(options: HealthReaderOptions): HealthReader {
  const { history, objectiveMsOf, clock = monotonicClock } = options;
  /** By queue; the oldest read stands first. */
  const held = new Map<string, Held>();

  function pointsOf({ queue, measuredAtMs }: QueueSnapshot): Held["points"] {
    const nowMs = clock.now();
    for (const [oldest, { readAtMs }] of held) {
      if (nowMs < readAtMs + holdMs) break;
      held.delete(oldest);
    }
    const known = held.get(queue);
    if (known !== undefined) return known.points;
    const points = readPoints(queue, measuredAtMs - windowMs);
    held.set(queue, { readAtMs: nowMs, points });
    return points;
  }

  /** One queue at a time: in a Redis Cluster one node may be away. All are asked in the same tick, and so in one go. */
  async function readPoints(queue: string, sinceMs: number): Promise<readonly HistoryPoint[]> {
    try {
      const [points = []] = await history.latest([queue], sinceMs);
      return points;
    } catch (error) {
      held.delete(queue);
      if (error instanceof AppError && error.code === "SERVICE_UNAVAILABLE") return [];
      throw error;
    }
  }

  return {
    objectiveMsOf,
    healthOf: (snapshots) =>
      Promise.all(
        snapshots.map(async (now) => {
          const isAsked = now.state === "WAITING" && !now.stale;
          const points = isAsked ? await pointsOf(now) : [];
          return healthOf({ points, now, objectiveMs: objectiveMsOf(now.queue) });
        }),
      ),
    async forecastOf(now) {
      const isAsked = now.state !== "MISSING" && !now.stale;
      const points = isAsked ? await pointsOf(now) : [];
      return forecastOf({ points, now, objectiveMs: objectiveMsOf(now.queue) });
    },
  };
}
