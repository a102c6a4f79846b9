import type { AlertStatus } from "../../src/core/alerts.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import type { QueueReader } from "../../src/exporters/all-queues.ts";

/** Reads queues that are EMPTY but for what `stateOf` says of them, or throws. Names are in order. */
export function fakeReader(
  names: readonly string[],
  stateOf: (queue: string) => Partial<QueueSnapshot> = () => ({}),
): QueueReader {
  return {
    choose: async (max) => ({ names: names.slice(0, max), known: names.length }),
    read: async (queues) =>
      queues.map((queue) => ({
        ...{ queue, source: "events", state: "EMPTY", accuracy: "EXACT", stale: false },
        ...{ oldestSinceMs: null, latencyMs: 0, depth: 0, scheduled: 0, lost: 0 },
        ...{ measuredAtMs: 1_790_000_000_000, changesAtMs: null, clockSkewMs: null },
        ...{ throughput: null, waitTime: null },
        ...stateOf(queue),
      })),
  };
}

/** Of which nothing was reported. */
export const noAlerts: AlertStatus = {
  ...{
    pending: 0,
    firing: 0,
    measuredAtMs: 1_790_000_000_000,
    decidedAtMs: null,
    outbox: 0,
    ignored: 0,
    unreadable: 0,
    rules: 0,
    receivers: [],
  },
};
