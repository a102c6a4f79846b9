import type { FollowSink } from "../core/log-following.ts";
import type { Tracer } from "../core/tracing.ts";
import { monotonicClock } from "../runtime/clock.ts";

/** Adds a trace for each reading of a job system that succeeded: how long it took to read, and to store. */
export function traceReadings(sink: FollowSink, tracer: Tracer): FollowSink {
  return {
    ...sink,
    async observe(observed, fence) {
      const readAtMs = monotonicClock.now();
      const { source, queues, sinceMs } = observed;
      const span = tracer.begin({
        name: "read source",
        kind: "internal",
        parent: null,
        client: source,
        sinceMs: sinceMs ?? readAtMs,
      });
      span?.set({ "queue.source": source, "queue_latency.queues": queues.length });
      if (sinceMs !== undefined) span?.add("read job system", sinceMs, readAtMs);
      try {
        await sink.observe(observed, fence);
        span?.add("store observation", readAtMs, monotonicClock.now());
        span?.end(false);
      } catch (error) {
        span?.end(true);
        throw error;
      }
    },
  };
}
