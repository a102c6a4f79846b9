import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";

export interface ReadAheadOptions {
  /** How many queues are known. */
  readonly count: () => Promise<number>;
  /** Reads all of them, and keeps what it has read for those who ask. */
  readonly read: () => Promise<unknown>;
  /** Is started, and stopped, with this: it reads all queues, too, and would make the first client wait. */
  readonly next: Service;
  /** After the reading, in ms: a client that came meanwhile has its answer then. @default 1_000 // 1 second */
  readonly settleMs?: number;
}

/** Fewer queues are read in some tens of milliseconds when a client asks. */
const minQueues = 1_000;

/**
 * Begins to read all queues when the server has started, before the first client asks which one is the worst: of 10,000 queues that
 * takes most of a second. The start does not wait for it. Best effort: when it fails, the first client has its own reading.
 */
export function createReadAhead({ count, read, next, settleMs = 1_000 }: ReadAheadOptions): Service {
  const stopping = new AbortController();

  async function startNext(): Promise<void> {
    if (!stopping.signal.aborted) await next.start();
  }

  async function readFirst(): Promise<void> {
    await read().catch(() => {});
    await pause(settleMs, stopping.signal);
    await startNext();
  }

  return {
    async start() {
      const queues = await count().catch(() => 0);
      if (queues < minQueues) await startNext();
      else void readFirst();
    },
    async stop() {
      stopping.abort();
      await next.stop();
    },
  };
}
