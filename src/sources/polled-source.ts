import type { EventSink, Observation } from "../core/observation.ts";
import { queueNameProblem } from "../core/queue-name.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import { createSourceOutages } from "./source-outages.ts";

/** What one look at a job system returned. */
export interface PolledReading {
  /**
   * All its queues. Of one with accuracy UNKNOWN in which jobs wait, `headAgeMs` may be null: it becomes for how long that
   * has been so, which is too little, but never a calm 0.
   */
  readonly queues: readonly Observation[];
  /** Why there is no queue, for the log; null while that is not known yet. */
  readonly whyEmpty: string | null;
  /** There are more queues than the source reads. @default false */
  readonly hasMore?: boolean;
}

export interface PolledSourceOptions {
  /** What stands before the slash in the names of its queues. */
  readonly source: string;
  /**
   * From the start of one reading to the start of the next, in ms. After a reading that takes more than half of that, the
   * pause is as long as the reading was.
   */
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** Reads all queues. Throws what went wrong, in words that hold no password. */
  readonly read: (signal: AbortSignal) => Promise<PolledReading>;
  /** What else runs until the signal is aborted, such as a search for queues. */
  readonly runBeside?: (signal: AbortSignal) => Promise<void>;
  /** Closes the connection; what is read meanwhile fails at once. */
  readonly close: () => void;
  /** More queues than these are not reported, with one warning. */
  readonly maxQueues?: number;
}

/** More queues of one job system are not read. */
export const defaultMaxQueues = 10_000;

/**
 * Reads a job system at an interval, and reports to the sink about all its queues at once.
 *
 * While it is away it warns once and tries each interval; nothing is reported, and the last reading becomes stale. `start()` does
 * not wait for it. Queues whose names cannot be shown are left out, with one warning.
 */
export function createPolledSource(options: PolledSourceOptions): Service {
  const { source, intervalMs, sink, logger, read, runBeside, close, maxQueues = defaultMaxQueues } = options;
  const boundMs = Math.max(10_000, 2 * intervalMs);
  const { away, unstored } = createSourceOutages(logger, source);
  const empty = createOutageLog({
    ...{ logger, fields: { source } },
    begins: "no queues found",
    ends: "queues found",
  });
  const stopping = new AbortController();
  /** Of each queue whose head's age is not known, since when. */
  const unknownSinceMs = new Map<string, number>();
  const warned = new Set<string>();
  let running: Promise<unknown> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = monotonicClock.now();
      const tookMs = await tick();
      await pause(Math.max(tookMs, startedAtMs + intervalMs - monotonicClock.now()), stopping.signal);
    }
  }

  /** Resolves to how long it was read, in ms; 0 when it could not be. */
  async function tick(): Promise<number> {
    const startedAtMs = monotonicClock.now();
    const late = AbortSignal.timeout(boundMs);
    let reading: PolledReading;
    try {
      reading = await read(AbortSignal.any([stopping.signal, late]));
    } catch (error) {
      if (stopping.signal.aborted) return 0;
      away.failed(late.aborted ? new Error(`no full answer within ${boundMs} ms`, { cause: error }) : error);
      return 0;
    }
    away.recovered();
    if (reading.queues.length > 0) empty.recovered();
    else if (reading.whyEmpty !== null) empty.failed(reading.whyEmpty);
    const tookMs = monotonicClock.now() - startedAtMs;
    const queues = reportable(reading).map(withUnknownAge);
    forgetOthers(queues);
    try {
      await sink.observe({ source, queues, freshForMs: Math.max(2_000, 3 * intervalMs, 6 * tookMs) });
      unstored.recovered();
    } catch (error) {
      unstored.failed(error);
    }
    return tookMs;
  }

  function reportable({ queues, hasMore = false }: PolledReading): readonly Observation[] {
    const isPresentable = ({ queue }: Observation) => queueNameProblem(`${source}/${queue}`) === null;
    const skipped = queues.filter((queue) => !isPresentable(queue));
    if (skipped.length > 0) {
      const names = skipped.slice(0, 10).map(({ queue }) => queue.slice(0, 200));
      warnOnce("skipped queues with invalid names", { count: skipped.length, queues: names });
    }
    const named = skipped.length === 0 ? queues : queues.filter(isPresentable);
    if (hasMore || named.length > maxQueues) warnOnce("skipped queues beyond the limit", { read: maxQueues });
    return named.slice(0, maxQueues);
  }

  function withUnknownAge(observation: Observation): Observation {
    const { queue, accuracy, depth, headAgeMs, readAtMs } = observation;
    if (accuracy !== "UNKNOWN") {
      unknownSinceMs.delete(queue);
      return observation;
    }
    const sinceMs = unknownSinceMs.get(queue);
    if (sinceMs === undefined) {
      unknownSinceMs.set(queue, readAtMs);
      logger.warn({ source, queue }, "unknown age of the head of a queue");
    }
    if (headAgeMs !== null || depth === 0 || depth === null) return observation;
    return { ...observation, headAgeMs: readAtMs - (sinceMs ?? readAtMs) };
  }

  function forgetOthers(queues: readonly Observation[]): void {
    if (unknownSinceMs.size === 0) return;
    const present = new Set(queues.map(({ queue }) => queue));
    for (const queue of unknownSinceMs.keys()) if (!present.has(queue)) unknownSinceMs.delete(queue);
  }

  function warnOnce(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (!warned.has(message)) logger.warn({ source, ...fields }, message);
    warned.add(message);
  }

  return {
    async start() {
      running = Promise.all([run(), runBeside?.(stopping.signal)]);
    },
    async stop() {
      stopping.abort();
      close();
      await running;
    },
  };
}
