import { type Bucket, fits, fullBucket, type Rate, refilled } from "../core/token-bucket.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import { createRecentMap } from "../runtime/recent-map.ts";

/** What a request takes: points for what it reads, events for what it records. Each has a token bucket of its own. */
export interface Charge {
  readonly points: number;
  readonly events: number;
}

export type Buckets = Readonly<Record<keyof Charge, Bucket>>;
export type Rates = Readonly<Record<keyof Charge, Rate>>;

/** The buckets of the clients that this process charged last, as it knows them: they refill here as they do in Redis. */
export interface ThrottleCache {
  /** @param askedAtMs when Redis was asked: the buckets may be emptier than they are known, never fuller. */
  learn(client: string, buckets: Buckets, askedAtMs: number): void;
  /** Full ones of a client that is not remembered. */
  of(client: string): Buckets;
  /**
   * Whether Redis would surely refuse: only this client's own requests, and time, change its buckets. What Redis said counts
   * for a second, so that an operator who deletes a client's keys is obeyed.
   */
  refuses(client: string, charge: Charge): boolean;
  /** Takes from the known buckets, all or nothing: for when Redis refuses to count. @returns whether it was taken. */
  take(client: string, charge: Charge): boolean;
}

export const bucketNames = ["points", "events"] as const satisfies readonly (keyof Charge)[];

const maxClients = 10_000;
const maxRefusalMs = 1_000;

export function createThrottleCache(rates: Rates, clock: MonotonicClock = monotonicClock): ThrottleCache {
  const known = createRecentMap<string, Buckets & { readonly seenAtMs: number }>({ maxSize: maxClients });

  function of(client: string): Buckets {
    const { points = fullBucket, events = fullBucket } = known.get(client) ?? {};
    const nowMs = clock.now();
    return { points: refilled(points, rates.points, nowMs), events: refilled(events, rates.events, nowMs) };
  }

  function remember(client: string, buckets: Buckets, seenAtMs: number): void {
    known.set(client, { ...buckets, seenAtMs });
  }

  return {
    of,
    learn: remember,
    refuses(client, charge) {
      const seenAtMs = known.get(client)?.seenAtMs ?? Number.NEGATIVE_INFINITY;
      return clock.now() < seenAtMs + maxRefusalMs && !holds(of(client), rates, charge);
    },
    take(client, charge) {
      const buckets = of(client);
      if (!holds(buckets, rates, charge)) return false;
      const { points, events } = buckets;
      const left = {
        points: { ...points, used: points.used + charge.points },
        events: { ...events, used: events.used + charge.events },
      };
      // Redis said nothing: a refusal has to ask it again.
      remember(client, left, Number.NEGATIVE_INFINITY);
      return true;
    },
  };
}

function holds(buckets: Buckets, rates: Rates, charge: Charge): boolean {
  return bucketNames.every((name) => fits(buckets[name], rates[name], charge[name]));
}
