import { AppError } from "../core/errors.ts";
import type { eventTypes, RecordResult } from "../core/events.ts";
import { checkQueueName } from "../core/queue-name.ts";
import { type FieldCost, text } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import type { ArgumentLimits } from "./context.ts";
import { describedValues } from "./described-values.ts";
import { type CheckedEvents, checkEvents, type RejectedEvent } from "./event-input.ts";
import { checkId, maxIdBytes } from "./job-arguments.ts";

const QueueEventTypeEnum = builder.enumType("QueueEventType", {
  description: "What happened to a job.",
  values: {
    ENQUEUED: { description: "It entered the queue; it is claimable at once, or from `availableAt` on." },
    DEQUEUED: { description: "A worker took it. Its wait ends." },
    REMOVED: { description: "It left the queue without a worker. It counts in no rate and no wait time." },
  } satisfies Record<(typeof eventTypes)[number], object>,
});

const QueueEventInput = builder.inputType("QueueEventInput", {
  description:
    "One thing that happened to one job. Queue, `jobId` and `attempt` together identify the job's stay in the queue.",
  fields: (t) => ({
    type: t.field({ type: QueueEventTypeEnum, required: true, description: "What happened." }),
    queue: t.string({
      required: true,
      description: "Name of the queue: 1 to 200 bytes of printable text without `*`.",
    }),
    jobId: t.id({ required: true, description: `The job's id: 1 to ${maxIdBytes} bytes.` }),
    attempt: t.int({
      required: true,
      defaultValue: 0,
      description:
        "Distinguishes a retry of the same job from a repeated event. Increase it whenever a job is enqueued again.",
    }),
    at: t.field({
      type: "DateTime",
      description:
        "When it happened, from 2000 to 2099. Default: when it arrives. A time in the future counts as now. A time longer ago than EVENT_WINDOW is accepted as it is; for longer than MAX_WAIT, see `expired`.",
    }),
    availableAt: t.field({
      type: "DateTime",
      description:
        "ENQUEUED only: claimable from then on. Default: `at`. In the future, the job is scheduled.",
    }),
  }),
});

const OnInvalidEnum = builder.enumType("OnInvalid", {
  description: "What to do with a batch in which some events are invalid.",
  values: describedValues(["REFUSE_BATCH", "SKIP"] as const, {
    REFUSE_BATCH: "Record none of its events, and answer BAD_USER_INPUT.",
    SKIP: "Record the valid events, and answer the others as `rejected`.",
  }),
});

const RejectedEventType = builder.objectRef<RejectedEvent>("RejectedEvent").implement({
  description:
    "An event that was not recorded, since it is invalid. Sending it again as it is changes nothing.",
  fields: (t) => ({
    eventIndex: t.exposeInt("eventIndex", { description: "Its position in `events`, from 0." }),
    field: t.exposeString("field", {
      nullable: true,
      description: "Its first invalid field. Null when the event is not an object.",
    }),
    reason: t.exposeString("reason", {
      complexity: text(200),
      description: "What is wrong, for people: what was expected, what came.",
    }),
  }),
});

interface Recorded extends RecordResult {
  readonly rejected: readonly RejectedEvent[];
}

const RecordEventsPayload = builder.objectRef<Recorded>("RecordEventsPayload").implement({
  description:
    "Result of a batch, all of whose valid events have been applied. Each event is counted as one of `accepted`, `duplicates` and `rejected`.",
  fields: (t) => ({
    accepted: t.exposeInt("accepted", {
      description: "Number of events that were new, the early ones among them.",
    }),
    duplicates: t.exposeInt("duplicates", {
      description: "Number of events that were known already, and changed nothing.",
    }),
    early: t.exposeInt("early", {
      description:
        "Number of dequeues whose enqueue has not arrived yet. Each is remembered, and cancels its enqueue when that arrives.",
    }),
    expired: t.exposeInt("expired", {
      description:
        "Number of accepted enqueues whose job had been claimable for longer than MAX_WAIT. Such a job counts as `lost`, not as waiting, until its DEQUEUED arrives.",
    }),
    rejected: t.field({
      type: [RejectedEventType],
      description: "The invalid events, in the order of `events`. Empty unless `onInvalid` is SKIP.",
      resolve: ({ rejected }) => rejected,
    }),
  }),
});

