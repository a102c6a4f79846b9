import { queueNameProblem } from "../../core/queue-name.ts";
import type { Logger } from "../../runtime/logger.ts";

export const maxQueues = 10_000;

/** Whether a queue beside the `known` ones can be shown: it has a valid name and a place. The first that cannot is logged. */
export function createNameFilter(
  source: string,
  known: ReadonlyMap<string, unknown>,
  logger: Logger,
): (queue: string) => boolean {
  let hasWarned = false;
  return (queue) => {
    if (known.has(queue)) return true;
    if (known.size < maxQueues && queueNameProblem(`${source}/${queue}`) === null) return true;
    if (!hasWarned)
      logger.warn(
        { source, queue: queue.slice(0, 200), limit: maxQueues },
        "skipped queues with invalid names, or beyond the limit",
      );
    hasWarned = true;
    return false;
  };
}
