import { formatAtLeast, formatCount, formatRate, type Rates } from "../format/count.ts";
import { formatDuration } from "../format/duration.ts";
import { formatTime } from "../format/instant.ts";

/** An estimate with its 90 % interval, in seconds or as a multiple. */
export interface Estimate {
  readonly low: number;
  readonly likely: number;
  readonly high: number;
}

/** What an explanation reads of a queue. */
export interface ExplainedQueue {
  readonly source: string | null;
  readonly state: "MISSING" | "EMPTY" | "WAITING" | "PAUSED";
  readonly accuracy: "EXACT" | "ESTIMATED" | "LOWER_BOUND" | "INCOMPLETE" | "UNKNOWN";
  readonly stale: boolean;
  readonly health: "OK" | "SLOW" | "FALLING_BEHIND" | "STALLED" | "UNKNOWN";
  readonly latency: number | null;
  /** Null, or absent: not known. */
  readonly overtaken?: number | null;
  readonly inOrderLatency?: number | null;
  readonly depth: number | null;
  readonly depthIsLowerBound?: boolean;
  readonly objective: number | null;
  readonly measuredAt: string;
  readonly throughput: Rates | null;
  readonly forecast: {
    readonly unstable: boolean;
    readonly drainSeconds: Estimate | null;
    readonly breachSeconds: Estimate | null;
    readonly capacityRatio: Estimate | null;
  } | null;
}

/** Why a queue has its health, and what to do; null: nothing is to be done. */
export interface Explanation {
  readonly reason: string;
  readonly advice: string | null;
}

/** The reason for the health of a queue, in the order in which the server decides it. */
export function explainHealth(queue: ExplainedQueue): Explanation {
  return (
    explainUnreadable(queue) ?? explainAccuracy(queue) ?? explainOvertaken(queue) ?? explainHealthOf(queue)
  );
}

/** What is known of jobs that were overtaken; null: there are none. */
export function overtakenSentence(queue: Pick<ExplainedQueue, OvertakenFields>): string | null {
  const { overtaken = 0, inOrderLatency, latency } = queue;
  if (overtaken === null || overtaken === 0) return null;
  const isOne = overtaken === 1;
  const left = `${isOne ? "1 job has" : `${formatCount(overtaken)} jobs have`} been waiting, for up to ${formatDuration(latency ?? 0)}, but jobs that came after ${isOne ? "it" : "them"} are taken.`;
  const rest = inOrderLatency
    ? `The oldest job that is taken in order has waited ${formatDuration(inOrderLatency)}.`
    : "No other job waits.";
  return `${left} ${rest}`;
}

type OvertakenFields = "overtaken" | "inOrderLatency" | "latency";

const overtakenAdvice =
  "The oldest jobs below were left behind: by a killed worker, or no worker takes jobs of their kind, or workers prefer others.";

/** Where overtaken jobs are all there is to say. */
function explainOvertaken(queue: ExplainedQueue): Explanation | null {
  const reason = overtakenSentence(queue);
  const isRestLate = queue.objective !== null && (queue.inOrderLatency ?? 0) > queue.objective;
  if (reason === null || isRestLate || (queue.health !== "SLOW" && queue.health !== "OK")) return null;
  // Jobs of a job system are removed there.
  return {
    reason,
    advice: isRecorded(queue) ? `${overtakenAdvice} Remove those that no longer wait.` : overtakenAdvice,
  };
}

function explainUnreadable(queue: ExplainedQueue): Explanation | null {
  if (queue.state === "MISSING") {
    return {
      reason:
        "The server does not know this queue: no event names it, and no job system that has answered lists it.",
      advice:
        "Check the spelling. The name of a job system's queue begins with the name of its source, as in faktory/mail.",
    };
  }
  if (queue.stale) {
    return {
      reason: `The server has had no reading of this queue since ${formatTime(queue.measuredAt)}. All numbers are from then.`,
      advice: `Check that ${isRecorded(queue) ? "Redis answers" : `${queue.source} and Redis answer`}; the server's log names the outage.`,
    };
  }
  if (queue.state === "PAUSED") {
    const waiting =
      queue.depth === null || queue.depth === 0
        ? ""
        : ` ${jobs(queue.depth, queue.depthIsLowerBound === true)} in it.`;
    return {
      reason: `The queue is paused in ${queue.source ?? "its job system"}: workers take no job.${waiting}`,
      advice: "Its health is OK while it is paused, however long jobs wait.",
    };
  }
  return null;
}

