import type { JobIdentity, QueueEvent, RecordResult } from "../../src/core/events.ts";
import {
  type QueueSnapshot,
  type Throughput,
  type WaitingJob,
  type WaitTime,
  type Window,
  windowSeconds,
  windows,
} from "../../src/core/snapshot.ts";

export interface TrackerModelOptions {
  readonly eventWindowMs: number;
  readonly maxWaitMs: number;
}

/** What the tracker's snapshot must be; in place of wait times the waits themselves, in ms and in no order. */
export type ModelSnapshot = Omit<QueueSnapshot, "waitTime"> & {
  readonly waitsMs: Readonly<Record<Window, readonly number[]>> | null;
};

/** How many jobs of a queue came, and how those that are gone went. */
export interface Totals {
  readonly enqueued: number;
  readonly dequeued: number;
  readonly removed: number;
  readonly lost: number;
}

/** The tracker's promises in the plainest form: it keeps all that ever happened, and answers by looking at all of it. */
export interface TrackerModel {
  /** "REFUSED" when another batch came with this id; the queues that have not received the id fold it all the same. */
  record(events: readonly QueueEvent[], batchId: string | null, nowMs: number): RecordResult | "REFUSED";
  /** @returns how many were there. */
  remove(queue: string, jobs: readonly JobIdentity[], nowMs: number): number;
  /** @returns false when nothing was known. */
  forget(queue: string): boolean;
  /** The jobs that wait, in the order in which they became claimable. */
  waiting(queue: string, nowMs: number): WaitingJob[];
  /** All windows are always reported. */
  snapshot(queue: string, nowMs: number): ModelSnapshot;
  totals(queue: string): Totals;
  /** How long all jobs waited that were ever dequeued, in ms and in no order. */
  waits(queue: string): readonly number[];
}

/** One job's stay in a queue. Either end may be learned first. */
interface Stay {
  readonly job: JobIdentity;
  enqueued: { readonly atMs: number; readonly claimableMs: number } | null;
  left: { readonly how: Way; readonly atMs: number } | null;
  /** When something new of it was received last: having left, it is remembered for the event window from then. */
  receivedMs: number;
}

type Way = "LOST" | "REMOVED" | "DEQUEUED";

interface Queue {
  /** Everything that ever was, also what is no longer remembered by its identity. */
  readonly stays: Stay[];
  readonly byIdentity: Map<string, Stay>;
  readonly batches: Map<string, { receivedMs: number; events: string; answer: RecordResult }>;
  /** Of each batch that had dequeues of jobs whose enqueue is known: how many, and the oldest of these jobs. */
  readonly served: { readonly receivedMs: number; readonly count: number; readonly oldestMs: number }[];
}

/** The event that says more of how a stay ended wins, whichever comes first: that a job was lost is only what we made of receiving nothing. */
const says: Record<Way, number> = { LOST: 1, REMOVED: 2, DEQUEUED: 3 };

