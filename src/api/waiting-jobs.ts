import { AppError } from "../core/errors.ts";
import { checkQueueName } from "../core/queue-name.ts";
import { secondsOf } from "../core/rounding.ts";
import type { WaitingJob } from "../core/snapshot.ts";
import { type FieldCost, text } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import { jobProblem, maxIdBytes, toJobIdentity } from "./job-arguments.ts";
import { checkBounds, ownerOf, pageCost } from "./queue-arguments.ts";

const maxListed = 1000;

const WaitingJobType = builder.objectRef<WaitingJob>("WaitingJob").implement({
  description: "A job that is claimable, and of which no DEQUEUED or REMOVED event has arrived.",
  fields: (t) => ({
    jobId: t.exposeID("jobId", {
      complexity: text(maxIdBytes),
      description: "The id that its events give, or that its job system gives.",
    }),
    attempt: t.exposeInt("attempt", {
      description:
        "The attempt that its events give, 0 unless they say otherwise. Always 0 where a job system reports the queue.",
    }),
    since: t.field({
      type: "DateTime",
      description: "When it became claimable, by Redis's clock.",
      resolve: ({ sinceMs }) => new Date(sinceMs),
    }),
    waited: t.float({
      description: "Seconds since it became claimable; never negative.",
      resolve: ({ waitedMs }) => secondsOf(waitedMs),
    }),
  }),
});

const WaitingJobInput = builder.inputType("WaitingJobInput", {
  description: "Names one job of a queue, as `waitingJobs` does.",
  fields: (t) => ({
    jobId: t.id({ required: true, description: `The job's id: 1 to ${maxIdBytes} bytes.` }),
    attempt: t.int({ required: true, defaultValue: 0, description: "The attempt that its events give." }),
  }),
});

builder.queryField("waitingJobs", (t) =>
  t.field({
    type: [WaitingJobType],
    args: {
      queue: t.arg.string({ required: true, description: "Name of the queue." }),
      first: t.arg.int({
        required: true,
        defaultValue: 50,
        description: `Maximum number of jobs, 0 to ${maxListed}.`,
      }),
    },
    extensions: { scope: "admin" },
    complexity({ queue, first }): FieldCost {
      checkQueueName(queue, "queue");
      checkBounds("first", first, 0, maxListed);
      return pageCost(first);
    },
    description:
      "The jobs of one queue that have waited longest, oldest first: the head, and possible ghosts, whose DEQUEUED event was lost. Empty when no job waits, or the queue is MISSING. Scheduled jobs, and ghosts older than MAX_WAIT, are not listed. Costs one point for each ten of `first`, at least one; needs the scope `admin`. Errors: BAD_USER_INPUT, also when only a job system knows the queue's jobs, as with Faktory and Sidekiq.",
    resolve: (_, { queue, first }, { tracker }) => tracker.waiting(queue, first),
  }),
);

builder.mutationField("removeWaitingJobs", (t) =>
  t.field({
    type: "Int",
    args: {
      queue: t.arg.string({ required: true, description: "Name of the queue." }),
      jobs: t.arg({
        type: [WaitingJobInput],
        required: true,
        description: "The jobs, at most MAX_EVENTS of them.",
      }),
    },
    extensions: { scope: "admin" },
    complexity({ queue, jobs }, { limits }) {
      checkQueueName(queue, "queue");
      const owner = ownerOf(queue, limits);
      if (owner !== null) {
        const problem = `queue: expected a queue that is known from events; the jobs of this one are removed in ${owner} itself`;
        throw new AppError("BAD_USER_INPUT", problem);
      }
      if (jobs.length > limits.maxEvents) {
        const problem = `jobs: expected at most ${limits.maxEvents} jobs, got ${jobs.length}`;
        throw new AppError("BAD_USER_INPUT", problem);
      }
      jobs.forEach((job, i) => {
        const problem = jobProblem(job);
        if (problem === null) return;
        throw new AppError("BAD_USER_INPUT", `jobs[${i}].${problem.field}: ${problem.reason}`);
      });
      return pageCost(jobs.length);
    },
    description:
      "Removes jobs from a queue, as REMOVED events do now: scheduled ones too, and one whose ENQUEUED is still to come, within EVENT_WINDOW. A DEQUEUED that comes later still counts. Answers how many of them were there; the same again answers 0. A queue that is MISSING stays so. Costs one point for each ten jobs, at least one; needs the scope `admin`. Errors: BAD_USER_INPUT, also for the queues of a job system.",
    resolve: (_, { queue, jobs }, { tracker }) => tracker.remove(queue, jobs.map(toJobIdentity)),
  }),
);
