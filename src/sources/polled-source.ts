import type { Observation } from "../core/observation.ts";
import { queueNameProblem } from "../core/queue-name.ts";
import type { Service } from "../runtime/service.ts";
import { createPollLoop, type PollLoopOptions } from "./poll-loop.ts";
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

export interface PolledSourceOptions extends Omit<PollLoopOptions, "read"> {
  /** Reads all queues. Throws what went wrong, in words that hold no password. */
  readonly read: (signal: AbortSignal) => Promise<PolledReading>;
  /** Why the age of a head is not known, for the log. */
  readonly whyUnknown?: (queue: Observation) => string;
  /** More queues than these are not reported, with one warning. @default 10_000 */
  readonly maxQueues?: number;
}

/** More queues of one job system are not read. */
export const defaultMaxQueues = 10_000;

/**
 * A {@link createPollLoop} for job systems whose readings need no more than to be checked: queues whose names cannot be shown are left
 * out, with one warning; so are those beyond the limit; and of a head whose age is not known it is kept for how long that has been so.
 */
export function createPolledSource(options: PolledSourceOptions): Service {
  const { source, sink, logger, whyUnknown, maxQueues = defaultMaxQueues } = options;
  const { empty } = createSourceOutages(logger, source, sink);
  /** Of each queue whose head's age is not known, since when. */
  const unknownSinceMs = new Map<string, number>();
  const warned = new Set<string>();

  async function read(signal: AbortSignal): Promise<readonly Observation[]> {
    const reading = await options.read(signal);
    if (reading.queues.length > 0) empty.recovered();
    else if (reading.whyEmpty !== null) empty.failed(reading.whyEmpty);
    const queues = reportable(reading).map(withUnknownAge);
    forgetOthers(queues);
    return queues;
  }

  function reportable({ queues, hasMore = false }: PolledReading): readonly Observation[] {
    const isPresentable = ({ queue }: Observation) =>
      queue !== "" && queueNameProblem(`${source}/${queue}`) === null;
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
      const why = whyUnknown === undefined ? {} : { why: whyUnknown(observation) };
      logger.warn({ source, queue, ...why }, "unknown age of the head of a queue");
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

  return createPollLoop({ ...options, read });
}
