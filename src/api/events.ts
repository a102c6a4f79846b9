import { wallClock } from "../core/clock.ts";
import { AppError } from "../core/errors.ts";
import type { eventTypes, QueueEvent, RecordResult } from "../core/events.ts";
import { checkQueueName, queueNameProblem } from "../core/queue-name.ts";
import { builder } from "./builder.ts";
import type { ArgumentLimits } from "./context.ts";
import { checkId, type JobInput, maxIdBytes, problemOfJob, toJobIdentity } from "./job-arguments.ts";
import { ownerOf } from "./queue-arguments.ts";

/** 2000-01-01: whatever is older was meant otherwise, as seconds in the place of milliseconds are. */
const earliestMs = Date.UTC(2000);
const furthestAheadMs = 10 * 365 * 86_400_000;

const QueueEventTypeEnum = builder.enumType("QueueEventType", {
  description: "What happened to a job.",
  values: {
    ENQUEUED: { description: "It entered the queue; it is claimable at once, or from `availableAt` on." },
    DEQUEUED: { description: "A worker took it. Its wait ends." },
    REMOVED: { description: "It left the queue without a worker taking it. Its wait counts nowhere." },
  } satisfies Record<(typeof eventTypes)[number], object>,
});

const QueueEventInput = builder.inputType("QueueEventInput", {
  description:
    "One thing that happened to one job. Queue, `jobId` and `attempt` together are the identity of the job's stay.",
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
        "Tells a retry of the same job from a repeated event. Count it up whenever a job is enqueued again.",
    }),
    at: t.field({
      type: "DateTime",
      description: "When it happened. Default: when it is heard. A time in the future is taken for now.",
    }),
    availableAt: t.field({
      type: "DateTime",
      description:
        "ENQUEUED only: claimable from then on. Default: `at`. In the future, the job is scheduled.",
    }),
  }),
});

const RecordEventsPayload = builder.objectRef<RecordResult>("RecordEventsPayload").implement({
  description: "What became of a batch. All of it has been applied.",
  fields: (t) => ({
    accepted: t.exposeInt("accepted", {
      description: "Events that were news, the early ones among them. Free.",
    }),
    duplicates: t.exposeInt("duplicates", {
      description: "Events that had been heard before, and changed nothing. Free.",
    }),
    early: t.exposeInt("early", {
      description:
        "Dequeues whose enqueue has not arrived yet. They are remembered, and cancel it when it does. Free.",
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
        description: "The events, in any order, of any queues.",
      }),
      batchId: t.arg.id({
        description:
          "A new, unique id for each batch, such as a UUID. A batch that is sent again with its id, within EVENT_WINDOW, changes nothing and gets the answer that it got first. Other events with a known id are BAD_USER_INPUT; those of queues that the first batch did not name may have been applied.",
      }),
    },
    extensions: { scope: "record" },
    complexity({ events, batchId }, { limits }) {
      checkEvents(events, limits);
      if (batchId != null) checkId(String(batchId), "batchId");
      return 1;
    },
    description:
      "Takes down what happened to jobs. Answered when all of it has been applied; on SERVICE_UNAVAILABLE some of it may have been, and the batch may be sent again. All or nothing for each queue. Costs one point; needs the scope `record`. Errors: BAD_USER_INPUT, which names the first bad event and refuses the whole batch; TOO_MANY_KNOWN_QUEUES when it names more new queues than MAX_KNOWN_QUEUES allows, and then nothing is recorded.",
    resolve: (_, { events, batchId }, { tracker }) =>
      tracker.record(events.map(toEvent), batchId == null ? null : String(batchId)),
  }),
);

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
      "Removes all that is known of a queue, which is MISSING from then on. True when it was known. A queue that a job system still lists comes back with the next reading. Costs one point; needs the scope `admin`. Errors: BAD_USER_INPUT.",
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
      "Ends the doubt of a queue of which Redis has lost events: its `accuracy` is EXACT from then on, instead of INCOMPLETE until MAX_WAIT has passed. For when somebody has looked, and removed what is wrong with `removeWaitingJobs`. True when there was a doubt. Costs one point; needs the scope `admin`. Errors: BAD_USER_INPUT.",
    resolve: (_, { queue }, { tracker }) => tracker.trust(queue),
  }),
);

interface EventInput extends JobInput {
  readonly type: (typeof eventTypes)[number];
  readonly queue: string;
  readonly at?: Date | null | undefined;
  readonly availableAt?: Date | null | undefined;
}

function toEvent(input: EventInput): QueueEvent {
  return {
    type: input.type,
    queue: input.queue,
    ...toJobIdentity(input),
    atMs: input.at?.getTime() ?? null,
    availableAtMs: input.availableAt?.getTime() ?? null,
  };
}

function checkEvents(events: readonly EventInput[], limits: ArgumentLimits): void {
  if (events.length > limits.maxEvents) {
    throw new AppError("BAD_USER_INPUT", `expected at most ${limits.maxEvents} events, got ${events.length}`);
  }
  const nowMs = wallClock.epochMs();
  events.forEach((event, i) => {
    const problem = eventProblem(event, limits, nowMs);
    if (problem !== null) throw new AppError("BAD_USER_INPUT", `events[${i}].${problem}`);
  });
}

function eventProblem(event: EventInput, limits: ArgumentLimits, nowMs: number): string | null {
  const nameProblem = queueNameProblem(event.queue);
  if (nameProblem !== null) return `queue: ${nameProblem}`;
  const source = ownerOf(event.queue, limits);
  if (source !== null)
    return `queue: names that begin with "${source}/" belong to the queues read from ${source}`;
  const jobProblem = problemOfJob(event);
  if (jobProblem !== null) return jobProblem;
  if (event.availableAt != null && event.type !== "ENQUEUED") {
    return `availableAt: only an ENQUEUED event has one, this one is ${event.type}`;
  }
  for (const name of ["at", "availableAt"] as const) {
    const timeProblem = problemOfTime(event[name]?.getTime(), nowMs);
    if (timeProblem !== null) return `${name}: ${timeProblem}`;
  }
  return null;
}

function problemOfTime(timeMs: number | undefined, nowMs: number): string | null {
  if (timeMs === undefined) return null;
  if (timeMs < earliestMs) return "expected a time since 2000; were seconds taken for milliseconds?";
  if (timeMs > nowMs + furthestAheadMs) return "expected a time within the next ten years";
  return null;
}
