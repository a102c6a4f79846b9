import { type Estimate, type Forecast, type Health, healths } from "../core/health.ts";
import { roundedRate, secondsOf } from "../core/rounding.ts";
import { builder } from "./builder.ts";
import { describedValues } from "./described-values.ts";
import { QueueLatencyType } from "./queue-latency.ts";

export const HealthEnum = builder.enumType("Health", {
  description:
    "Health of a queue: the worst condition that is certain, from OK to STALLED. Conditions over a window need samples of the last five minutes, but for short gaps.",
  values: describedValues(healths, {
    OK: "No other condition holds. Also a queue that is EMPTY or PAUSED.",
    SLOW: "A job waits, and the head is older than `objective`; or, with no objective, the head was `overtaken` and is older than five minutes. One sample is enough. If the age comes from a producer's clock, also no sample of that time was empty.",
    FALLING_BEHIND:
      "Over the window more jobs came than left, by more than chance, and the head grew older: the lowest depth and age of each third of it are higher than those of the third before. A burst that is being drained has neither. Never while the window has a pause in it.",
    STALLED:
      "Jobs waited all through the window, none left, and the head is still the same. A queue whose workers all take longer than the window for one job is STALLED, too. Up to ten `overtaken` jobs are left out, here and for FALLING_BEHIND.",
    UNKNOWN:
      "Not known. The queue is MISSING or `stale`; `accuracy` is UNKNOWN or INCOMPLETE, or LOWER_BOUND and the head is not known to be late; or a job waits and there are too few samples to exclude the other conditions: in the first minutes of a queue, where no history is kept, and where a job system is read less often than once a minute.",
  }),
});

const EstimateType = builder.objectRef<Estimate>("Estimate").implement({
  description:
    "An estimate with its 90 % interval, if the last five minutes continue. In practice the interval holds in about eight of ten cases.",
  fields: (t) => ({
    low: t.float({
      description: "Lower end of the interval; never negative.",
      resolve: ({ low }) => roundedRate(low),
    }),
    likely: t.float({
      description: "The most likely value, from `low` to `high`.",
      resolve: ({ likely }) => roundedRate(likely),
    }),
    high: t.float({
      description: "Upper end of the interval.",
      resolve: ({ high }) => roundedRate(high),
    }),
  }),
});

const ForecastType = builder.objectRef<Forecast>("Forecast").implement({
  description:
    "Forecast of a queue, if the last five minutes continue. A number is null where no estimate is reliable.",
  fields: (t) => ({
    drainSeconds: t.expose("drainSeconds", {
      type: EstimateType,
      nullable: true,
      description:
        "Seconds until no job waits; 0 when none does. Null when the queue is PAUSED, when jobs have not waited for a minute without a break, when it is not sure that it drains, and when that may take more than six times as long as was looked back on: half an hour at most.",
    }),
    breachSeconds: t.expose("breachSeconds", {
      type: EstimateType,
      nullable: true,
      description:
        "Seconds until `latency` is above `objective`; 0 when it is. Null with no objective, when the head does not grow older for sure, when the queue drains before, and else as for `drainSeconds`.",
    }),
    capacityRatio: t.expose("capacityRatio", {
      type: EstimateType,
      nullable: true,
      description:
        "The capacity that the arrivals of the last five minutes need, as a multiple of the capacity seen: of the jobs that were dequeued while jobs waited all the time. Above 1 it is too little; at 1.5 three workers are needed for two. Null where the source reports no counts, and when fewer than 10 jobs came or were so dequeued, or jobs waited all the time for less than a minute.",
    }),
    unstable: t.exposeBoolean("unstable", {
      description:
        "True when more jobs arrive than workers take, for sure: the queue would never drain. False also when that cannot be determined.",
    }),
  }),
});

const firstOf = ([health = "UNKNOWN"]: readonly Health[]) => health;

/** More than the snapshot decides. */
const readsContext = { readsContext: true };

builder.objectFields(QueueLatencyType, (t) => ({
  health: t.field({
    type: HealthEnum,
    // A function, as everywhere where a cost is declared.
    complexity: () => 1,
    extensions: readsContext,
    description: "Health of the queue; UNKNOWN where it cannot be determined. Costs one point per queue.",
    resolve(snapshot, _, { health }) {
      const healths = snapshot.health === undefined ? health.healthOf([snapshot]) : [snapshot.health];
      return healths instanceof Promise ? healths.then(firstOf) : firstOf(healths);
    },
  }),
  objective: t.float({
    nullable: true,
    extensions: readsContext,
    description:
      "Within how many seconds jobs of this queue are to be taken: from the server's OBJECTIVES_FILE, else from the end of the queue's name, such as `within_30_seconds` or `latency_5m`. Null when neither has one.",
    resolve({ queue }, _, { health }) {
      const objectiveMs = health.objectiveMsOf(queue);
      return objectiveMs === null ? null : secondsOf(objectiveMs);
    },
  }),
  forecast: t.field({
    type: ForecastType,
    nullable: true,
    complexity: () => 1,
    extensions: readsContext,
    description:
      "Forecast of the queue, if the last five minutes continue. Null when the queue is MISSING or `stale`, or `accuracy` is UNKNOWN, INCOMPLETE or LOWER_BOUND. Costs one point per queue.",
    resolve: (snapshot, _, { health }) => health.forecastOf(snapshot),
  }),
}));
