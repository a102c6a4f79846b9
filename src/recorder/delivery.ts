import { randomUUID } from "node:crypto";
import type { BatchBounds, BufferedEvent } from "./event-buffer.ts";
import { batchBody, type Outcome } from "./post-batch.ts";

export interface DeliveryOptions {
  /** Sends a body once. Never rejects. */
  readonly post: (body: string) => Promise<Outcome>;
  /** Those of later batches, which a refusal for size makes smaller. */
  readonly bounds: BatchBounds;
  /** From the first attempt on, in ms: less than the server's EVENT_WINDOW. */
  readonly giveUpAfterMs: number;
  /** Waits; not to the end when the recorder is closed, unless the server has demanded it. */
  readonly pause: (ms: number, isDemanded: boolean) => Promise<void>;
  /** True when no more attempts are to be made. */
  readonly isEnded: () => boolean;
  readonly onRecorded: (events: number) => void;
  readonly onDropped: (events: number, reason: string) => void;
}

const minBackoffMs = 100;
const maxBackoffMs = 10_000;

/** Sends a batch until it is recorded, refused, or given up: each attempt with the same id, so that it is counted once. */
export async function deliver(events: readonly BufferedEvent[], options: DeliveryOptions): Promise<void> {
  const { post, giveUpAfterMs, pause, isEnded, onDropped } = options;
  const body = batchBody(randomUUID(), events);
  const startedAtMs = performance.now();
  for (let backoffMs = minBackoffMs; ; backoffMs = Math.min(2 * backoffMs, maxBackoffMs)) {
    const outcome = await post(body);
    if (outcome.kind !== "RETRY") return await settle(events, outcome, options);
    // Not all at once: many producers lose the same server.
    const waitMs = Math.max(outcome.retryAfterMs, backoffMs * (0.5 + Math.random()));
    const leftMs = giveUpAfterMs - (performance.now() - startedAtMs);
    if (isEnded() || waitMs > leftMs)
      return onDropped(events.length, `not recorded in time: ${outcome.reason}`);
    await pause(waitMs, outcome.retryAfterMs > 0);
    if (isEnded()) return onDropped(events.length, `not recorded in time: ${outcome.reason}`);
  }
}

async function settle(
  events: readonly BufferedEvent[],
  outcome: Exclude<Outcome, { kind: "RETRY" }>,
  options: DeliveryOptions,
): Promise<void> {
  if (outcome.kind === "RECORDED") {
    const { rejected } = outcome;
    options.onRecorded(events.length - rejected.length);
    const [first] = rejected;
    if (first !== undefined) options.onDropped(rejected.length, `${first.field ?? "event"}: ${first.reason}`);
    return;
  }
  const parts = partsOf(events, outcome, options.bounds);
  const sent = parts.reduce((sum, part) => sum + part.length, 0);
  if (sent < events.length) options.onDropped(events.length - sent, outcome.reason);
  for (const part of parts) await deliver(part, options);
}

const tooLarge = new Set([
  "BODY_TOO_LARGE",
  "BAD_USER_INPUT",
  "MAX_COST_EXCEEDED",
  "LIST_TOO_LONG",
  "VARIABLES_TOO_LARGE",
]);

/** What can be sent of a refused batch, of which nothing was recorded. */
function partsOf(
  events: readonly BufferedEvent[],
  { code, newQueues }: Extract<Outcome, { kind: "REFUSED" }>,
  bounds: BatchBounds,
): readonly (readonly BufferedEvent[])[] {
  if (code === "TOO_MANY_KNOWN_QUEUES" && newQueues.length > 0) {
    const known = events.filter(({ queue }) => !newQueues.includes(queue));
    return known.length === 0 || known.length === events.length ? [] : [known];
  }
  if (!tooLarge.has(code) || events.length === 1) return [];
  // The server's limits are lower than its defaults: those of later batches, too.
  const half = Math.ceil(events.length / 2);
  if (code === "MAX_COST_EXCEEDED")
    bounds.queues = Math.max(1, Math.min(bounds.queues, Math.floor(bounds.queues / 2)));
  else bounds.events = Math.max(1, Math.min(bounds.events, half));
  return [events.slice(0, half), events.slice(half)];
}
