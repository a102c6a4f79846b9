/** A time as a Date, as ms since the epoch, or as an RFC 3339 text. */
export type Instant = Date | number | string;

export interface EventDetails {
  /** Counts up when the same job is enqueued again. @default 0 */
  readonly attempt?: number | undefined;
  /** When it happened. @default now */
  readonly at?: Instant | undefined;
}

export interface EnqueuedDetails extends EventDetails {
  /** The job cannot be claimed before. @default `at` */
  readonly availableAt?: Instant | undefined;
}

export type EventType = "ENQUEUED" | "DEQUEUED" | "REMOVED";

export type JobId = string | number | bigint;

/**
 * One event as JSON.
 *
 * @throws Error that says what was expected.
 */
export function eventJson(
  type: EventType,
  queue: string,
  jobId: JobId,
  details: EnqueuedDetails | null,
): string {
  if (typeof queue !== "string" || queue === "") throw new Error("expected the name of a queue");
  const isId =
    (typeof jobId === "string" && jobId !== "") || Number.isSafeInteger(jobId) || typeof jobId === "bigint";
  if (!isId) throw new Error("expected a job's id: a text, or an integer up to 2^53 - 1");
  // Programs without types send null, too.
  const { attempt, at, availableAt } = details ?? {};
  if (attempt != null && !Number.isSafeInteger(attempt))
    throw new Error("expected the attempt to be an integer");
  const optional =
    (attempt == null ? "" : `,"attempt":${attempt}`) +
    (availableAt == null ? "" : `,"availableAt":${timeJson(availableAt)}`);
  return `{"type":"${type}","queue":${JSON.stringify(queue)},"jobId":${JSON.stringify(String(jobId))},"at":${at == null ? nowJson() : timeJson(at)}${optional}}`;
}

function timeJson(time: Instant): string {
  return JSON.stringify(typeof time === "string" ? time : new Date(time).toISOString());
}

let lastMs = -1;
let lastJson = "";

/** Many events come within one millisecond. */
function nowJson(): string {
  const nowMs = Date.now();
  if (nowMs !== lastMs) {
    lastMs = nowMs;
    lastJson = timeJson(nowMs);
  }
  return lastJson;
}
