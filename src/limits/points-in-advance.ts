import type { MonotonicClock } from "../runtime/clock.ts";

/**
 * Points that this process has taken out of clients' buckets before they are asked for: a client that asks often needs no round trip
 * for each request. They are used, or put back, within {@link advanceMs}.
 */
export interface PointsInAdvance {
  /** @returns whether there were enough: then they are used. */
  use(client: string, points: number): boolean;
  /** How many this process has. */
  of(client: string): number;
  /** Takes out what is unused, to put it back together with the next charge, and says how many to take in advance with that. */
  exchange(client: string, points: number): Exchange;
  /** Called when the exchange is done. @param taken 0 when it failed. */
  exchanged(client: string, exchange: Exchange, taken: number): void;
  /** Takes out what its clients have not used in time, to put it back. */
  expire(): readonly (readonly [client: string, unused: number])[];
  isEmpty(): boolean;
}

export interface Exchange {
  readonly unused: number;
  readonly wanted: number;
}

export const advanceMs = 100;

interface Advance {
  readonly sinceMs: number;
  /** Points that the client has used since then. */
  used: number;
  unused: number;
  /** Of exchanges that are not done. */
  wanted: number;
}

/** @param max how many each client may have; below 1 none has any. */
export function createPointsInAdvance(max: number, clock: MonotonicClock): PointsInAdvance {
  /** An entry stays while its client goes on to ask, so few come and go: maps that change with each request leave garbage of V8's behind. */
  const advances = new Map<string, Advance>();

  function current(client: string, nowMs: number): Advance | undefined {
    const advance = advances.get(client);
    return advance !== undefined && nowMs < advance.sinceMs + advanceMs ? advance : undefined;
  }

  return {
    use(client, points) {
      const advance = current(client, clock.now());
      if (advance === undefined || advance.unused < points) return false;
      advance.unused -= points;
      advance.used += points;
      return true;
    },
    of: (client) => advances.get(client)?.unused ?? 0,
    exchange(client, points) {
      const nowMs = clock.now();
      const before = advances.get(client);
      const unused = before?.unused ?? 0;
      const isRecent = before !== undefined && nowMs < before.sinceMs + 2 * advanceMs;
      const advance = current(client, nowMs) ?? {
        sinceMs: nowMs,
        used: 0,
        unused: 0,
        wanted: before?.wanted ?? 0,
      };
      // As many as it used in as much time.
      const used = isRecent ? before.used : 0;
      const wanted = Math.max(0, Math.floor(Math.min(used, max) - advance.wanted));
      advances.set(client, advance);
      advance.unused = 0;
      advance.used += points;
      advance.wanted += wanted;
      return { unused, wanted };
    },
    exchanged(client, { wanted }, taken) {
      const advance = advances.get(client);
      if (advance === undefined) return;
      advance.wanted -= wanted;
      advance.unused += taken;
    },
    expire() {
      const nowMs = clock.now();
      const expired: [string, number][] = [];
      for (const [client, advance] of advances) {
        if (nowMs < advance.sinceMs + advanceMs) continue;
        if (advance.unused > 0) expired.push([client, advance.unused]);
        advance.unused = 0;
        if (advance.wanted === 0 && nowMs >= advance.sinceMs + 2 * advanceMs) advances.delete(client);
      }
      return expired;
    },
    isEmpty: () => advances.size === 0,
  };
}
