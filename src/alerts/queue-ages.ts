import type { QueueReader } from "./queue-observations.ts";

/** Knows how old queues are, as far as that was needed. */
export interface QueueAges {
  /** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  load(queues: readonly string[]): Promise<void>;
  /** A larger number is a younger queue; infinite where it was not loaded. */
  youthOf(queue: string | null): number;
  /** Forgets all other queues. */
  retain(queues: ReadonlySet<string>): void;
}

const queuesPerRead = 500;

export function createQueueAges(knownSince: QueueReader["knownSince"]): QueueAges {
  const ages = new Map<string, number>();
  return {
    async load(queues) {
      const missing = [...new Set(queues)].filter((queue) => !ages.has(queue));
      for (let from = 0; from < missing.length; from += queuesPerRead) {
        const page = missing.slice(from, from + queuesPerRead);
        const found = await knownSince(page);
        for (const [i, queue] of page.entries()) ages.set(queue, found[i] ?? 0);
      }
    },
    youthOf: (queue) => (queue === null ? 0 : (ages.get(queue) ?? Number.POSITIVE_INFINITY)),
    retain(queues) {
      for (const queue of ages.keys()) if (!queues.has(queue)) ages.delete(queue);
    },
  };
}
