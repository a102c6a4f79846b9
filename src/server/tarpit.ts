import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";

/** Holds back the refusals of a client that is refused again and again: its loop slows itself down. */
export interface Tarpit {
  /**
   * Counts a refusal.
   *
   * @param workMs the CPU time that it took. What takes long may be repeated less often.
   * @returns null when it may be sent at once, as the first ones of a burst; else a promise that resolves when it may be sent.
   */
  hold(client: string, workMs?: number): Promise<void> | null;
  /** Sends everything at once from now on. */
  stop(): void;
}

export interface TarpitOptions {
  /** Refusals of one client. @default 50 */
  readonly perSecond?: number;
  /** Refusals that are sent at once, of a client that was not refused for long enough. @default 50 */
  readonly burst?: number;
  /** The share of a core that the refusals of one client may take, beyond its bursts. @default 0.02 */
  readonly cpuShare?: number;
  /** @default 5_000 // 5 seconds: the client's own timeouts are longer */
  readonly maxMs?: number;
  readonly clock?: MonotonicClock;
}

export function createTarpit(options: TarpitOptions = {}): Tarpit {
  const { perSecond = 50, burst = 50, cpuShare = 0.02, maxMs = 5_000, clock = monotonicClock } = options;
  const intervalMs = 1_000 / perSecond;
  const burstMs = burst * intervalMs;
  /** Two of the most expensive ones are sent at once: a person who makes a mistake waits for nothing. */
  const maxIntervalMs = Math.max(intervalMs, burstMs / 2);
  /** When the next refusal of a client is due. */
  const dueAtMs = new Map<string, number>();
  const held = new Set<() => void>();
  let isStopped = false;
  let sweeper: NodeJS.Timeout | undefined;

  /** A client that may send a whole burst is forgotten. */
  function sweep(): void {
    const now = clock.now();
    for (const [client, atMs] of dueAtMs) if (atMs <= now - burstMs) dueAtMs.delete(client);
    sweeper = dueAtMs.size === 0 ? undefined : setTimeout(sweep, 1_000).unref();
  }

  function hold(client: string, workMs = 0): Promise<void> | null {
    if (isStopped) return null;
    const now = clock.now();
    const ownMs = Math.min(Math.max(intervalMs, workMs / cpuShare), maxIntervalMs);
    const atMs = Math.max(dueAtMs.get(client) ?? 0, now - burstMs) + ownMs;
    dueAtMs.set(client, Math.min(atMs, now + maxMs));
    sweeper ??= setTimeout(sweep, 1_000).unref();
    if (atMs <= now) return null;
    return new Promise((resolve) => {
      const release = () => {
        held.delete(release);
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(release, Math.min(atMs - now, maxMs));
      held.add(release);
    });
  }

  return {
    hold,
    stop() {
      isStopped = true;
      clearTimeout(sweeper);
      for (const release of held) release();
    },
  };
}
