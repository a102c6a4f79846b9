import type { Observation } from "../core/observation.ts";
import type { Logger } from "../runtime/logger.ts";

export interface NamedQueue {
  readonly observation: Observation;
  /** What it is in its job system, for the log: unlike the queue's name, no other one has it. */
  readonly origin: string;
}

/**
 * Queues whose parts have slashes may have one name: stream `a` with group `b/c`, and stream `a/b` with group `c`. Neither's numbers
 * are those of that name: they are UNKNOWN, and a warning names both.
 */
export function createNameClashes(source: string, logger: Logger) {
  let warned = new Set<string>();

  return function observations(queues: readonly NamedQueue[]): readonly Observation[] {
    const byName = Map.groupBy(queues, ({ observation }) => observation.queue);
    const clashing = new Set<string>();
    const found = [...byName].flatMap(([queue, [first, ...others]]): readonly Observation[] => {
      if (first === undefined) return [];
      if (others.length === 0) return [first.observation];
      clashing.add(queue);
      const origins = [first, ...others].map(({ origin }) => origin);
      if (!warned.has(queue)) logger.warn({ source, queue, origins }, "several queues have one name");
      const { readAtMs, uncertaintyMs } = first.observation;
      return [{ queue, readAtMs, uncertaintyMs, ...unknown }];
    });
    warned = clashing;
    return found;
  };
}

const unknown = {
  depth: null,
  headAgeMs: null,
  accuracy: "UNKNOWN",
  scheduled: null,
  paused: false,
} as const;
