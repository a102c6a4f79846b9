import type { JobIdentity, QueueEvent, RecordResult } from "../core/events.ts";
import type { SnapshotCache } from "./snapshot-cache.ts";

/** What changes queues that are known from events. */
export interface QueueWrites {
  record(events: readonly QueueEvent[], batchId: string | null): Promise<RecordResult>;
  trust(queue: string): Promise<boolean>;
  remove(queue: string, jobs: readonly JobIdentity[]): Promise<number>;
  forget(queue: string): Promise<boolean>;
}

/** The same writes; what this process has changed, its next answer shows. */
export function showOwnWrites(writes: QueueWrites, snapshots: Pick<SnapshotCache, "drop">): QueueWrites {
  async function showing<T>(queues: Iterable<string>, change: Promise<T>): Promise<T> {
    try {
      return await change;
    } finally {
      snapshots.drop(queues);
    }
  }
  return {
    record: (events, batchId) =>
      showing(
        events.map(({ queue }) => queue),
        writes.record(events, batchId),
      ),
    trust: (queue) => showing([queue], writes.trust(queue)),
    remove: (queue, jobs) => showing([queue], writes.remove(queue, jobs)),
    forget: (queue) => showing([queue], writes.forget(queue)),
  };
}
