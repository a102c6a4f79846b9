import type { EventSink, Observation } from "../core/observation.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { createForeignSystems } from "./foreign-systems.ts";
import { headAge } from "./head-age.ts";
import { createPolledSource, defaultMaxQueues, type PolledReading } from "./polled-source.ts";
import { createResumedScan } from "./resumed-scan.ts";
import { createSidekiqReader, type SidekiqReading, type SidekiqSession } from "./sidekiq-reader.ts";

export interface SidekiqSourceOptions {
  /** `redis://[[user]:password@]host[:6379][/db][?namespace=...]`, or `rediss://...`: the Redis that Sidekiq uses. */
  readonly url: string;
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. @default "sidekiq" */
  readonly source?: string;
  /** How many queues one script reads at most; fewer when their payloads are large. @default 50 */
  readonly chunkSize?: number;
  /** More queues than these are not read, with one warning. @default 10_000 */
  readonly maxQueues?: number;
}

/** For how long a queue that is not in the set is kept after its last job. */
const unlistedForMs = 600_000;
const minDisorderMs = 60_000;

/**
 * Reads every queue of a Sidekiq (6 to 8) each `intervalMs` from its Redis, which it never changes, and reports to the sink
 * about all of them at once.
 *
 * - The queues are those in the set `queues`; one without a list is empty, since an empty list is no key in Redis. Lists that
 *   are not in the set are found by looking through the keys, a thousand with each reading, and are queues until they have been
 *   empty for ten minutes. What is in `schedule` and `retry` does not wait yet; `scheduled` is always null, since those sets hold the
 *   jobs of all queues.
 *   `paused` comes from Sidekiq Pro's set of that name.
 * - The head's age is the time of that Redis minus the job's `enqueued_at`, or its `created_at` where there is none: the
 *   clock of its producer was all there was, so its `accuracy` is ESTIMATED, or LOWER_BOUND where that time lies more than a minute ahead.
 *   That no job waits is EXACT.
 * - The head is the oldest of the three jobs at either end of the list: jobs may be put back at either end with their old time.
 *   Where those are not in order, older ones may lie in between: `accuracy` is LOWER_BOUND, for a minute and for as long as the
 *   oldest had waited then, or until all jobs can be looked at.
 * - `readAtMs` is the middle of the round trip that returned the age, `uncertaintyMs` half of it.
 * - Where the age is not known (no such member, no time in it, hidden in a large payload), `accuracy` is UNKNOWN and `headAgeMs`
 *   how long it has been so: too little, but never a calm 0 for ever. Of a key that is no list nothing is known: UNKNOWN, and no
 *   numbers. It hides no other queue.
 * - Queues whose names cannot be shown are left out, with one warning.
 *
 * While Redis is away (refused, silent for 1.5 s, not done with one reading in 10 s or two intervals, another password) it
 * warns once and tries each interval; nothing is reported, and the last reading becomes stale. `start()` does not wait for Redis.
 *
 * @throws StartError when the URL is not that of a Redis.
 */
export function createSidekiqSource({ url, source = "sidekiq", ...options }: SidekiqSourceOptions): Service {
  const { logger, chunkSize = 50, maxQueues = defaultMaxQueues } = options;
  const reader = createSidekiqReader(url, `queue-latency-${source}`);
  /** Of each queue whose jobs were not in order, until when some of those may still lie in between. */
  const disorderedUntilMs = new Map<string, number>();
  /** Queues that are not in the set, and when they were last seen with a job. */
  const unlisted = new Map<string, number>();
  const foreignSystems = createForeignSystems("sidekiq");
  const keys = createResumedScan({ logger, source, fallback: "the queues in the set" });

  async function read(sidekiq: SidekiqSession): Promise<PolledReading> {
    const { names: listed, hasMore } = await sidekiq.names(maxQueues);
    const present = new Set(listed);
    await lookForUnlisted(sidekiq, present);
    for (const name of unlisted.keys()) present.add(name);
    for (const name of disorderedUntilMs.keys()) if (!present.has(name)) disorderedUntilMs.delete(name);
    const readings = await sidekiq.readings([...present], chunkSize);
    const isSure = present.size === 0 && (keys.isRefused || keys.passes > 0);
    return { queues: readings.map(observation), hasMore, whyEmpty: isSure ? await whyEmpty(sidekiq) : null };
  }

  async function whyEmpty(sidekiq: SidekiqSession): Promise<string> {
    const others = await sidekiq.foreign(foreignSystems);
    return `there is neither a set of queues nor a list; ?namespace= sets what is in front of it; ${others}`;
  }

  /** Workers take from a list whether its queue is in the set or not; only Sidekiq's own client adds it there. */
  async function lookForUnlisted(sidekiq: SidekiqSession, listed: ReadonlySet<string>): Promise<void> {
    const nowMs = monotonicClock.now();
    for (const [name, seenAtMs] of unlisted)
      if (listed.has(name) || nowMs - seenAtMs > unlistedForMs) unlisted.delete(name);
    await keys.step(async (from) => {
      const { position, names } = await sidekiq.scan(from);
      for (const name of names) {
        if (!listed.has(name) && listed.size + unlisted.size < maxQueues) unlisted.set(name, nowMs);
      }
      return position;
    });
  }

  function observation(reading: SidekiqReading): Observation {
    const { queue, size, headAgeMs, paused, readAtMs, uncertaintyMs } = reading;
    if (size !== 0 && unlisted.has(queue)) unlisted.set(queue, readAtMs);
    const seen = { queue, depth: size, scheduled: null, paused, readAtMs, uncertaintyMs };
    if (size === 0) {
      disorderedUntilMs.delete(queue);
      return { ...seen, headAgeMs: null, accuracy: "EXACT" };
    }
    if (size === null || headAgeMs === null) return { ...seen, headAgeMs: null, accuracy: "UNKNOWN" };
    return { ...seen, ...headAge(headAgeMs, isDisordered(reading, headAgeMs) ? "LOWER_BOUND" : "ESTIMATED") };
  }

  function isDisordered({ queue, order, readAtMs }: SidekiqReading, headAgeMs: number): boolean {
    // Whatever was put back, a job that is pushed now has passed through the list in about that time.
    if (order === "disordered" || order === "all disordered")
      disorderedUntilMs.set(queue, readAtMs + minDisorderMs + Math.max(0, headAgeMs));
    if (order === "all" || readAtMs > (disorderedUntilMs.get(queue) ?? 0)) disorderedUntilMs.delete(queue);
    return order !== "all disordered" && disorderedUntilMs.has(queue);
  }

  return createPolledSource({
    ...{ ...options, source, maxQueues, close: reader.close },
    read: (signal) => reader.use(signal, read),
    whyUnknown: ({ depth }) =>
      depth === null ? "its key is not a list" : "its payload does not say when it was enqueued",
  });
}
