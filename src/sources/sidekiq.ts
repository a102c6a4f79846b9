import type { EventSink, Observation } from "../core/observation.ts";
import { queueNameProblem } from "../core/queue-name.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import { createForeignSystems } from "./foreign-systems.ts";
import { createResumedScan } from "./resumed-scan.ts";
import { createSidekiqReader, type SidekiqReading, type SidekiqSession } from "./sidekiq-reader.ts";
import { createSourceOutages } from "./source-outages.ts";

export interface SidekiqSourceOptions {
  /** `redis://[[user]:password@]host[:6379][/db][?namespace=...]`, or `rediss://...`: the Redis that Sidekiq uses. */
  readonly url: string;
  /**
   * From the start of one reading to the start of the next, in ms. After a reading that takes more than half of that, the
   * pause is as long as the reading was: Redis is busy with us for half of the time at most, however much there is to read.
   */
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
 *   empty for ten minutes. What is
 *   in `schedule` and `retry` does not wait yet; `scheduled` is always null, since those sets hold the jobs of all queues.
 *   `paused` comes from Sidekiq Pro's set of that name.
 * - The head's age is the time of that Redis minus the job's `enqueued_at`, or its `created_at` where there is none: the
 *   clock of its producer was all there was, so its `accuracy` is ESTIMATED. A time in the future has age 0. That no job waits
 *   is EXACT.
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
export function createSidekiqSource(options: SidekiqSourceOptions): Service {
  const { intervalMs, sink, logger, source = "sidekiq", chunkSize = 50, maxQueues = 10_000 } = options;
  const boundMs = Math.max(10_000, 2 * intervalMs);
  const reader = createSidekiqReader(options.url, `queue-latency-${source}`);
  const { away, unstored } = createSourceOutages(logger, source);
  const empty = createOutageLog({
    logger,
    begins: "no Sidekiq queues found",
    ends: "Sidekiq queues found",
    fields: { source },
  });
  const stopping = new AbortController();
  /** Of each queue whose head's age is not known, since when. */
  const unknownSinceMs = new Map<string, number>();
  /** Of each queue whose jobs were not in order, until when some of those may still lie in between. */
  const disorderedUntilMs = new Map<string, number>();
  /** Queues that are not in the set, and when they were last seen with a job. */
  const unlisted = new Map<string, number>();
  const foreignSystems = createForeignSystems("sidekiq");
  const keys = createResumedScan({ logger, source, fallback: "the queues in the set" });
  const warned = new Set<string>();
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = monotonicClock.now();
      const tookMs = await tick();
      await pause(Math.max(tookMs, startedAtMs + intervalMs - monotonicClock.now()), stopping.signal);
    }
  }

  /** Resolves to how long Redis was read, in ms; 0 when it could not be. */
  async function tick(): Promise<number> {
    const startedAtMs = monotonicClock.now();
    const late = AbortSignal.timeout(boundMs);
    let queues: readonly Observation[];
    try {
      queues = await reader.use(AbortSignal.any([stopping.signal, late]), read);
    } catch (error) {
      if (stopping.signal.aborted) return 0;
      away.failed(late.aborted ? new Error(`no full answer within ${boundMs} ms`, { cause: error }) : error);
      return 0;
    }
    away.recovered();
    const tookMs = monotonicClock.now() - startedAtMs;
    const freshForMs = Math.max(2_000, 3 * intervalMs, 6 * tookMs);
    try {
      await sink.observe({ source, queues, freshForMs });
      unstored.recovered();
    } catch (error) {
      unstored.failed(error);
    }
    return tookMs;
  }

  async function read(sidekiq: SidekiqSession): Promise<readonly Observation[]> {
    const { names: listed, hasMore } = await sidekiq.names(maxQueues);
    if (hasMore) warnOnce("skipped queues beyond the limit", { read: maxQueues });
    const present = new Set(listed);
    await lookForUnlisted(sidekiq, present);
    for (const name of unlisted.keys()) present.add(name);
    const isLookedThrough = keys.isRefused || keys.passes > 0;
    if (present.size > 0) empty.recovered();
    else if (isLookedThrough)
      empty.failed(
        `there is neither a set of queues nor a list; ?namespace= sets what is in front of it; ${await sidekiq.foreign(foreignSystems)}`,
      );
    for (const since of [unknownSinceMs, disorderedUntilMs])
      for (const name of since.keys()) if (!present.has(name)) since.delete(name);
    const readings = await sidekiq.readings(presentable([...present]), chunkSize);
    return readings.map(observation);
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
    if (size === null) {
      if (!unknownSinceMs.has(queue)) unknownForMs(reading);
      return { ...seen, headAgeMs: null, accuracy: "UNKNOWN" };
    }
    if (size !== 0 && headAgeMs === null) {
      return { ...seen, headAgeMs: unknownForMs(reading), accuracy: "UNKNOWN" };
    }
    unknownSinceMs.delete(queue);
    if (headAgeMs === null) {
      disorderedUntilMs.delete(queue);
      return { ...seen, headAgeMs, accuracy: "EXACT" };
    }
    return { ...seen, headAgeMs, accuracy: isDisordered(reading, headAgeMs) ? "LOWER_BOUND" : "ESTIMATED" };
  }

  function isDisordered({ queue, order, readAtMs }: SidekiqReading, headAgeMs: number): boolean {
    // Whatever was put back, a job that is pushed now has passed through the list in about that time.
    if (order === "disordered" || order === "all disordered")
      disorderedUntilMs.set(queue, readAtMs + minDisorderMs + headAgeMs);
    if (order === "all" || readAtMs > (disorderedUntilMs.get(queue) ?? 0)) disorderedUntilMs.delete(queue);
    return order !== "all disordered" && disorderedUntilMs.has(queue);
  }

  function unknownForMs({ queue, size, readAtMs }: SidekiqReading): number {
    const knownSinceMs = unknownSinceMs.get(queue);
    if (knownSinceMs !== undefined) return readAtMs - knownSinceMs;
    unknownSinceMs.set(queue, readAtMs);
    const why = size === null ? "its key is not a list" : "its payload does not say when it was enqueued";
    logger.warn({ source, queue, why }, "unknown age of the head of a queue");
    return 0;
  }

  function presentable(names: readonly string[]): readonly string[] {
    // What was no UTF-8 has become U+FFFD, and its key could not be asked for.
    const isPresentable = (name: string) =>
      name !== "" && !name.includes("\uFFFD") && queueNameProblem(`${source}/${name}`) === null;
    const skipped = names.filter((name) => !isPresentable(name));
    if (skipped.length === 0) return names;
    const queues = skipped.slice(0, 10).map((name) => name.slice(0, 200));
    warnOnce("skipped queues with invalid names", { count: skipped.length, queues });
    return names.filter(isPresentable);
  }

  function warnOnce(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (!warned.has(message)) logger.warn({ source, ...fields }, message);
    warned.add(message);
  }

  return {
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
      reader.close();
    },
  };
}
