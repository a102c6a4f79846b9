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

/**
 * Sends a batch until it is recorded, refused, or given up: each attempt with the same id, so that it is counted once.
 *
 * @returns whether the server has taken all of it, as one batch or in parts.
 */
export async function deliver(events: readonly BufferedEvent[], options: DeliveryOptions): Promise<boolean> {
  const { post, giveUpAfterMs, pause, isEnded, onDropped } = options;
  const body = batchBody(randomUUID(), events);
  const startedAtMs = performance.now();
  for (let backoffMs = minBackoffMs; ; backoffMs = Math.min(2 * backoffMs, maxBackoffMs)) {
    const outcome = await post(body);
    if (outcome.kind === "RECORDED") return taken(events, outcome, options);
    if (outcome.kind === "REFUSED") return await deliverParts(events, outcome, options);
    // Not all at once: many producers lose the same server.
    const waitMs = Math.max(outcome.retryAfterMs, backoffMs * (0.5 + Math.random()));
    const leftMs = giveUpAfterMs - (performance.now() - startedAtMs);
    if (!isEnded() && waitMs <= leftMs) await pause(waitMs, outcome.retryAfterMs > 0);
    if (isEnded() || waitMs > leftMs) {
      onDropped(events.length, `not recorded in time: ${outcome.reason}`);
      return false;
    }
  }
}

type Recorded = Extract<Outcome, { kind: "RECORDED" }>;
type Refused = Extract<Outcome, { kind: "REFUSED" }>;

function taken(
  events: readonly BufferedEvent[],
  { rejected }: Recorded,
  { onRecorded, onDropped }: DeliveryOptions,
): true {
  onRecorded(events.length - rejected.length);
  const [first] = rejected;
  if (first !== undefined) onDropped(rejected.length, `${first.field ?? "event"}: ${first.reason}`);
  return true;
}

/** For the size of the batch; or, with BAD_USER_INPUT, perhaps for one event, such as one of a queue that a job system has. */
const tooLarge = new Set([
  "BODY_TOO_LARGE",
  "BAD_USER_INPUT",
  "MAX_COST_EXCEEDED",
  "LIST_TOO_LONG",
  "VARIABLES_TOO_LARGE",
]);

/** Delivers what can be recorded of a refused batch. */
async function deliverParts(
  events: readonly BufferedEvent[],
  refusal: Refused,
  options: DeliveryOptions,
): Promise<boolean> {
  const parts = partsOf(events, refusal);
  const sent = parts.reduce((sum, part) => sum + part.length, 0);
  if (sent < events.length) options.onDropped(events.length - sent, refusal.reason);
  const isOfSize = parts.length > 1 && refusal.code !== "BAD_USER_INPUT";
  if (isOfSize) shrink(options.bounds, refusal.code, events.length);
  let areTaken = sent === events.length;
  for (const part of parts) areTaken = (await deliver(part, options)) && areTaken;
  // What the server takes in parts, and not as one, was too large.
  if (areTaken && !isOfSize) shrink(options.bounds, refusal.code, events.length);
  return areTaken;
}

function partsOf(
  events: readonly BufferedEvent[],
  { code, newQueues }: Refused,
): readonly (readonly BufferedEvent[])[] {
  if (code === "TOO_MANY_KNOWN_QUEUES" && newQueues.length > 0) {
    const known = events.filter(({ queue }) => !newQueues.includes(queue));
    return known.length === 0 || known.length === events.length ? [] : [known];
  }
  if (!tooLarge.has(code) || events.length === 1) return [];
  const half = halfOf(events.length);
  return [events.slice(0, half), events.slice(half)];
}

/** The server's limits are lower than its defaults: later batches are smaller, too. */
function shrink(bounds: BatchBounds, code: string, refusedEvents: number): void {
  if (code === "MAX_COST_EXCEEDED") bounds.queues = Math.max(1, Math.floor(bounds.queues / 2));
  else bounds.events = Math.max(1, Math.min(bounds.events, halfOf(refusedEvents)));
}

function halfOf(length: number): number {
  return Math.ceil(length / 2);
}
