import { type ReadonlySignal, signal } from "@preact/signals";
import { serverNowMs } from "../clock.ts";
import { isolated } from "../format/isolated.ts";
import { noteRefusal } from "../graphql/admin.ts";
import { type ApiError, apiErrorOf } from "../graphql/api-error.ts";
import { query } from "../graphql/client.ts";
import { removeJobs, waitingJobs } from "../graphql/documents.ts";
import type { ResultOf } from "../graphql/graphql.ts";

export type WaitingJob = ResultOf<typeof waitingJobs>["waitingJobs"][number];

/** The oldest jobs of a queue, as one reading lists them. */
export interface Reading {
  readonly jobs: readonly WaitingJob[];
  /** By the clock of the server. */
  readonly at: Date;
}

/** Lists the oldest jobs when it is asked to: a list that changes by itself moves the row under the pointer. */
export interface WaitingJobsFeed {
  readonly reading: ReadonlySignal<Reading | null>;
  /** Why the first list, which no person asked for, could not be read; null: it was, or another one since. */
  readonly firstError: ReadonlySignal<ApiError | null>;
  /** Why the last thing that a person asked for was not done. */
  readonly error: ReadonlySignal<ApiError | null>;
  /** What the last removal did; empty: there was none. */
  readonly outcome: ReadonlySignal<string>;
  readFirst(): Promise<void>;
  read(): Promise<void>;
  remove(job: WaitingJob): Promise<void>;
  stop(): void;
}

/** As many as are listed. */
export const maxListed = 50;

export function createWaitingJobsFeed(queue: string): WaitingJobsFeed {
  const reading = signal<Reading | null>(null);
  const firstError = signal<ApiError | null>(null);
  const error = signal<ApiError | null>(null);
  const outcome = signal("");
  const stopping = new AbortController();

  async function attempt(action: () => Promise<void>, failure = error): Promise<void> {
    try {
      await action();
      firstError.value = null;
      error.value = null;
    } catch (reason) {
      if (!stopping.signal.aborted) failure.value = noteRefusal(apiErrorOf(reason));
    }
  }

  async function list(): Promise<void> {
    const { waitingJobs: jobs } = await query(waitingJobs, { queue, first: maxListed }, stopping.signal);
    reading.value = { jobs, at: new Date(serverNowMs()) };
  }

  return {
    reading,
    firstError,
    error,
    outcome,
    readFirst: () => attempt(list, firstError),
    read: () => attempt(list),
    remove: ({ jobId, attempt: number }) =>
      attempt(async () => {
        const { removeWaitingJobs: removed } = await query(removeJobs, {
          queue,
          jobs: [{ jobId, attempt: number }],
        });
        outcome.value =
          removed === 0
            ? `Job ${isolated(jobId)} had left already: nothing was removed.`
            : `Job ${isolated(jobId)} was removed.`;
        await list();
      }),
    stop: () => stopping.abort(),
  };
}
