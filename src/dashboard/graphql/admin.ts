import { type ReadonlySignal, signal } from "@preact/signals";
import { type ApiError, apiErrorOf } from "./api-error.ts";
import { query } from "./client.ts";
import { waitingJobs } from "./documents.ts";

const known = signal<boolean | null>(null);

/** Whether the client has the scope `admin`; null: it is not known yet. What it may not do is not offered. */
export const isAdmin: ReadonlySignal<boolean | null> = known;

let isAsked = false;

/** Asks once, for one point: an operation that needs the scope, and reads nothing. */
export async function askWhetherAdmin(): Promise<void> {
  if (isAsked) return;
  isAsked = true;
  try {
    await query(waitingJobs, { queue: "-", first: 0 });
    known.value = true;
  } catch (reason) {
    noteRefusal(apiErrorOf(reason));
    isAsked = known.value !== null;
  }
}

/** Takes note of a refusal: the scopes of a token can change. */
export function noteRefusal(error: ApiError): ApiError {
  if (error.code === "FORBIDDEN") known.value = false;
  return error;
}
