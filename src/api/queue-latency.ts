import type { GraphQLResolveInfo } from "graphql";
import { AppError } from "../core/errors.ts";
import { maxQueueNameBytes } from "../core/queue-name.ts";
import { secondsOf } from "../core/rounding.ts";
import {
  accuracies,
  inOrderLatencyMs,
  type QueueSnapshot,
  queueStates,
  type Window,
  windowSeconds,
  windows,
} from "../core/snapshot.ts";
import { type FieldCost, text } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import { describedValues } from "./described-values.ts";
import { NodeInterface } from "./node.ts";
import { checkBounds, checkQueues } from "./queue-arguments.ts";
import { ThroughputType, WaitTimeType } from "./rates.ts";
import { selectedParts, selectsAny } from "./selected-parts.ts";

export const QueueStateEnum = builder.enumType("QueueState", {
  description: "Whether a queue is known, and whether a job waits in it.",
  values: describedValues(queueStates, {
    MISSING:
      "Unknown queue: no event named it, and no job system that has answered lists it. Every number is null.",
    EMPTY:
      "Known, and no job waits, unless `accuracy` is INCOMPLETE or UNKNOWN: then one may wait unseen. Scheduled jobs may be there that are not claimable yet.",
    WAITING: "At least one job waits to be dequeued.",
    PAUSED: "Paused in its job system: workers do not dequeue from it. Jobs may wait.",
  }),
});

export const AccuracyEnum = builder.enumType("Accuracy", {
  description: "How far `latency` can be trusted.",
  values: describedValues(accuracies, {
    EXACT: "The head's own time is known, and no event is known to be lost.",
    ESTIMATED: "The head's time comes from a clock that may differ from Redis's.",
    LOWER_BOUND: "The head has waited at least this long, perhaps longer.",
    INCOMPLETE:
      "Redis has lost acknowledged events (a failover, a restart from an older file, an evicted key), so `latency`, `depth` and counts may be too high or too low. Ends when MAX_WAIT has passed since the loss was found, with `forgetQueue`, or with `trustQueue`.",
    UNKNOWN:
      "`latency` is not known, and null. `state` and `depth` say what is known. Also of a queue with jobs from before the clock of Redis was set, and of one whose keys in Redis are not what was written; `forgetQueue` repairs the latter.",
  }),
});

const WindowEnum = builder.enumType("Window", {
  description: "Time window of rates and wait times, up to now.",
  values: describedValues(windows, {
    ONE_MINUTE: "The last 60 seconds.",
    FIVE_MINUTES: "The last 5 minutes.",
    FIFTEEN_MINUTES: "The last 15 minutes.",
  }),
});

