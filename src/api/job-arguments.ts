import { AppError } from "../core/errors.ts";
import type { JobIdentity } from "../core/events.ts";

export const maxIdBytes = 200;

/** A job as a client names it: ids may come as numbers. */
export interface JobInput {
  readonly jobId: string | number;
  readonly attempt: number;
}

export function toJobIdentity({ jobId, attempt }: JobInput): JobIdentity {
  return { jobId: String(jobId), attempt };
}

/** Which field of a job is wrong, and why; null when none is. */
export function jobProblem({
  jobId,
  attempt,
}: JobInput): { readonly field: string; readonly reason: string } | null {
  const reason = problemOfId(String(jobId));
  if (reason !== null) return { field: "jobId", reason };
  return attempt < 0 ? { field: "attempt", reason: `expected 0 or more, got ${attempt}` } : null;
}

/** @throws AppError BAD_USER_INPUT that says what is wrong with an id. */
export function checkId(id: string, name: string): void {
  const problem = problemOfId(id);
  if (problem !== null) throw new AppError("BAD_USER_INPUT", `${name}: ${problem}`);
}

function problemOfId(id: string): string | null {
  // Every half of a surrogate pair, and all that was no UTF-8, would be stored as the same replacement character.
  if (id.toWellFormed().includes("\ufffd")) return "expected well-formed Unicode";
  const bytes = Buffer.byteLength(id);
  return bytes >= 1 && bytes <= maxIdBytes ? null : `expected 1 to ${maxIdBytes} bytes, got ${bytes}`;
}
