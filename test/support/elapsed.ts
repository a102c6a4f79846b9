import { expect } from "vitest";
import type { Observation } from "../../src/core/observation.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";

/** When something was done, by {@link monotonicClock}. */
export type Elapsed = readonly [fromMs: number, toMs: number];

export async function timed(work: () => Promise<unknown>): Promise<Elapsed> {
  const fromMs = monotonicClock.now();
  await work();
  return [fromMs, monotonicClock.now()];
}

/** The head waits since then, give or take what the observation itself says. */
export function expectSince(seen: Observation, [fromMs, toMs]: Elapsed): void {
  const sinceMs = seen.readAtMs - (seen.headAgeMs ?? Number.NaN);
  const roundingMs = 2;
  expect(sinceMs).toBeGreaterThanOrEqual(fromMs - seen.uncertaintyMs - roundingMs);
  expect(sinceMs).toBeLessThanOrEqual(toMs + seen.uncertaintyMs + roundingMs);
}
