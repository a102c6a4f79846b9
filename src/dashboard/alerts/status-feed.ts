import { type ReadonlySignal, signal } from "@preact/signals";
import { observeServerTime } from "../clock.ts";
import { type ApiError, apiErrorOf } from "../graphql/api-error.ts";
import { query } from "../graphql/client.ts";
import { alertStatus } from "../graphql/documents.ts";
import type { ResultOf } from "../graphql/graphql.ts";

export type AlertStatus = ResultOf<typeof alertStatus>["alertStatus"];

/** The state of evaluation and delivery. It is not pushed: it is read every ten seconds. */
export interface StatusFeed {
  readonly status: ReadonlySignal<AlertStatus | null>;
  readonly error: ReadonlySignal<ApiError | null>;
  stop(): void;
}

const everyMs = 10_000;

export function createStatusFeed(): StatusFeed {
  const status = signal<AlertStatus | null>(null);
  const error = signal<ApiError | null>(null);
  const stopping = new AbortController();

  async function read(): Promise<void> {
    // Once in any case: it has the time of the server, by which alerts are new or old.
    if (document.hidden && status.peek() !== null) return;
    try {
      const answer = (await query(alertStatus, {}, stopping.signal)).alertStatus;
      observeServerTime(answer.measuredAt);
      status.value = answer;
      error.value = null;
    } catch (reason) {
      if (!stopping.signal.aborted) error.value = apiErrorOf(reason);
    }
  }

  void read();
  const timer = setInterval(() => void read(), everyMs);
  return {
    status,
    error,
    stop() {
      clearInterval(timer);
      stopping.abort();
    },
  };
}
