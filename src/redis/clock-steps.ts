import { uptime } from "node:os";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";

/** Times by Redis's clock, in ms, both included. */
export interface TimeRange {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Notices that the clock of one Redis was set, by the monotonic clock of this process. */
export interface ClockSteps {
  /**
   * An answer says that it was `redisNowMs` at some moment between the two local times, at which it was sent for and received.
   *
   * @returns by how much the clock was set since the answer before, in ms; 0: it was not.
   */
  observe(redisNowMs: number, sentAtMs: number, receivedAtMs: number): number;
  /** Times that Redis may have stored while its clock was off from how it goes now. None: nothing is wrong. */
  wrongTimes(): readonly TimeRange[];
  /** How often it was noticed that the clock was set. */
  count(): number;
  /**
   * By how much the clock is ahead of how it went when the oldest times that count were stored, in ms: jobs seem to be older by that.
   *
   * @param countedMs for how long a time counts after the clock was set.
   */
  aheadMs(countedMs: number): number;
  /** The latest that it can be by Redis's clock, in ms, unless it was set since the last answer. Infinity: there was none. */
  latestMs(): number;
  /** How long ago it was noticed that the clock was set, in ms; Infinity: never. */
  sinceStepMs(): number;
  /** The same for a clock that was set forward: then Redis took what it remembers for older than it was. */
  sinceForwardMs(): number;
}

export interface ClockStepsOptions {
  readonly clock?: MonotonicClock;
  /** How long this machine has been suspended since some time before, in ms: meanwhile the monotonic clock stands still. */
  readonly suspendedMs?: () => number;
}

/** While the clock had one offset from the monotonic clock. */
interface Period extends TimeRange {
  readonly offsetMs: number;
  /** The lowest one, of periods that are taken for one. */
  readonly lowestOffsetMs: number;
  readonly endedAtMs: number;
}

/** What NTP corrects without setting a clock is less. */
const toleranceMs = 1_000;
/** By how much two sound clocks may drift apart: 0.5 ms a second is the most that Linux slews by. */
const maxDrift = 0.001;
/** Of more, the oldest ones are taken for one. */
const maxPeriods = 8;

export function createClockSteps(options: ClockStepsOptions = {}): ClockSteps {
  const { clock = monotonicClock, suspendedMs = () => uptime() * 1_000 - monotonicClock.now() } = options;
  /** Redis's time less the local one lies between these. */
  let lowMs = Number.NEGATIVE_INFINITY;
  let highMs = Number.POSITIVE_INFINITY;
  let seenAtMs = Number.NEGATIVE_INFINITY;
  let steppedAtMs = Number.NEGATIVE_INFINITY;
  let forwardAtMs = Number.NEGATIVE_INFINITY;
  let sleptMs = suspendedMs();
  /** When, by Redis's clock as it goes now, it can have been set to that. */
  let fromMs = 0;
  let ended: readonly Period[] = [];
  let steps = 0;

  /** @returns how far the offset lies outside of what it may be; 0: it does not. */
  function outside(low: number, high: number, driftMs: number): number {
    if (low > highMs + driftMs + toleranceMs) return low - highMs;
    if (high < lowMs - driftMs - toleranceMs) return high - lowMs;
    return 0;
  }

  /** A suspended machine makes Redis's clock seem to be set forward. */
  function wakeUp(): void {
    const byMs = suspendedMs() - sleptMs;
    sleptMs += byMs;
    if (Math.abs(byMs) < toleranceMs) return;
    lowMs += byMs;
    highMs += byMs;
    ended = ended.map((period) => ({
      ...period,
      offsetMs: period.offsetMs + byMs,
      lowestOffsetMs: period.lowestOffsetMs + byMs,
    }));
  }

  function step(low: number, receivedAtMs: number): void {
    const offsetMs = (lowMs + highMs) / 2;
    const toMs = Math.ceil(receivedAtMs + highMs);
    const last = { offsetMs, lowestOffsetMs: offsetMs, fromMs, toMs, endedAtMs: receivedAtMs };
    const periods = [...ended, last];
    const merged = periods.splice(0, periods.length - maxPeriods);
    ended = merged.length === 0 ? periods : [mergedPeriod(merged), ...periods];
    steps += 1;
    fromMs = Math.floor(low + seenAtMs);
    steppedAtMs = receivedAtMs;
    if (low > highMs) forwardAtMs = receivedAtMs;
  }

  return {
    observe(redisNowMs, sentAtMs, receivedAtMs) {
      // It was on its way when the step was noticed, and may be from before.
      if (sentAtMs < steppedAtMs) return 0;
      const low = redisNowMs - receivedAtMs;
      const high = redisNowMs + 1 - sentAtMs;
      const driftMs = Math.max(0, receivedAtMs - seenAtMs) * maxDrift;
      let byMs = outside(low, high, driftMs);
      if (byMs !== 0) {
        wakeUp();
        byMs = outside(low, high, driftMs);
      }
      if (byMs !== 0) step(low, receivedAtMs);
      const isSame = byMs === 0 && low <= highMs + driftMs && high >= lowMs - driftMs;
      lowMs = isSame ? Math.max(low, lowMs - driftMs) : low;
      highMs = isSame ? Math.min(high, highMs + driftMs) : high;
      seenAtMs = receivedAtMs;
      return byMs;
    },
    wrongTimes() {
      const offsetMs = (lowMs + highMs) / 2;
      // What was stored while the clock went as it does again is right. NaN is never.
      return ended.filter((period) => !(Math.abs(period.offsetMs - offsetMs) <= 2 * toleranceMs));
    },
    count: () => steps,
    aheadMs(countedMs) {
      const countedSinceMs = clock.now() - countedMs;
      const counted = ended.filter(({ endedAtMs }) => endedAtMs > countedSinceMs);
      const aheadMs = (lowMs + highMs) / 2 - Math.min(...counted.map(({ lowestOffsetMs }) => lowestOffsetMs));
      return aheadMs > 2 * toleranceMs ? Math.ceil(aheadMs) : 0;
    },
    latestMs() {
      const nowMs = clock.now();
      return Math.ceil(nowMs + highMs + Math.max(0, nowMs - seenAtMs) * maxDrift + toleranceMs);
    },
    sinceStepMs: () => clock.now() - steppedAtMs,
    sinceForwardMs: () => clock.now() - forwardAtMs,
  };
}

function mergedPeriod(periods: readonly Period[]): Period {
  return {
    offsetMs: Number.NaN,
    lowestOffsetMs: Math.min(...periods.map((period) => period.lowestOffsetMs)),
    fromMs: 0,
    toMs: Math.max(...periods.map((period) => period.toMs)),
    endedAtMs: Math.max(...periods.map((period) => period.endedAtMs)),
  };
}