builder.mutationField("recordEvents", (t) =>
  t.field({
    type: RecordEventsPayload,
    args: {
      events: t.arg({
        type: [QueueEventInput],
        required: true,
        description: "The events, in any order, of any queues; at most MAX_EVENTS.",
      }),
      batchId: t.arg.id({
        description:
          "A new, unique id for each batch, such as a UUID. A batch that is sent again with its id, within EVENT_WINDOW, changes nothing and gets the first answer. Other events with a known id are BAD_USER_INPUT; those of queues that the first batch did not name may have been applied.",
      }),
      onInvalid: t.arg({
        type: OnInvalidEnum,
        required: true,
        defaultValue: "REFUSE_BATCH",
        description: "What to do when some events are invalid.",
      }),
    },
    extensions: { scope: "record" },
    complexity({ events: sent, batchId, onInvalid }, { limits }): FieldCost {
      const { events } = checkBatch(sent, onInvalid, limits);
      if (batchId != null) checkId(String(batchId), "batchId");
      const queues = new Set(events.map(({ queue }) => queue)).size;
      return { field: Math.max(queues, 1), events: sent.length + eventsPerQueue * Math.max(0, queues - 1) };
    },
    description:
      "Records job lifecycle events. Answered when all of them have been applied; on SERVICE_UNAVAILABLE some may have been: send the same batch again, with its `batchId`. All or nothing for each queue. Costs one point for each distinct queue, which counts towards MAX_COST; its events, and ten more for each queue beyond the first, are charged to RECORD_RATE_LIMIT, and nothing to RATE_LIMIT_MAX. Needs the scope `record`. Errors: BAD_USER_INPUT, whose `extensions.rejected` lists the first 100 invalid events as `{ eventIndex, field, reason }`, and `extensions.rejectedCount` counts them; TOO_MANY_KNOWN_QUEUES when the batch names more new queues than MAX_KNOWN_QUEUES allows: then nothing is recorded, whatever `onInvalid` says, and `extensions.newQueues` lists ten of them at most.",
    async resolve(_, { events: sent, batchId, onInvalid }, { tracker, limits }) {
      const { events, rejected } = checkBatch(sent, onInvalid, limits);
      const result = await tracker.record(events, batchId == null ? null : String(batchId));
      return { ...result, rejected };
    },
  }),
);

const maxListed = 100;
/** Recording one event of each of many queues takes as long as ten of the same queue do. */
const eventsPerQueue = 10;

/** @throws AppError BAD_USER_INPUT for too many events, and for invalid ones unless they are to be skipped. */
function checkBatch(
  sent: readonly unknown[],
  onInvalid: "REFUSE_BATCH" | "SKIP",
  limits: ArgumentLimits,
): CheckedEvents {
  if (sent.length > limits.maxEvents) {
    throw new AppError("BAD_USER_INPUT", `expected at most ${limits.maxEvents} events, got ${sent.length}`);
  }
  const checked = checkEvents(sent, limits);
  const [first] = checked.rejected;
  if (first === undefined || onInvalid === "SKIP") return checked;
  const { eventIndex, field, reason } = first;
  const rejectedCount = checked.rejected.length;
  const others = rejectedCount === 1 ? "" : `; ${rejectedCount} of ${sent.length} events are invalid`;
  const where = `events[${eventIndex}]${field === null ? "" : `.${field}`}`;
  throw new AppError("BAD_USER_INPUT", `${where}: ${reason}${others}`, {
    details: { rejected: checked.rejected.slice(0, maxListed), rejectedCount },
  });
}

builder.mutationField("forgetQueue", (t) =>
  t.field({
    type: "Boolean",
    args: { queue: t.arg.string({ required: true, description: "Name of the queue." }) },
    extensions: { scope: "admin" },
    complexity({ queue }) {
      checkQueueName(queue, "queue");
      return 1;
    },
    description:
      "Removes a queue with its jobs, counts and history; it is MISSING from then on. True when it was known. A queue that a job system still lists comes back with the next reading. Costs one point; needs the scope `admin`. Errors: BAD_USER_INPUT.",
    resolve: (_, { queue }, { tracker }) => tracker.forget(queue),
  }),
);

builder.mutationField("trustQueue", (t) =>
  t.field({
    type: "Boolean",
    args: { queue: t.arg.string({ required: true, description: "Name of the queue." }) },
    extensions: { scope: "admin" },
    complexity({ queue }) {
      checkQueueName(queue, "queue");
      return 1;
    },
    description:
      "Ends the INCOMPLETE `accuracy` of a queue of which Redis has lost events: it is EXACT from then on, instead of when MAX_WAIT has passed. First remove wrong jobs with `removeWaitingJobs`. True when it was INCOMPLETE. Costs one point; needs the scope `admin`. Errors: BAD_USER_INPUT.",
    resolve: (_, { queue }, { tracker }) => tracker.trust(queue),
  }),
);
