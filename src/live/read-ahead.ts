import type { Service } from "../runtime/service.ts";

export interface ReadAheadOptions {
  /** How many queues are known. */
  readonly count: () => Promise<number>;
  /** Reads all of them, and keeps what it has read for those who ask. */
  readonly read: () => Promise<unknown>;
}

/** Fewer queues are read in some tens of milliseconds when a client asks. */
const minQueues = 1_000;

/**
 * Begins to read all queues when the server has started, before the first client asks which one is the worst: of 10,000 queues that
 * takes up to a second. The start does not wait for it. Best effort: when it fails, the first client has its own reading.
 */
export function createReadAhead({ count, read }: ReadAheadOptions): Service {
  async function begin(): Promise<void> {
    if ((await count()) < minQueues) return;
    read().catch(() => {});
  }

  return { start: () => begin().catch(() => {}), stop: async () => {} };
}