export const QueueLatencyType = builder.objectRef<QueueSnapshot>("QueueLatency").implement({
  description: "State of one queue at one instant.",
  interfaces: [NodeInterface],
  extensions: { isImmutable: true },
  fields: (t) => ({
    queue: t.exposeString("queue", {
      complexity: text(maxQueueNameBytes),
      description:
        "Name of the queue: the name that its events give, or `<source>/<name>` when a job system is asked about it.",
    }),
    source: t.exposeString("source", {
      nullable: true,
      description:
        'Where the numbers come from: "events" for recorded events, or the job system\'s name, such as "faktory". Null when MISSING.',
    }),
    state: t.expose("state", {
      type: QueueStateEnum,
      description: "Whether the queue is known, and whether a job waits in it.",
    }),
    latency: t.float({
      nullable: true,
      description:
        "Seconds since the head, the waiting job that has been claimable longest, became claimable. 0 when no job waits; never negative. Null when it is not known: `state` is MISSING or `accuracy` UNKNOWN. See `stale` before you act on it.",
      resolve: ({ latencyMs }) => (latencyMs === null ? null : secondsOf(latencyMs)),
    }),
    oldestSince: t.field({
      type: "DateTime",
      nullable: true,
      description:
        "When the head became claimable, by Redis's clock. Null when no job waits, and where `latency` is null.",
      resolve: ({ oldestSinceMs }) => (oldestSinceMs === null ? null : new Date(oldestSinceMs)),
    }),
    overtaken: t.int({
      nullable: true,
      description:
        "Number of waiting jobs that were overtaken: they became claimable before every job that was dequeued in the last minute or longer, three jobs at least. So they are left behind, by a killed worker or since no worker takes jobs of their kind; or workers prefer other jobs. They are the oldest of `waitingJobs`. Dequeued jobs whose enqueue is not known do not count. 0 when none. Known of recorded events, of BullMQ, and of Oban, River, pg-boss and GoodJob, up to 1,000; null of other sources, and where `latency` is null.",
      resolve: ({ overtaken }) => overtaken ?? null,
    }),
    inOrderLatency: t.float({
      nullable: true,
      description:
        "Seconds since the oldest waiting job that was not `overtaken` became claimable: the `latency` of the jobs that are served in order. 0 when there is none; `latency` when no job was overtaken. Null where `overtaken` is null.",
      resolve(snapshot) {
        const latencyMs = inOrderLatencyMs(snapshot);
        return latencyMs === null ? null : secondsOf(latencyMs);
      },
    }),
    depth: t.exposeInt("depth", {
      nullable: true,
      description:
        "Number of waiting jobs, without scheduled ones; 0 when none. Null when MISSING, and where the source does not report it.",
    }),
    depthIsLowerBound: t.boolean({
      description:
        "Whether more jobs than `depth` may wait: the source counts them up to a limit, 10,000 in Postgres. False where `depth` is null.",
      resolve: ({ depthIsLowerBound = false }) => depthIsLowerBound,
    }),
    scheduled: t.exposeInt("scheduled", {
      nullable: true,
      description:
        "Number of jobs that are enqueued but not claimable yet; 0 when none. Null when MISSING, and where the source does not report it.",
    }),
    inFlight: t.int({
      nullable: true,
      description:
        "Number of jobs that were delivered to a worker and are not acknowledged yet, whether it is at work on them or was killed; 0 when none. They do not wait. Null when MISSING, and where the source does not report it.",
      resolve: ({ inFlight }) => inFlight ?? null,
    }),
    inFlightIdle: t.float({
      nullable: true,
      description:
        "Seconds since the oldest job in flight was last delivered to a worker: where it grows, a worker was killed or hangs. Null when none is in flight, and where the source does not report it; today only Redis Streams does.",
      resolve: ({ inFlightSinceMs = null, measuredAtMs }) =>
        inFlightSinceMs === null ? null : secondsOf(Math.max(0, measuredAtMs - inFlightSinceMs)),
    }),
    lost: t.int({
      nullable: true,
      description:
        "Number of jobs that were dropped since the queue became known: they had waited for longer than MAX_WAIT, so their DEQUEUED event was probably lost. A job whose DEQUEUED arrives within EVENT_WINDOW after that no longer counts. Null where a job system reports the queue, and when MISSING.",
      resolve: ({ lost }) => lost,
    }),
    accuracy: t.expose("accuracy", {
      type: AccuracyEnum,
      description: "How far `latency` can be trusted; UNKNOWN when MISSING.",
    }),
    measuredAt: t.field({
      type: "DateTime",
      description:
        "The instant of these numbers, by Redis's clock. A query may get a snapshot up to MAX_AGE old, if no change of the queue was published since.",
      resolve: ({ measuredAtMs }) => new Date(measuredAtMs),
    }),
    stale: t.exposeBoolean("stale", {
      description: "True when the source has not answered lately: the numbers are those of `measuredAt`.",
    }),
    clockSkew: t.float({
      nullable: true,
      description:
        "Seconds by which the clock of the newest job's producer is ahead of the clock of its job system's Redis; negative when it is behind, and by the time between producer and Redis. Null where not both are known.",
      resolve: ({ clockSkewMs }) => (clockSkewMs === null ? null : secondsOf(clockSkewMs)),
    }),
    throughput: t.field({
      type: ThroughputType,
      nullable: true,
      args: {
        window: t.arg({
          type: WindowEnum,
          required: true,
          defaultValue: "ONE_MINUTE",
          description: "The window.",
        }),
      },
      // A function, so that the arguments are checked before anything runs.
      complexity: () => 1,
      description:
        "Rates of jobs enqueued and dequeued. Null where the source does not report them, where BullMQ dropped events of the window before they were read, where the clock of Redis was set in the window, and in a push while the queue is `stale`. Costs one point per queue. Errors: SERVICE_UNAVAILABLE in a push when Redis does not answer.",
      resolve: ({ throughput }, { window }) => countedIn(throughput, window),
    }),
    waitTime: t.field({
      type: WaitTimeType,
      nullable: true,
      args: {
        window: t.arg({
          type: WindowEnum,
          required: true,
          defaultValue: "FIVE_MINUTES",
          description: "The window.",
        }),
      },
      // A function, so that the arguments are checked before anything runs.
      complexity: () => 1,
      description:
        "Wait times of dequeued jobs. Null where the source does not report them, where BullMQ dropped events of the window before they were read, where the clock of Redis was set in the window, and in a push while the queue is `stale`. Costs one point per queue. Errors: SERVICE_UNAVAILABLE in a push when Redis does not answer.",
      resolve: ({ waitTime }, { window }) => countedIn(waitTime, window),
    }),
  }),
});