export function createTrackerModel({ eventWindowMs, maxWaitMs }: TrackerModelOptions): TrackerModel {
  const queues = new Map<string, Queue>();
  const isRemembered = (receivedMs: number, nowMs: number) => nowMs - receivedMs < eventWindowMs;

  function stayOf(queue: Queue, { jobId, attempt }: JobIdentity, nowMs: number): Stay {
    const identity = JSON.stringify([jobId, attempt]);
    const known = queue.byIdentity.get(identity);
    if (known !== undefined && (known.left === null || isRemembered(known.receivedMs, nowMs))) return known;
    const stay: Stay = { job: { jobId, attempt }, enqueued: null, left: null, receivedMs: nowMs };
    queue.stays.push(stay);
    queue.byIdentity.set(identity, stay);
    return stay;
  }

  const isThere = (stay: Stay) => stay.enqueued !== null && stay.left === null;
  const isGhost = (stay: Stay, nowMs: number) =>
    isThere(stay) && stay.enqueued!.claimableMs < nowMs - maxWaitMs;

  function loseIfGhost(stay: Stay, nowMs: number): void {
    if (!isGhost(stay, nowMs)) return;
    stay.left = { how: "LOST", atMs: nowMs };
    stay.receivedMs = nowMs;
  }

  /** @returns false when it says nothing new. */
  function fold(stay: Stay, event: QueueEvent, nowMs: number): boolean {
    const atMs = Math.min(event.atMs ?? nowMs, nowMs);
    if (event.type === "ENQUEUED") {
      if (stay.enqueued !== null) return false;
      stay.enqueued = { atMs, claimableMs: event.availableAtMs ?? atMs };
      stay.receivedMs = nowMs;
      loseIfGhost(stay, nowMs);
      return true;
    }
    if (stay.left !== null && says[event.type] <= says[stay.left.how]) return false;
    stay.left = { how: event.type, atMs };
    stay.receivedMs = nowMs;
    return true;
  }

  function foldBatch(queue: Queue, events: readonly QueueEvent[], nowMs: number): RecordResult {
    for (const stay of queue.stays) loseIfGhost(stay, nowMs);
    let accepted = 0;
    let early = 0;
    let expired = 0;
    const served: number[] = [];
    for (const event of events) {
      const stay = stayOf(queue, event, nowMs);
      if (!fold(stay, event, nowMs)) continue;
      accepted += 1;
      if (event.type === "DEQUEUED" && stay.enqueued === null) early += 1;
      if (event.type === "ENQUEUED" && stay.left?.how === "LOST") expired += 1;
      if (event.type !== "REMOVED") served.push(...claimableOfServed(stay));
    }
    if (served.length > 0)
      queue.served.push({ receivedMs: nowMs, count: served.length, oldestMs: Math.min(...served) });
    return { accepted, duplicates: events.length - accepted, early, expired };
  }

  return {
    record(events, batchId, nowMs) {
      let isRefused = false;
      const answers: RecordResult[] = [];
      for (const [name, ofQueue] of Map.groupBy(events, (event) => event.queue)) {
        const queue = queues.get(name) ?? {
          stays: [],
          byIdentity: new Map(),
          batches: new Map(),
          served: [],
        };
        const content = JSON.stringify(ofQueue);
        const batch = batchId === null ? undefined : queue.batches.get(batchId);
        if (batch !== undefined && isRemembered(batch.receivedMs, nowMs)) {
          if (batch.events === content) answers.push(batch.answer);
          else isRefused = true;
          continue;
        }
        queues.set(name, queue);
        const answer = foldBatch(queue, ofQueue, nowMs);
        if (batchId !== null) queue.batches.set(batchId, { receivedMs: nowMs, events: content, answer });
        answers.push(answer);
      }
      if (isRefused) return "REFUSED";
      const sum = (part: keyof RecordResult) => answers.reduce((total, answer) => total + answer[part], 0);
      return {
        ...{ accepted: sum("accepted"), duplicates: sum("duplicates") },
        ...{ early: sum("early"), expired: sum("expired") },
      };
    },

    remove(name, jobs, nowMs) {
      const queue = queues.get(name);
      if (queue === undefined || jobs.length === 0) return 0;
      const wasThere = queue.stays.filter((stay) => isThere(stay) && !isGhost(stay, nowMs));
      foldBatch(
        queue,
        jobs.map((job) => ({ type: "REMOVED", queue: name, ...job, atMs: null, availableAtMs: null })),
        nowMs,
      );
      return wasThere.filter((stay) => !isThere(stay)).length;
    },

    forget: (name) => queues.delete(name),

    waiting(name, nowMs) {
      return (queues.get(name)?.stays ?? [])
        .filter((stay) => isThere(stay) && !isGhost(stay, nowMs) && stay.enqueued!.claimableMs <= nowMs)
        .map(({ job, enqueued }) => {
          const sinceMs = enqueued!.claimableMs;
          return { ...job, sinceMs, waitedMs: nowMs - sinceMs };
        })
        .sort((a, b) => a.sinceMs - b.sinceMs);
    },

    snapshot(name, nowMs) {
      const queue = queues.get(name);
      if (queue === undefined) return missing(name, nowMs);
      const present = queue.stays
        .filter((stay) => stay.left === null)
        .flatMap((stay) => stay.enqueued?.claimableMs ?? [])
        .filter((claimableMs) => claimableMs >= nowMs - maxWaitMs);
      const waiting = present.filter((claimableMs) => claimableMs <= nowMs);
      const scheduled = present.filter((claimableMs) => claimableMs > nowMs);
      const oldestSinceMs = least(waiting);
      const servedMs = servedSince(queue.served, nowMs);
      const isOvertaken = (claimableMs: number) => claimableMs < servedMs;
      return {
        queue: name,
        source: "events",
        state: waiting.length > 0 ? "WAITING" : "EMPTY",
        oldestSinceMs,
        latencyMs: oldestSinceMs === null ? 0 : nowMs - oldestSinceMs,
        depth: waiting.length,
        overtaken: waiting.filter(isOvertaken).length,
        inOrderSinceMs: least(waiting.filter((claimableMs) => !isOvertaken(claimableMs))),
        scheduled: scheduled.length,
        lost: queue.stays.filter((stay) => stay.left?.how === "LOST" || isGhost(stay, nowMs)).length,
        accuracy: "EXACT",
        measuredAtMs: nowMs,
        stale: false,
        clockSkewMs: null,
        changesAtMs: least([...scheduled, ...waiting.map((claimableMs) => claimableMs + maxWaitMs + 1)]),
        throughput: byWindow((window) => throughputOf(queue.stays, window, nowMs)),
        waitsMs: byWindow((window) => waitsOf(queue.stays, window, nowMs)),
      };
    },

    totals(name) {
      const stays = queues.get(name)?.stays ?? [];
      const left = (how: Way) => stays.filter((stay) => stay.left?.how === how).length;
      return {
        enqueued: stays.filter((stay) => stay.enqueued !== null).length,
        dequeued: left("DEQUEUED"),
        removed: left("REMOVED"),
        lost: left("LOST"),
      };
    },

    waits: (name) => (queues.get(name)?.stays ?? []).flatMap(waitOf),
  };
}

