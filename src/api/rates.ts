import { roundedRate, roundedSeconds } from "../core/rounding.ts";
import type { Throughput, WaitTime } from "../core/snapshot.ts";
import { builder } from "./builder.ts";

export const ThroughputType = builder.objectRef<Throughput>("Throughput").implement({
  description:
    "Mean rates of jobs over a window, by the times at which the events happened: an event that arrives late counts in the window in which it happened.",
  fields: (t) => ({
    enqueuedPerSecond: t.float({
      description: "Jobs enqueued, per second; 0 when none. Scheduled jobs count when they are enqueued.",
      resolve: ({ enqueuedPerSecond }) => roundedRate(enqueuedPerSecond),
    }),
    dequeuedPerSecond: t.float({
      description:
        "Jobs dequeued, per second; 0 when none. Removed jobs do not count; of a source that reads lists they do, unless many are purged at once.",
      resolve: ({ dequeuedPerSecond }) => roundedRate(dequeuedPerSecond),
    }),
    isLowerBound: t.boolean({
      description:
        "True when more jobs may have come and left: the source reads a list from time to time, and a job that comes and leaves between two readings is not counted.",
      resolve: ({ isLowerBound = false }) => isLowerBound,
    }),
  }),
});

export const WaitTimeType = builder.objectRef<WaitTime>("WaitTime").implement({
  description:
    "How long the jobs dequeued in a window had waited, from claimable to dequeued. Seconds; all 0 when `count` is 0. The window reaches back up to 5 % further than its name says.",
  fields: (t) => ({
    count: t.exposeInt("count", {
      description: "Number of dequeued jobs whose enqueue is known.",
    }),
    mean: t.float({
      description: "Mean wait, in seconds. Exact.",
      resolve: ({ mean }) => roundedSeconds(mean),
    }),
    p50: t.float({
      description: "Half of the jobs waited at most this long, in seconds. Within 2 %.",
      resolve: ({ p50 }) => roundedSeconds(p50),
    }),
    p95: t.float({
      description: "95 % of the jobs waited at most this long, in seconds. Within 2 %.",
      resolve: ({ p95 }) => roundedSeconds(p95),
    }),
    p99: t.float({
      description: "99 % of the jobs waited at most this long, in seconds. Within 2 %.",
      resolve: ({ p99 }) => roundedSeconds(p99),
    }),
    max: t.float({
      description: "The longest wait, in seconds. Exact.",
      resolve: ({ max }) => roundedSeconds(max),
    }),
    isUpperBound: t.boolean({
      description:
        "True when jobs that waited for less than one reading's interval may be missing, as in `Throughput.isLowerBound`: then the mean and the quantiles may be lower, and `count` higher.",
      resolve: ({ isUpperBound = false }) => isUpperBound,
    }),
  }),
});