/** Where the numbers cannot be trusted. */
function explainAccuracy(queue: ExplainedQueue): Explanation | null {
  if (queue.accuracy === "INCOMPLETE") {
    return {
      reason: "Redis has lost events of this queue: its numbers may be too high or too low.",
      advice:
        "Remove jobs below that no longer wait, then trust the queue again. Otherwise this ends when MAX_WAIT has passed.",
    };
  }
  if (queue.accuracy === "UNKNOWN") {
    return {
      reason: "The age of the oldest job is not known. Numbers that are shown are right.",
      advice: isRecorded(queue)
        ? "The clock of Redis was set, or another program changed its keys: see the server's log."
        : `The next readings of ${queue.source} correct it. If it stays, see the server's log.`,
    };
  }
  if (queue.accuracy === "LOWER_BOUND" && queue.health !== "SLOW") {
    return {
      reason: `The oldest job has waited at least ${formatDuration(queue.latency ?? 0)}, perhaps longer.`,
      advice: `It is known exactly when ${queue.source ?? "the source"} has been read completely. Where it stays, the page of its job system says why, as of an index that is missing in Postgres.`,
    };
  }
  return null;
}

function explainHealthOf(queue: ExplainedQueue): Explanation {
  const { health, latency, objective, throughput } = queue;
  const age = formatDuration(latency ?? 0);
  switch (health) {
    case "OK":
      if (queue.state === "EMPTY") return { reason: "No job waits.", advice: null };
      return {
        reason:
          objective === null
            ? "Jobs are taken as they come. There is no objective for this queue, so it is never SLOW."
            : `The oldest job has waited ${age}; the objective is ${formatDuration(objective)}.`,
        advice: null,
      };
    case "SLOW":
      return {
        reason: `The oldest job has waited ${queue.accuracy === "LOWER_BOUND" ? "at least " : ""}${age}; the objective is ${formatDuration(objective ?? 0)}.`,
        advice: adviceForSlow(queue),
      };
    case "FALLING_BEHIND": {
      const rates =
        throughput === null
          ? ""
          : ` (now ${formatRate(throughput.enqueuedPerSecond, throughput.isLowerBound)}/s in, ${formatRate(throughput.dequeuedPerSecond, throughput.isLowerBound)}/s out)`;
      return {
        reason: `For five minutes more jobs have come than left${rates}, and the oldest job has grown older, to ${age}.`,
        advice: moreWorkers(queue),
      };
    }
    case "STALLED":
      return {
        reason: `For five minutes jobs have waited and none was taken. The oldest has waited ${age}.`,
        advice:
          "Check that workers run, are connected and listen to this queue. Jobs that take all workers longer than five minutes look the same, and so does a job whose dequeue was not recorded.",
      };
    case "UNKNOWN":
      return {
        reason:
          "Jobs wait, and it is not known yet whether workers take them: that needs five minutes of history.",
        advice:
          "If it stays, check whether HISTORY_MAX_QUEUES leaves this queue out, or its job system is read too seldom.",
      };
  }
}

function adviceForSlow({ forecast, ...queue }: ExplainedQueue): string {
  if (forecast?.unstable === true)
    return `More jobs come than are taken. ${moreWorkers({ ...queue, forecast })}`;
  if (forecast?.drainSeconds == null) return "If it stays, add workers.";
  return "It is a burst that is being drained. If it comes again and again, add workers.";
}

/** With the number, where it is sure that the capacity is too small. */
function moreWorkers({ forecast }: ExplainedQueue): string {
  const ratio = forecast?.capacityRatio ?? null;
  if (ratio === null || ratio.low <= 1) return "Add workers, or slow the producers.";
  return `Add workers, ${ratio.likely.toFixed(1)} times as many as now, or slow the producers.`;
}

/** What happens if the last five minutes continue: a sentence for each part of the forecast that is known. */
export function explainForecast(queue: ExplainedQueue): readonly string[] {
  const { forecast } = queue;
  if (forecast === null) return ["There is no forecast: the present is not known well enough."];
  const { unstable, drainSeconds, breachSeconds, capacityRatio } = forecast;
  const sentences: string[] = [];
  if (unstable) sentences.push("More jobs come than workers take: it never drains.");
  else if (drainSeconds !== null && drainSeconds.high > 0) {
    sentences.push(`It is empty in about ${interval(drainSeconds)}.`);
  }
  if (breachSeconds !== null && breachSeconds.high > 0) {
    sentences.push(`The objective is missed in about ${interval(breachSeconds)}.`);
  }
  // That of a queue that never drains, but had capacity enough on average over the five minutes, would contradict.
  if (capacityRatio !== null && !(unstable && capacityRatio.likely <= 1)) {
    const { low, likely, high } = capacityRatio;
    const times = `${likely.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
    sentences.push(
      likely > 1
        ? `The arrivals need ${times} times the capacity that was seen.`
        : `The arrivals use ${times} of the capacity that was seen.`,
    );
  }
  if (sentences.length > 0) return sentences;
  return [queue.state === "EMPTY" ? "No job waits." : "No estimate is sure enough yet."];
}

function interval({ low, likely, high }: Estimate): string {
  return `${formatDuration(likely)} (${formatDuration(low)} to ${formatDuration(high)})`;
}

function jobs(count: number, isLowerBound: boolean): string {
  return count === 1 ? "1 job waits" : `${formatAtLeast(count, isLowerBound)} jobs wait`;
}

function isRecorded({ source }: ExplainedQueue): boolean {
  return source === "events" || source === null;
}
