import type { Forecast, Health } from "../core/health.ts";
import type { HistoryReader, RecentStep } from "../core/history.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import { createForAll, type QueueReading } from "./for-all.ts";
import { forecastOf } from "./forecast.ts";
import { healthOf, isDecidedBy, needsHistory } from "./health.ts";
import { createHistoryWindows } from "./history-windows.ts";

export interface HealthReaderOptions {
  readonly history: Pick<HistoryReader, "latest">;
  readonly objectiveMsOf: (queue: string) => number | null;
  /** Tests only. */
  readonly clock?: MonotonicClock;
}

/**
 * Derives health from snapshots, which include the depth, and from the history, which is read once for all clients, and only where
 * it can change the result. When it cannot be read, health is UNKNOWN and nothing fails.
 */
export interface HealthReader {
  /** In ms; null: no objective is set. */
  objectiveMsOf(queue: string): number | null;
  /** In the order asked. A value where the history is known or not needed. */
  healthOf(snapshots: readonly QueueSnapshot[]): readonly Health[] | Promise<readonly Health[]>;
  /** By index. Of a queue that did not change, it may be of ten seconds before. */
  healthOfAll(reading: QueueReading): Promise<readonly Health[]>;
  /** A value where the history is known, since each row of a page asks. */
  forecastOf(snapshot: QueueSnapshot): Forecast | null | Promise<Forecast | null>;
  /** By index; `capacityRatio` only of queues in which a job waits. As old as the health. */
  forecastOfAll(reading: QueueReading): Promise<readonly (Forecast | null)[]>;
}

export function createHealthReader(options: HealthReaderOptions): HealthReader {
  const { history, objectiveMsOf, clock = monotonicClock } = options;
  const windows = createHistoryWindows({ history, clock });
  function healthOfOne(now: QueueSnapshot): Health | Promise<Health> {
    const health = (points: readonly RecentStep[]) =>
      healthOf({ points, now, objectiveMs: objectiveMsOf(now.queue) });
    const points = needsHistory(now) ? windows.of(now.queue, now.measuredAtMs) : [];
    return points instanceof Promise ? points.then(health) : health(points);
  }

  return {
    objectiveMsOf,
    healthOf(snapshots) {
      const healths = snapshots.map(healthOfOne);
      const known = healths.filter((health) => typeof health === "string");
      return known.length === healths.length ? known : Promise.all(healths);
    },
    healthOfAll: createForAll({ windows, objectiveMsOf, compute: healthOf, isEnough: isDecidedBy, clock }),
    forecastOf(now) {
      const forecast = (points: readonly RecentStep[]) =>
        forecastOf({ points, now, objectiveMs: objectiveMsOf(now.queue) });
      const isAsked = now.state !== "MISSING" && !now.stale;
      const points = isAsked ? windows.of(now.queue, now.measuredAtMs) : [];
      return points instanceof Promise ? points.then(forecast) : forecast(points);
    },
    forecastOfAll: createForAll({ windows, objectiveMsOf, compute: forecastOf, clock }),
  };
}
