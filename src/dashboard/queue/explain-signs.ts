import type { ExplainedQueue } from "./explain-health.ts";

/** What an explanation of signs reads of a queue. */
export interface SignedQueue
  extends Pick<ExplainedQueue, "source" | "state" | "accuracy" | "depthIsLowerBound" | "throughput"> {
  readonly waitTime: { readonly count: number; readonly isUpperBound?: boolean } | null;
}

/** What the signs beside the numbers of a queue mean, and why they are there: a sentence for each. */
export function explainSigns(queue: SignedQueue): readonly string[] {
  const { state, accuracy, depthIsLowerBound, throughput, waitTime } = queue;
  const source = queue.source ?? "the source";
  const sentences: string[] = [];
  if (accuracy === "ESTIMATED") {
    sentences.push(
      "≈ about: the age of the oldest job is by a clock that may be off, or was set, such as that of the job's producer.",
    );
  }
  if (accuracy === "LOWER_BOUND") {
    sentences.push(`≥ at least: ${source} does not say of all jobs how old they are; an older one may wait.`);
  }
  if (accuracy === "INCOMPLETE") {
    sentences.push("± too high or too low: events were lost.");
  }
  // That the server does not know a queue is said elsewhere.
  if (accuracy === "UNKNOWN" && state !== "MISSING") {
    sentences.push("? not known: there is no reliable age of the oldest job.");
  }
  if (depthIsLowerBound === true) sentences.push("Depth, +: jobs are counted up to a limit; more may wait.");
  if (throughput?.isLowerBound === true) {
    sentences.push(
      `In and out, +: jobs that come and leave between two readings of ${source} are not counted.`,
    );
  }
  if (waitTime !== null && waitTime.count > 0 && waitTime.isUpperBound === true) {
    sentences.push("Wait, ≤: short waits may be missing, of jobs that come and leave between two readings.");
  }
  return sentences;
}
