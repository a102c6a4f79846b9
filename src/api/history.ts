import { wallClock } from "../core/clock.ts";
import { AppError } from "../core/errors.ts";
import { type HistoryPoint, type HistoryStep, historySteps, stepSeconds } from "../core/history.ts";
import type { FieldCost } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import type { ArgumentLimits } from "./context.ts";
import { QueueLatencyType, WaitTimeType } from "./queue-latency.ts";
import { secondsOf } from "./rounding.ts";

const maxPoints = 1_000;
const pointsForOne = 10;

const HistoryStepEnum = builder.enumType("HistoryStep", {
  description: "How long a step of the history is.",
  values: {
    TEN_SECONDS: { description: "10 seconds; kept for HISTORY_TEN_SECONDS, 6 hours unless it is set." },
    ONE_MINUTE: { description: "60 seconds; kept for HISTORY_MINUTES, 48 hours unless it is set." },
    ONE_HOUR: { description: "3,600 seconds; kept for HISTORY_HOURS, 90 days unless it is set." },
  } satisfies Record<HistoryStep, object>,
});

const HistoryPointType = builder.objectRef<HistoryPoint & { readonly step: HistoryStep }>("HistoryPoint");
HistoryPointType.implement({
  description:
    "What was seen of a queue in one step. There is no point for a step in which nobody looked, or could not tell: a gap, not zero.",
  fields: (t) => ({
    at: t.field({
      type: "DateTime",
      description: "When the step began, by Redis's clock. Free.",
      resolve: ({ atMs }) => new Date(atMs),
    }),
    step: t.expose("step", { type: HistoryStepEnum, description: "How long it is. Free." }),
    samples: t.exposeInt("samples", {
      description:
        "How often the queue was looked at in it: once a second, so fewer than the step has seconds means that part of it was not seen. At least 1. Free.",
    }),
    maxLatency: t.float({
      description: "The highest latency in these samples, in seconds; 0 when nothing waited. Free.",
      resolve: ({ maxLatencyMs }) => secondsOf(maxLatencyMs),
    }),
    meanLatency: t.float({
      description: "Mean latency of these samples, in seconds; 0 when nothing waited. Free.",
      resolve: ({ meanLatencyMs }) => secondsOf(meanLatencyMs),
    }),
    maxDepth: t.exposeInt("maxDepth", {
      description: "The most jobs that waited in one of these samples. Free.",
    }),
    enqueued: t.int({
      nullable: true,
      description:
        "How many jobs were enqueued, by when it was heard. Null where the source cannot tell. Free.",
      resolve: ({ counts }) => counts?.enqueued ?? null,
    }),
    dequeued: t.int({
      nullable: true,
      description:
        "How many jobs were dequeued, by when it was heard. Null where the source cannot tell. Free.",
      resolve: ({ counts }) => counts?.dequeued ?? null,
    }),
    waitTime: t.field({
      type: WaitTimeType,
      nullable: true,
      description:
        "Wait times of these dequeued jobs; here quantiles are within 6 %. Null where the source cannot tell. Free.",
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
        throw new AppError("BAD_USER_INPUT", "history: ask for it in a query, for no push changes what was");
      }
      const { points: items } = rangeOf(args, limits);
      return { field: Math.ceil(items / pointsForOne), items };
    },
    description:
      "What was, in steps that are over, oldest first; steps in which nobody looked are left out. Of a queue that is MISSING, what is left of it. Empty where no history is kept: of more queues than HISTORY_MAX_QUEUES, those in use have one. At most 1,000 steps. Costs a tenth of a point for each, whether it is there or a gap, per queue; in queries only. Errors: BAD_USER_INPUT, SERVICE_UNAVAILABLE.",
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
