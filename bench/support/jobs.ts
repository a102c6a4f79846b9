import { setTimeout as delay } from "node:timers/promises";
import type { QueueEvent } from "../../src/core/events.ts";
import type { TestTracker } from "../../test/support/tracker.ts";

type Recording = Pick<TestTracker, "tracker">;

/** Jobs that have come within the last ten minutes, with ids of 24 characters, a thousand to a batch. */
export async function enqueue({ tracker }: Recording, queue: string, count: number): Promise<void> {
  const nowMs = Date.now();
  for (let from = 0; from < count; from += 1_000) {
    const events = Array.from({ length: Math.min(1_000, count - from) }, (_, i): QueueEvent => {
      const jobId = String(from + i).padStart(24, "0");
      const atMs = nowMs - ((from + i) % 600_000);
      return { type: "ENQUEUED", queue, jobId, attempt: 0, atMs, availableAtMs: null };
    });
    await tracker.record(events, null);
  }
}

/** Takes out the jobs that `enqueue` has put in, as if they had been worked on: the queue is known, and no job waits. */
export async function empty({ tracker }: Recording, queue: string, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, i): QueueEvent => {
    const jobId = String(i).padStart(24, "0");
    return { type: "DEQUEUED", queue, jobId, attempt: 0, atMs: null, availableAtMs: null };
  });
  await tracker.record(events, null);
}

/** One more job, now: a change that is pushed to each subscriber of the queue. */
export function createChanges({ tracker }: Recording): (queue: string) => Promise<void> {
  let count = 0;
  return async (queue) => {
    const jobId = `change-${count++}`;
    await tracker.record(
      [{ type: "ENQUEUED", queue, jobId, attempt: 0, atMs: null, availableAtMs: null }],
      null,
    );
  };
}

/** Records this number of jobs a second, in the queues in turn, until it is disposed of. */
export function keepRecording(
  recording: Recording,
  queues: readonly string[],
  perSecond: number,
): AsyncDisposable {
  const change = createChanges(recording);
  const stop = new AbortController();
  const run = async () => {
    for (let n = 0; !stop.signal.aborted; n++) {
      await change(queues[n % queues.length] ?? "");
      await delay(1_000 / perSecond, undefined, { signal: stop.signal }).catch(() => {});
    }
  };
  const ended = run();
  // A failure is reported where it is awaited, at the end.
  ended.catch(() => {});
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}