/** Wait times as their definition has them: nearest-rank quantiles of the waits themselves. */
export function exactWaitTime(waitsMs: readonly number[]): WaitTime {
  const count = waitsMs.length;
  if (count === 0) return { count, mean: 0, p50: 0, p95: 0, p99: 0, max: 0 };
  const sorted = waitsMs.toSorted((a, b) => a - b);
  const quantile = (percent: number) => sorted[Math.ceil((percent * count) / 100) - 1]! / 1000;
  return {
    count,
    mean: sorted.reduce((total, waitMs) => total + waitMs, 0) / count / 1000,
    p50: quantile(50),
    p95: quantile(95),
    p99: quantile(99),
    max: sorted.at(-1)! / 1000,
  };
}

/**
 * Time is cut into slots of a twentieth of the window, from the epoch on. The window ends now and begins within a slot: of
 * what happened in that one, as much counts as of the slot lies in the window; of later slots everything.
 */
function weightOf(atMs: number, window: Window, nowMs: number): number {
  const slotMs = (windowSeconds[window] * 1000) / 20;
  const startMs = nowMs - windowSeconds[window] * 1000;
  const slotStartMs = atMs - (atMs % slotMs);
  const slotEndMs = slotStartMs + slotMs;
  if (slotEndMs <= startMs) return 0;
  return slotStartMs >= startMs ? 1 : (slotEndMs - startMs) / slotMs;
}

function throughputOf(stays: readonly Stay[], window: Window, nowMs: number): Throughput {
  let enqueued = 0;
  let dequeued = 0;
  for (const { enqueued: came, left } of stays) {
    if (came !== null) enqueued += weightOf(came.atMs, window, nowMs);
    if (left?.how === "DEQUEUED") dequeued += weightOf(left.atMs, window, nowMs);
  }
  const seconds = windowSeconds[window];
  return { enqueuedPerSecond: enqueued / seconds, dequeuedPerSecond: dequeued / seconds };
}

/** A wait counts in full as long as any of the slot in which it ended lies in the window. */
function waitsOf(stays: readonly Stay[], window: Window, nowMs: number): number[] {
  return stays.filter(({ left }) => left !== null && weightOf(left.atMs, window, nowMs) > 0).flatMap(waitOf);
}

/** None, or one. */
function waitOf({ enqueued, left }: Stay): number[] {
  if (enqueued === null || left?.how !== "DEQUEUED") return [];
  return [Math.max(0, left.atMs - enqueued.claimableMs)];
}

/** When it became claimable, of a job that was dequeued; none, or one. */
function claimableOfServed({ enqueued, left }: Stay): number[] {
  if (enqueued === null || left?.how !== "DEQUEUED") return [];
  return [Math.min(enqueued.claimableMs, left.atMs)];
}

/**
 * Cuts what was served into periods, each of a minute or more and with three jobs or more, and a last one that may be shorter: the
 * oldest job of the last two.
 */
function servedSince(served: Queue["served"], nowMs: number): number {
  const periods: { fromMs: number; count: number; oldestMs: number }[] = [];
  for (const { receivedMs, count, oldestMs } of served) {
    const last = periods.at(-1);
    if (last === undefined || (last.fromMs + 60_000 <= receivedMs && last.count >= 3)) {
      periods.push({ fromMs: receivedMs, count, oldestMs });
      continue;
    }
    last.count += count;
    last.oldestMs = Math.min(last.oldestMs, oldestMs);
  }
  const earliestMs = Math.min(...periods.slice(-2).map(({ oldestMs }) => oldestMs));
  return periods.length < 2 || earliestMs > nowMs ? Number.NEGATIVE_INFINITY : earliestMs;
}

function missing(queue: string, nowMs: number): ModelSnapshot {
  return {
    queue,
    source: null,
    state: "MISSING",
    oldestSinceMs: null,
    latencyMs: null,
    depth: null,
    scheduled: null,
    lost: null,
    accuracy: "UNKNOWN",
    measuredAtMs: nowMs,
    stale: false,
    changesAtMs: null,
    clockSkewMs: null,
    throughput: null,
    waitsMs: null,
  };
}

function least(numbers: readonly number[]): number | null {
  return numbers.length === 0 ? null : Math.min(...numbers);
}

function byWindow<T>(value: (window: Window) => T): Record<Window, T> {
  return Object.fromEntries(windows.map((window) => [window, value(window)])) as Record<Window, T>;
}
