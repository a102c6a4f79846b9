import { AppError } from "../core/errors.ts";
import { type HistoryPoint, type HistoryStep, historySteps, stepSeconds } from "../core/history.ts";
import { secondsOf } from "../core/rounding.ts";
import type { FieldCost } from "../limits/field-cost.ts";
import { wallClock } from "../runtime/clock.ts";
import { builder } from "./builder.ts";
import type { ArgumentLimits } from "./context.ts";
import { QueueLatencyType } from "./queue-latency.ts";
import { WaitTimeType } from "./rates.ts";

const maxPoints = 1_000;
const pointsForOne = 10;

const HistoryStepEnum = builder.enumType("HistoryStep", {
  description: "Length of a step of the history.",
  values: {
    TEN_SECONDS: { description: "10 seconds; kept for HISTORY_TEN_SECONDS (default 6 hours)." },
    ONE_MINUTE: { description: "60 seconds; kept for HISTORY_MINUTES (default 48 hours)." },
    ONE_HOUR: { description: "3,600 seconds; kept for HISTORY_HOURS (default 90 days)." },
  } satisfies Record<HistoryStep, object>,
});

const HistoryPointType = builder.objectRef<HistoryPoint & { readonly step: HistoryStep }>("HistoryPoint");
HistoryPointType.implement({
  description:
    "One step of a queue's history. A step without a sample has no point: it is a gap, not zero. A queue that is stale or UNKNOWN has no sample; see `incompleteSamples` of one that is INCOMPLETE.",
  fields: (t) => ({
    at: t.field({
      type: "DateTime",
      description: "When the step began, by Redis's clock.",
      resolve: ({ atMs }) => new Date(atMs),
    }),
    step: t.expose("step", { type: HistoryStepEnum, description: "Length of the step." }),
    samples: t.exposeInt("samples", {
      description:
        "Number of samples in the step, one a second. Fewer than the step has seconds: part of it was not sampled. At least 1.",
    }),
    incompleteSamples: t.exposeInt("incompleteSamples", {
      description:
        "Number of these samples in which the queue was INCOMPLETE. Unless it is 0, the numbers of the step may be too high or too low.",
    }),
    maxLatency: t.float({
      description: "The highest latency in these samples, in seconds; 0 when no job waited.",
      resolve: ({ maxLatencyMs }) => secondsOf(maxLatencyMs),
    }),
    meanLatency: t.float({
      description: "Mean latency of these samples, in seconds; 0 when no job waited.",
      resolve: ({ meanLatencyMs }) => secondsOf(meanLatencyMs),
    }),
    maxDepth: t.exposeInt("maxDepth", {
      description:
        "The most jobs that waited in one of these samples. More may have waited unless `lowerBoundSamples` is 0.",
    }),
    lowerBoundSamples: t.int({
      description:
        "Number of these samples in which the depth was a lower bound: more jobs may have waited than were counted.",
      resolve: ({ lowerBoundSamples = 0 }) => lowerBoundSamples,
    }),
    enqueued: t.int({
      nullable: true,
      description:
        "Number of jobs enqueued, by when their events arrived. Null where the source does not report it.",
      resolve: ({ counts }) => counts?.enqueued ?? null,
    }),
    dequeued: t.int({
      nullable: true,
      description:
        "Number of jobs dequeued, by when their events arrived. Null where the source does not report it.",
      resolve: ({ counts }) => counts?.dequeued ?? null,
    }),
    waitTime: t.field({
      type: WaitTimeType,
      nullable: true,
      description:
        "Wait times of these dequeued jobs, quantiles within 6 %. Null where the source does not report it.",
      resolve: ({ counts }) => counts?.waitTime ?? null,
    }),
  }),
});

builder.objectField(QueueLatencyType, "history", (t) =>
  t.field({
    type: [HistoryPointType],
    args: {
      from: t.arg({
        type: "DateTime",
        required: true,
        description: "The first step begins then or later.",
      }),
      to: t.arg({ type: "DateTime", description: "The last step begins before this; now when left out." }),
      step: t.arg({
        type: HistoryStepEnum,
        description:
          "How long the steps are. When left out, the shortest that are kept since `from` and are not more than 1,000.",
      }),
    },
    complexity: (args, { limits, operation }): FieldCost => {
      if (operation === "subscription") {
        throw new AppError("BAD_USER_INPUT", "history is not available in subscriptions; use a query");
      }
      const { points: items } = rangeOf(args, limits);
      return { field: Math.ceil(items / pointsForOne), items, isTimed: true };
    },
    description:
      "Steps that are over, oldest first; steps without a sample are left out. A queue that is MISSING may still have some. Empty where no history is kept: of more queues than HISTORY_MAX_QUEUES, those in use have one. At most 1,000 steps. Costs a tenth of a point for each, whether it is there or a gap, per queue; in queries only. Errors: BAD_USER_INPUT, SERVICE_UNAVAILABLE.",
    async resolve({ queue }, args, { history, limits }) {
      const { step, fromMs, toMs } = rangeOf(args, limits);
      const points = await history.read({ queue, step, fromMs, toMs });
      return points.map((point) => ({ ...point, step }));
    },
  }),
);

interface HistoryArgs {
  readonly from: Date;
  readonly to?: Date | null | undefined;
  readonly step?: HistoryStep | null | undefined;
}

/** @throws AppError BAD_USER_INPUT when it is no range, or has more than 1,000 steps. */
function rangeOf({ from, to, step: asked }: HistoryArgs, { historyKeptMs }: ArgumentLimits) {
  // Only for the price and the default step: the client's clock and Redis's may be ahead of this machine's.
  const nowMs = wallClock.epochMs();
  const fromMs = from.getTime();
  const toMs = to?.getTime() ?? null;
  if (toMs !== null && fromMs > toMs) {
    throw new AppError("BAD_USER_INPUT", "history: expected a `from` that is not behind `to`");
  }
  const pointsOf = (step: HistoryStep) =>
    Math.max(0, Math.ceil((Math.min(toMs ?? nowMs, nowMs) - fromMs) / (stepSeconds[step] * 1000)));
  const fits = (step: HistoryStep) => pointsOf(step) <= maxPoints && nowMs - fromMs <= historyKeptMs[step];
  const step = asked ?? historySteps.find(fits) ?? "ONE_HOUR";
  const points = pointsOf(step);
  if (points > maxPoints) {
    const expected = `expected at most ${maxPoints} steps from \`from\` to \`to\``;
    throw new AppError("BAD_USER_INPUT", `history: ${expected}, got ${points} of ${step}`);
  }
  return { step, fromMs, toMs, points };
}
