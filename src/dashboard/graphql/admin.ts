import { type ReadonlySignal, signal } from "@preact/signals";
import type { ApiError } from "./api-error.ts";
import { query } from "./client.ts";
import { viewer } from "./documents.ts";

const known = signal<boolean | null>(null);

/** Whether the client has the scope `admin`; null: it is not known yet. What it may not do is not offered. */
export const isAdmin: ReadonlySignal<boolean | null> = known;

let isAsked = false;

/** Asks once which scopes the client has. */
export async function askWhetherAdmin(): Promise<void> {
  if (isAsked) return;
  isAsked = true;
  try {
    const { scopes } = (await query(viewer, {})).viewer;
    known.value = scopes.includes("ADMIN");
  } catch {
    // The next component that needs it asks again.
    isAsked = false;
  }
}

/** Takes note of a refusal: the scopes of a token can change. */
export function noteRefusal(error: ApiError): ApiError {
  if (error.code === "FORBIDDEN") known.value = false;
  return error;
}
