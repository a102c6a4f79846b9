import { monotonicClock, type WallClock } from "../runtime/clock.ts";

export interface SuspensionsOptions {
  /** Shorter gaps do not count. */
  readonly graceMs: number;
  readonly wallClock: WallClock;
  /** @param stoppedAtMs when the process was last seen to run before. */
  readonly onResume: (stoppedAtMs: number) => void;
}

/**
 * Notices that this process was stopped (SIGSTOP, a suspended machine, a blocked event loop): it has received no change meanwhile, and
 * its timers run before what has arrived is read. A suspended machine stops the monotonic clock; a wall clock that is set forward looks
 * the same.
 */
export interface Suspensions {
  /** Looks whether it was stopped since the last look. */
  look(): void;
  /** When it last went on. Instants are by {@link monotonicClock}. */
  resumedAtMs(): number;
  /** Whether it went on so lately that what was under way before may still fail. */
  isRecovering(): boolean;
  start(): void;
  stop(): void;
}

export function createSuspensions({ graceMs, wallClock, onResume }: SuspensionsOptions): Suspensions {
  let ranAtMs = monotonicClock.now();
  let ranAtEpochMs = wallClock.epochMs();
  let resumedAtMs = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;

  function look(): void {
    const nowMs = monotonicClock.now();
    const nowEpochMs = wallClock.epochMs();
    const gapMs = Math.max(nowMs - ranAtMs, nowEpochMs - ranAtEpochMs);
    const stoppedAtMs = ranAtMs;
    ranAtMs = nowMs;
    ranAtEpochMs = nowEpochMs;
    if (gapMs < graceMs) return;
    resumedAtMs = nowMs;
    onResume(stoppedAtMs);
  }

  function start(): void {
    look();
    timer = setTimeout(start, graceMs / 4).unref();
  }

  return {
    look,
    resumedAtMs: () => resumedAtMs,
    isRecovering: () => monotonicClock.now() < resumedAtMs + graceMs,
    start,
    stop: () => clearTimeout(timer),
  };
}
