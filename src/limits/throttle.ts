import DataLoader from "dataloader";
import type { GraphQLResolveInfo } from "graphql";
import { getGraphQLRateLimiter, Store } from "graphql-rate-limit";
import type { ThrottleStatus } from "../core/admission.ts";
import type { RedisClient } from "../redis/connect.ts";
import { refusalOf } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts, type ScriptCall } from "../redis/scripts.ts";
import { type MonotonicClock, monotonicClock, wallClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { type Buckets, bucketNames, type Charge, createThrottleCache, type Rates } from "./throttle-cache.ts";
import { availableIn, waitMs } from "./token-bucket.ts";

/** What is left in a client's buckets. */
export type Left = Readonly<Record<keyof Charge, ThrottleStatus>>;

export interface Taken {
  readonly isAllowed: boolean;
  /** Of a refused charge, the budget that it does not fit into. */
  readonly missing: keyof Charge | null;
  readonly left: Left;
  /** When a refused charge would fit, in whole seconds; at least 1. */
  readonly retryAfterSeconds: number;
}

/** Counts what clients use, in all processes together. */
export interface Throttle {
  /** The largest charge that can ever be taken at once. */
  readonly max: Charge;
  /**
   * Takes a charge from a client's token buckets: all of it, or nothing. However many calls in however many processes race,
   * exactly as much passes as the buckets hold. What is refused costs nothing; a charge of 0 always passes. All calls of one
   * tick of the event loop share one round trip. A client that was refused is refused without one for as long as the charge
   * cannot fit, at most a second. While Redis refuses to write, each process counts for itself.
   *
   * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer.
   */
  take(client: string, charge: Charge): Promise<Taken>;
  /** Takes these points, or what is left of them: for work that is done already. @throws as `take` does. */
  takeRest(client: string, points: number): Promise<Left>;
  /** Takes a charge from what this process knows of the client: for when Redis does not answer, and is not needed. */
  takeHere(client: string, charge: Charge): Taken;
  /** What is left as far as this process knows: other processes may have charged the client since it last did. */
  lastKnown(client: string): Left;
}

export interface ThrottleOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly rates: Rates;
  readonly logger: Logger;
  /** Used for what this process knows of the buckets; in Redis they refill by Redis's time. */
  readonly clock?: MonotonicClock;
}

/** More takes than this are made in several round trips. */
const takesPerRoundTrip = 1_000;

const nothing: Charge = { points: 0, events: 0 };

/**
 * graphql-rate-limit asks its store for the calls of the past, decides, and stores them again: requests that race all see the
 * same past. Here the store decides: it takes the charge in one atomic script when it is asked, and shows the package either
 * an empty past, or one call that fills a limit of one.
 */
export function createThrottle({
  redis,
  keys,
  rates,
  logger,
  clock = monotonicClock,
}: ThrottleOptions): Throttle {
  const script = loadScript("queueLatencyTake", new URL("lua/take.lua", import.meta.url));
  const cache = createThrottleCache(rates, clock);
  const outage = createOutageLog({
    logger,
    begins: "throttle counts in this process: Redis refuses writes",
    ends: "throttle counts in Redis again",
    fields: { connection: "commands" },
    calmMs: 1_000,
  });
  const takes = new DataLoader<ScriptCall, unknown>(
    async (calls) => (await runScripts(redis, script, calls)) as (unknown | Error)[],
    { cache: false, maxBatchSize: takesPerRoundTrip, batchScheduleFn: setImmediate },
  );

  async function takeInRedis(client: string, charge: Charge, mode: Mode): Promise<Outcome> {
    const args = bucketNames.flatMap((name) => [charge[name], rates[name].max, rates[name].windowMs]);
    // They are as empty as they are said to be by then, or less.
    const atMs = clock.now();
    const reply = await takes.load({ keys: [keys.throttle(client)], args: [mode, ...args] });
    const [taken, points, events] = reply as [number, points: string, events: string];
    const buckets = { points: { used: Number(points), atMs }, events: { used: Number(events), atMs } };
    cache.learn(client, buckets, atMs);
    return { isTaken: taken === 1, buckets };
  }

  function takeHere(client: string, charge: Charge, mode: Mode): Outcome {
    const { points } = cache.of(client);
    const rest = Math.min(charge.points, availableIn(points, rates.points));
    const isTaken = cache.take(client, mode === "all" ? charge : { ...nothing, points: rest });
    return { isTaken, buckets: cache.of(client) };
  }

  /** In Redis; or here, while Redis refuses to write: its memory is full, it is a replica, or it cannot save. */
  async function takeAnywhere(client: string, charge: Charge, mode: Mode): Promise<Outcome> {
    try {
      const outcome = await takeInRedis(client, charge, mode);
      outage.recovered();
      return outcome;
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : null;
      const refusal = refusalOf(cause);
      if (refusal === null) throw error;
      outage.failed(refusal);
      return takeHere(client, charge, mode);
    }
  }

  class TakingStore extends Store {
    outcome: Outcome | undefined;
    readonly charge: Charge;

    constructor(charge: Charge) {
      super();
      this.charge = charge;
    }

    async getForIdentity(identity: { readonly contextIdentity: string }): Promise<readonly number[]> {
      this.outcome = await takeAnywhere(identity.contextIdentity, this.charge, "all");
      return this.outcome.isTaken ? [] : [wallClock.epochMs()];
    }

    setForIdentity(): void {
      // Taken already, in getForIdentity.
    }
  }

  function leftIn(buckets: Buckets): Left {
    const statusOf = (name: keyof Charge): ThrottleStatus => ({
      maximumAvailable: rates[name].max,
      currentlyAvailable: availableIn(buckets[name], rates[name]),
      restoreRate: rates[name].max / (rates[name].windowMs / 1000),
    });
    return { points: statusOf("points"), events: statusOf("events") };
  }

  function answer({ isTaken, buckets }: Outcome, charge: Charge): Taken {
    const waits = bucketNames.map((name) => waitMs(buckets[name], rates[name], charge[name]));
    const maxWaitMs = Math.max(...waits);
    return {
      isAllowed: isTaken,
      missing: isTaken ? null : (bucketNames[waits.indexOf(maxWaitMs)] ?? null),
      left: leftIn(buckets),
      retryAfterSeconds: Math.max(1, Math.ceil(maxWaitMs / 1000)),
    };
  }

  return {
    max: { points: rates.points.max, events: rates.events.max },
    lastKnown: (client) => leftIn(cache.of(client)),
    async take(client, charge) {
      if (cache.refuses(client, charge)) return answer({ isTaken: false, buckets: cache.of(client) }, charge);
      const store = new TakingStore(charge);
      const limiter = getGraphQLRateLimiter({ store, identifyContext: () => client });
      const field = {
        parent: null,
        args: {},
        context: {},
        info: { fieldName: "request" } as GraphQLResolveInfo,
      };
      const refusal = await limiter(field, { max: 1, window: "1m" });
      if (store.outcome === undefined) throw new Error("graphql-rate-limit did not ask its store");
      return answer({ ...store.outcome, isTaken: refusal === undefined }, charge);
    },
    async takeRest(client, points) {
      const { buckets } = await takeAnywhere(client, { ...nothing, points }, "rest");
      return leftIn(buckets);
    },
    takeHere: (client, charge) => answer(takeHere(client, charge, "all"), charge),
  };
}

/** Everything that is asked for or nothing; or what is left, if that is less. */
type Mode = "all" | "rest";

interface Outcome {
  readonly isTaken: boolean;
  readonly buckets: Buckets;
}
