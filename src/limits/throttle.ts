import DataLoader from "dataloader";
import type { GraphQLResolveInfo } from "graphql";
import { getGraphQLRateLimiter, Store } from "graphql-rate-limit";
import type { ThrottleStatus } from "../core/admission.ts";
import { type MonotonicClock, monotonicClock, wallClock } from "../core/clock.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts, type ScriptCall } from "../redis/scripts.ts";
import { createLastKnown, type Heard } from "./last-known.ts";

export interface Taken {
  readonly isAllowed: boolean;
  readonly status: ThrottleStatus;
  /** Until the client's window ends, in whole seconds; at least 1. */
  readonly retryAfterSeconds: number;
}

export interface Throttle {
  /** Most points that one request can ever get. */
  readonly max: number;
  /**
   * Takes points from a client's window, which begins with the first points taken. Of any number of concurrent calls in any
   * number of processes exactly `max` points pass in a window; what is refused costs nothing. 0 points always pass. All calls
   * of one tick of the event loop share one round trip, in which each is a script of its own. Whoever was refused is refused
   * again without one, for at most a second: what is then left is what was left when Redis was asked.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  take(client: string, points: number): Promise<Taken>;
  /** How a client stood when this process last charged it, without asking Redis: other processes may have charged since. */
  lastKnown(client: string): ThrottleStatus;
}

export interface ThrottleOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly max: number;
  readonly windowMs: number;
  /** Tells only for how long something is known: windows go by Redis's time. */
  readonly clock?: MonotonicClock;
}

/** More takes than this are made in several round trips. */
const takesPerRoundTrip = 1_000;

/**
 * graphql-rate-limit asks its store for the calls of the past, decides, and stores them again: requests that race all see the
 * same past. Here the store decides: it takes the points in one atomic script when it is asked, and shows the package either
 * an empty past, or one call that fills a limit of one.
 */
export function createThrottle({
  redis,
  keys,
  max,
  windowMs,
  clock = monotonicClock,
}: ThrottleOptions): Throttle {
  const script = loadScript("queueLatencyTake", new URL("lua/take.lua", import.meta.url));
  const statusOf = (available: number): ThrottleStatus => ({
    maximumAvailable: max,
    currentlyAvailable: available,
    restoreRate: max / (windowMs / 1000),
  });
  const lastKnown = createLastKnown(statusOf(max), clock);
  const takes = new DataLoader<ScriptCall, unknown>(
    async (calls) => (await runScripts(redis, script, calls)) as (unknown | Error)[],
    { cache: false, maxBatchSize: takesPerRoundTrip, batchScheduleFn: setImmediate },
  );

  class TakingStore extends Store {
    taken: Taken | undefined;
    readonly points: number;

    constructor(points: number) {
      super();
      this.points = points;
    }

    async getForIdentity({
      contextIdentity,
    }: {
      readonly contextIdentity: string;
    }): Promise<readonly number[]> {
      const askedAtMs = clock.now();
      const call = { keys: [keys.throttle(contextIdentity)], args: [this.points, max, windowMs] };
      const [fits, available, endsInMs] = (await takes.load(call)) as [number, number, number];
      const heard = { status: statusOf(available), endsInMs, askedAtMs };
      this.taken = takenOf(fits === 1, heard);
      lastKnown.learn(contextIdentity, heard);
      return fits === 1 ? [] : [wallClock.epochMs()];
    }

    setForIdentity(): void {
      // Taken already, in getForIdentity.
    }
  }

  return {
    max,
    lastKnown: lastKnown.of,
    async take(client, points) {
      const known = lastKnown.refusal(client, points);
      if (known !== null) return takenOf(false, known);
      const store = new TakingStore(points);
      const limiter = getGraphQLRateLimiter({ store, identifyContext: () => client });
      const field = {
        parent: null,
        args: {},
        context: {},
        info: { fieldName: "request" } as GraphQLResolveInfo,
      };
      const refusal = await limiter(field, { max: 1, window: "1m" });
      if (store.taken === undefined) throw new Error("graphql-rate-limit did not ask its store");
      return { ...store.taken, isAllowed: refusal === undefined };
    },
  };
}

function takenOf(isAllowed: boolean, { status, endsInMs }: Pick<Heard, "status" | "endsInMs">): Taken {
  return { isAllowed, status, retryAfterSeconds: Math.max(1, Math.ceil(endsInMs / 1000)) };
}