const queuesDescription =
  "Names of queues, each 1 to 200 bytes of printable text without `*`. A name that is given twice is answered once.";

builder.queryField("queueLatency", (t) =>
  t.field({
    type: [QueueLatencyType],
    args: { queues: t.arg.stringList({ required: true, description: queuesDescription }) },
    complexity: ({ queues }, { limits }) => perQueue(checkQueues(queues, limits).length),
    description:
      "State of the named queues, in the order of `queues`, each name once. Costs one point for each queue, however many jobs wait in it. Errors: TOO_MANY_QUEUES, BAD_USER_INPUT.",
    resolve: (_, { queues }, { tracker, limits }, info) =>
      tracker.read(checkQueues(queues, limits), selectedParts(info)),
  }),
);

builder.subscriptionField("queueLatency", (t) =>
  t.field({
    type: [QueueLatencyType],
    args: {
      queues: t.arg.stringList({ required: true, description: queuesDescription }),
      minIntervalMs: t.arg.int({
        required: true,
        defaultValue: 100,
        description: "Two pushes are at least this many milliseconds apart; 50 to 60000.",
      }),
      refreshMs: t.arg.int({
        required: true,
        defaultValue: 1000,
        description:
          "Queues in which a job waits, or is in flight where `inFlightIdle` is known, are pushed again after this many milliseconds, since they have grown older; and queues of which `throughput`, `waitTime` or `forecast` is selected, while its window may have an event. 250 to 60000, or 0 for never.",
      }),
    },
    complexity({ queues, minIntervalMs, refreshMs }, { limits }) {
      checkBounds("minIntervalMs", minIntervalMs, 50, 60_000);
      checkBounds("refreshMs", refreshMs, 250, 60_000, 0);
      return perQueue(checkQueues(queues, limits).length);
    },
    description:
      "All named queues at once; then those that changed, at most every `minIntervalMs`, and every `refreshMs` those in which a job waits, or whose selected counts may have changed. A slow reader gets the newest state and skips what it missed. Throughput and wait times are read again when a queue changes, else after `refreshMs`, or 0.9 s if that is less; where they are selected, events that change nothing else cause a push, too. Health and forecast are computed for each push. Charged once, when it starts: one point for each queue. Errors: TOO_MANY_QUEUES, TOO_MANY_SUBSCRIPTIONS, BAD_USER_INPUT.",
    subscribe: (_, { queues, minIntervalMs, refreshMs }, { limits, live }, info) =>
      live.watch(checkQueues(queues, limits), { minIntervalMs, refreshMs, countedMs: countedMs(info) }),
    async resolve(snapshots, { refreshMs }, { live }, info) {
      const parts = selectedParts(info);
      if (parts.throughput.size === 0 && parts.waitTime.size === 0) return snapshots;
      // A little less than the time until the next push, so that it has counts of its own.
      const holdMs = refreshMs === 0 ? Number.POSITIVE_INFINITY : 0.9 * refreshMs;
      return await live.withCounts(snapshots, parts, holdMs);
    },
  }),
);

/** The longest window of what is selected of each queue, in ms; 0 when nothing that is selected has a window. */
function countedMs(info: GraphQLResolveInfo): number {
  const { throughput, waitTime } = selectedParts(info);
  const selected = new Set([...throughput, ...waitTime]);
  if (selectsAny(info, ["forecast"])) selected.add("FIVE_MINUTES");
  return 1_000 * Math.max(0, ...[...selected].map((window) => windowSeconds[window]));
}

function perQueue(count: number): FieldCost {
  return { field: count, multiplier: count, items: count };
}

/** @throws AppError SERVICE_UNAVAILABLE when the window was asked for and could not be read: null would say that the source does not report it. */
function countedIn<T>(counts: Readonly<Partial<Record<Window, T | null>>> | null, window: Window): T | null {
  if (counts === null) return null;
  const counted = counts[window];
  if (counted !== undefined) return counted;
  throw new AppError("SERVICE_UNAVAILABLE", "Redis does not answer; the next push reads it again", {
    retryAfterSeconds: 1,
  });
}
