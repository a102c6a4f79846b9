import DataLoader from "dataloader";
import type { GraphQLResolveInfo } from "graphql";
import { getGraphQLRateLimiter, Store } from "graphql-rate-limit";
import type { ThrottleStatus } from "../core/admission.ts";
import { availableIn, type Rate, waitMs } from "../core/token-bucket.ts";
import type { RedisClient } from "../redis/connect.ts";
import { refusalOf } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts, type ScriptCall } from "../redis/scripts.ts";
import { type MonotonicClock, monotonicClock, wallClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { namedReply } from "../runtime/named-reply.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { advanceMs, createPointsInAdvance, type Exchange } from "./points-in-advance.ts";
import { type Buckets, bucketNames, type Charge, createThrottleCache, type Rates } from "./throttle-cache.ts";

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
  const script = loadScript("queueLatencyThrottle", new URL("lua/throttle.lua", import.meta.url));
  const cache = createThrottleCache(rates, clock);
  const inAdvance = createPointsInAdvance(maxAdvanceOf(rates.points), clock);
  let isPutBackSoon = false;
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

  async function exchange(client: string, charge: Charge, mode: Mode, { unused, wanted }: Exchange) {
    const { points, events } = rates;
    const ofPoints = [charge.points, points.max, points.windowMs];
    const ofEvents = [charge.events, events.max, events.windowMs];
    // They are as empty as they are said to be by then, or less.
    const atMs = clock.now();
    const reply = await takes.load({
      keys: [keys.throttle(client)],
      args: [mode, unused, wanted, ...ofPoints, ...ofEvents],
    });
    const { isTaken, advance, used } = namedReply<ThrottleReply>(reply);
    const buckets = { points: { used: Number(used[0]), atMs }, events: { used: Number(used[1]), atMs } };
    cache.learn(client, buckets, atMs);
    return { isTaken: isTaken === 1, advance, buckets };
  }

  async function takeInRedis(client: string, charge: Charge, mode: Mode): Promise<Outcome> {
    const exchanged = inAdvance.exchange(client, charge.points);
    let advance = 0;
    try {
      const outcome = await exchange(client, charge, mode, exchanged);
      advance = outcome.advance;
      return outcome;
    } finally {
      inAdvance.exchanged(client, exchanged, advance);
      putBackLater();
    }
  }

  function putBackLater(): void {
    if (isPutBackSoon || inAdvance.isEmpty()) return;
    isPutBackSoon = true;
    setTimeout(putBack, advanceMs).unref();
  }

  /** What clients have not used in time. Where Redis does not answer it is lost: the bucket refills. */
  function putBack(): void {
    isPutBackSoon = false;
    for (const [client, unused] of inAdvance.expire())
      exchange(client, nothing, "all", { unused, wanted: 0 }).catch(() => {});
    putBackLater();
  }

  /** As this process knows them; what it has taken in advance is still the client's. */
  function bucketsOf(client: string, { points, events }: Buckets = cache.of(client)): Buckets {
    return { points: { ...points, used: Math.max(0, points.used - inAdvance.of(client)) }, events };
  }

  function takeHere(client: string, charge: Charge, mode: Mode): Outcome {
    const { points } = bucketsOf(client);
    const rest = Math.min(charge.points, availableIn(points, rates.points));
    const isTaken = cache.take(client, mode === "all" ? charge : { ...nothing, points: rest });
    return { isTaken, buckets: bucketsOf(client) };
  }

  /** In Redis; or here, while Redis refuses to write: its memory is full, it is a replica, or it cannot save. */
  async function takeAnywhere(client: string, charge: Charge, mode: Mode): Promise<Outcome> {
    try {
      const { isTaken, buckets } = await takeInRedis(client, charge, mode);
      outage.recovered();
      return { isTaken, buckets: bucketsOf(client, buckets) };
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : null;
      const refusal = refusalOf(cause);
      if (refusal === null) throw error;
      outage.failed(refusal);
      return takeHere(client, charge, mode);
    }
  }

  function takenInAdvance(client: string, { points, events }: Charge): Outcome | null {
    if (events > 0 || !inAdvance.use(client, points)) return null;
    return { isTaken: true, buckets: bucketsOf(client) };
  }

  class TakingStore extends Store {
    outcome: Outcome | undefined;
    readonly charge: Charge;

    constructor(charge: Charge) {
      super();
      this.charge = charge;
    }

    async getForIdentity(identity: { readonly contextIdentity: string }): Promise<readonly number[]> {
      const { contextIdentity: client } = identity;
      const outcome = await takeAnywhere(client, this.charge, "all");
      // Of a burst the first may have got what the others lack.
      this.outcome = outcome.isTaken ? outcome : (takenInAdvance(client, this.charge) ?? outcome);
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
    lastKnown: (client) => leftIn(bucketsOf(client)),
    async take(client, charge) {
      const inHand = takenInAdvance(client, charge);
      if (inHand !== null) return answer(inHand, charge);
      if (inAdvance.of(client) === 0 && cache.refuses(client, charge))
        return answer({ isTaken: false, buckets: bucketsOf(client) }, charge);
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

/** What throttle.lua returns. */
interface ThrottleReply {
  readonly isTaken: number;
  readonly advance: number;
  /** Of the points, and of the events. */
  readonly used: readonly [string, string];
}

/** Everything that is asked for or nothing; or what is left, if that is less. */
type Mode = "all" | "rest";

interface Outcome {
  readonly isTaken: boolean;
  readonly buckets: Buckets;
}

/** Points in advance, for each client in each process: a hundredth of a full bucket, where that is enough to be worth it. */
function maxAdvanceOf({ max }: Rate): number {
  return max >= 5_000 ? max / 100 : 0;
}
