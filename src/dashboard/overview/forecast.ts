import type { QueueRow } from "../graphql/documents.ts";

/** What happens if the last five minutes continue, in words. */
export interface ForecastWords {
  readonly text: string;
  /** Whether it gets worse, or is late and has to be watched. */
  readonly isBad: boolean;
}

/** Null when there is no estimate. */
export function forecastOf(row: Pick<QueueRow, "forecast" | "latency" | "objective">): ForecastWords | null {
  const { forecast, latency, objective } = row;
  if (forecast === null) return null;
  const { unstable, drainSeconds, breachSeconds } = forecast;
  if (unstable) return { text: "never drains", isBad: true };
  if (breachSeconds !== null && breachSeconds.likely > 0) {
    return { text: `late in ${inOneUnit(breachSeconds.likely)}`, isBad: true };
  }
  if (drainSeconds === null || latency === 0 || latency === null) return null;
  const isLate = objective !== null && latency > objective;
  return { text: `drains in ${inOneUnit(drainSeconds.likely)}`, isBad: isLate };
}

const units = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "m"],
  [1, "s"],
] as const;

/** An estimate is no more precise. */
function inOneUnit(seconds: number): string {
  const [size, unit] = units.find(([one]) => seconds >= 1.5 * one) ?? [1, "s"];
  return `${Math.max(1, Math.round(seconds / size))} ${unit}`;
}
