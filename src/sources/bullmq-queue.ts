import type { FollowedEvent, FollowedKind, FollowedQueue, FollowResult } from "../core/log-following.ts";
import type { Accuracy } from "../core/snapshot.ts";
import type { Reading, ReadReply, ReadRequest } from "./bullmq-reader.ts";
import { createRepair, type Repair } from "./bullmq-repair.ts";

/** What has to be read of one queue next, and what of that has to be recorded; does no I/O. */
export interface QueueProgress {
  /** When it is to be read next, by monotonicClock. */
  readonly dueMs: number;
  /** It is to be read alone, for its lists are read too. */
  readonly isRepairing: boolean;
  /** It is read more often than others, since its stream is short. */
  readonly isHurried: boolean;
  request(nowMs: number): ReadRequest;
  /** What a reading adds to what is recorded; null when that is nothing, or when its lists have to be read first. */
  learn(request: ReadRequest, reply: ReadReply, clock: Clocks, nowMs: number): FollowedQueue | null;
  /** Goes on from the answer; null: nothing was recorded. Until this is called everything is read again. */
  recorded(request: ReadRequest, reply: ReadReply, result: FollowResult | null, nowMs: number): void;
  /** It could not be read or recorded: later. */
  postpone(nowMs: number): void;
}

type Clocks = Omit<Reading, "replies">;

export interface QueueProgressOptions {
  readonly source: string;
  readonly queue: string;
  /** Max pause between two repairs, in ms. */
  readonly reconcileMs: number;
  /** What is stored of it; null: nothing. */
  readonly cursor: string | null;
  /** Its last reader did not come to the end of a repair. */
  readonly repairing: boolean;
  /** The shortest pause between two readings, in ms: the more queues are hurried, the longer. */
  readonly minPaceMs: () => number;
  /** How often the lengths and ends of the lists are compared with what was counted, in ms. */
  readonly checkMs: () => number;
  /** BullMQ trimmed events before they were read, though the queue was read all the time. */
  readonly onTrimmed: (maxEvents: number) => void;
}

/** From one reading to the next while nothing happens; during a repair, so that the watched Redis has time for its owner. */
const idleMs = 200;
const busyMs = 5;
const recordMs = 2_000;
const takeOverMs = 1_000;
const freshForMs = 6_000;
/** A repair that took so long is followed by a pause of this many times as long, though no longer than `reconcileMs`. */
const pausesPerRepair = 4;
/** A stream is read so often that BullMQ could keep the events of this many readings. */
const readingsPerStream = 3;
/** A reading that came this late says nothing of how short the stream is. */
const lateMs = 2_000;

const kinds: Readonly<Record<string, FollowedKind>> = {
  W: "ENQUEUED",
  P: "PROMOTED",
  S: "SCHEDULED",
  T: "DEQUEUED",
  R: "REMOVED",
};

export function createQueueProgress(options: QueueProgressOptions): QueueProgress {
  const { source, queue, reconcileMs, minPaceMs, checkMs, onTrimmed } = options;
  /** What is stored, and how far was read: in between there was nothing to record. */
  let storedCursor = options.cursor;
  let readCursor = options.cursor;
  let added: number | null = null;
  let repair: Repair | null = null;
  /** When the lists began, or may begin, to be read for it. */
  let repairFromMs = 0;
  let repairAtMs = 0;
  /** As it was recorded last; null: not known. */
  let known: FollowResult | null = null;
  let recordedPause: boolean | null = null;
  /** Lengths and ends of the lists when they agreed with what is recorded; null: something has come since. */
  let agreed: string | null = null;
  let isReadAgain = false;
  let dueMs = 0;
  let readAtMs = 0;
  let paceMs = idleMs;
  let recordAtMs = 0;
  let checkAtMs = 0;
  let takeOverAtMs = 0;
  if (options.repairing) repair = createRepair("UNKNOWN");

  function startRepair(accuracy: Accuracy, nowMs: number): void {
    repair = createRepair(accuracy);
    repairFromMs = Math.max(nowMs, repairAtMs);
  }

  function endRepair(nowMs: number): void {
    repair = null;
    const tookMs = nowMs - repairFromMs;
    repairAtMs = nowMs + Math.min(pausesPerRepair * tookMs, Math.max(reconcileMs, tookMs));
  }

  const isDue = (nowMs: number) => repair !== null && nowMs >= repairAtMs;

  /** Where something was missed: what is recorded until then is kept, and corrected by the lists. */
  function noticeLoss(request: ReadRequest, reply: ReadReply, nowMs: number): void {
    const isTrimmed = readCursor !== null && reply.missedUntilMs !== null;
    if (isTrimmed && !isReadAgain && nowMs - readAtMs < lateMs) onTrimmed(reply.maxEvents);
    if (repair === null) {
      if (readCursor === null) startRepair("LOWER_BOUND", nowMs);
      else if (isTrimmed || hasDrifted(request, reply)) startRepair("UNKNOWN", nowMs);
      return;
    }
    const isRenamed = reply.events.some(({ kind }) => kind === "p" || kind === "r");
    // BullMQ 5 pauses by renaming a list: half of it may have been read under either name.
    if (repair.isBegun && (isTrimmed || (repair.isPaged && isRenamed))) startRepair(repair.accuracy, nowMs);
  }

  /** With no event since the last recording, everything must be as it was then. */
  function hasDrifted(request: ReadRequest, reply: ReadReply): boolean {
    if (reply.more || reply.events.length > 0 || known === null) return false;
    const isHeadGone = reply.headIsGone && request.head === known.head;
    return isHeadGone || (reply.counts !== null && reply.counts.jobs !== known.jobs);
  }

  /** Both at the end of the stream, and at the same moment: what differs now was not in the stream. */
  function reconcile(request: ReadRequest, reply: ReadReply, result: FollowResult, nowMs: number): void {
    if (reply.counts === null || repair !== null) return;
    checkAtMs = nowMs + checkMs();
    const isHeadGone = reply.headIsGone && result.head === request.head;
    if (result.jobs !== reply.counts.jobs || result.lacksExpected || isHeadGone)
      startRepair("UNKNOWN", nowMs);
    else agreed = endsOf(reply);
  }

  /** Events in three readings of a stream must be fewer than BullMQ keeps. */
  function pace(request: ReadRequest, reply: ReadReply, nowMs: number): void {
    const isCounted = reply.added !== null && request.added !== null;
    const count = isCounted ? (reply.added ?? 0) - (request.added ?? 0) : reply.events.length;
    const perMs = count / Math.max(1, nowMs - readAtMs);
    const wantedMs =
      reply.missedUntilMs === null ? Math.max(1, reply.maxEvents) / (readingsPerStream * perMs) : 0;
    paceMs = Math.max(minPaceMs(), Math.min(idleMs, wantedMs, 1.5 * paceMs));
    readAtMs = nowMs;
  }

  return {
    get dueMs() {
      return dueMs;
    },
    get isRepairing() {
      return repair !== null;
    },
    get isHurried() {
      return paceMs < idleMs;
    },
    request(nowMs) {
      const isFirst = readCursor === null && repair === null;
      return {
        queue,
        cursor: readCursor,
        added,
        counts: readCursor === null || (repair === null && nowMs >= checkAtMs),
        head: known?.head ?? null,
        page: isFirst ? { list: "all", index: 0 } : isDue(nowMs) ? (repair?.page() ?? null) : null,
      };
    },
    learn(request, reply, clocks, nowMs) {
      noticeLoss(request, reply, nowMs);
      // With its lists a small queue is repaired at once, so they are read before anything is recorded.
      isReadAgain = request.page === null && !reply.more && isDue(nowMs) && !isReadAgain && !repair?.isBegun;
      if (isReadAgain) return null;
      const events = reply.events.flatMap(eventOf);
      const paused = pauseOf(reply);
      const isPauseKnown = paused === null || paused === recordedPause;
      const isChecked = reply.counts === null || endsOf(reply) === agreed;
      const isNothing = events.length === 0 && isPauseKnown && isChecked && reply.skewMs === null;
      if (isNothing && repair === null && storedCursor !== null && nowMs < recordAtMs) return null;
      return {
        source,
        queue,
        fromCursor: storedCursor,
        toCursor: reply.cursor,
        events,
        paused,
        missedUntilMs: reply.missedUntilMs,
        sourceNowMs: clocks.sourceNowMs,
        readAtMs: clocks.readAtMs,
        uncertaintyMs: clocks.uncertaintyMs,
        freshForMs,
        repair: repair?.step(request, reply) ?? null,
        expected: reply.there,
        clockSkewMs: reply.skewMs,
      };
    },
    recorded(request, reply, result, nowMs) {
      const isCleaned = reply.events.some(({ kind }) => kind === "c");
      if (isReadAgain) {
        dueMs = nowMs + busyMs;
        return;
      }
      pace(request, reply, nowMs);
      added = reply.added;
      if (result === null) {
        readCursor = reply.cursor;
        if (reply.counts !== null) checkAtMs = nowMs + checkMs();
      } else if (!result.applied) {
        // Another reader is here too. Its repair is as good as ours; if it dies meanwhile, ours begins later.
        if (result.cursor === storedCursor) {
          repair = null;
          takeOverAtMs = nowMs + takeOverMs;
        }
        if (result.cursor !== reply.cursor) added = null;
        storedCursor = result.cursor;
        readCursor = result.cursor;
        known = null;
        agreed = null;
      } else {
        storedCursor = reply.cursor;
        readCursor = reply.cursor;
        known = result;
        if (reply.events.length > 0 || repair !== null) agreed = null;
        recordedPause = pauseOf(reply) ?? recordedPause;
        recordAtMs = nowMs + recordMs;
        if (repair?.advance(request, reply, result)) endRepair(nowMs);
        reconcile(request, reply, result, nowMs);
        if (repair === null && result.repairing && nowMs >= takeOverAtMs) startRepair("UNKNOWN", nowMs);
      }
      if (isCleaned) checkAtMs = 0;
      if (reply.more) dueMs = nowMs;
      else if (isCleaned || isDue(nowMs)) dueMs = nowMs + busyMs;
      else dueMs = paceMs < idleMs ? nowMs + paceMs : nextRound(nowMs);
    },
    postpone(nowMs) {
      dueMs = nextRound(nowMs);
    },
  };
}

/** The same for all queues, so that one call reads many. */
function nextRound(nowMs: number): number {
  return (Math.floor(nowMs / idleMs) + 1) * idleMs;
}

/** null: as before. */
function pauseOf({ counts, events }: ReadReply): boolean | null {
  if (counts !== null) return counts.paused;
  const last = events.findLast(({ kind }) => kind === "p" || kind === "r");
  return last === undefined ? null : last.kind === "p";
}

/** How many jobs there are and the ends of the lists: what differs when jobs have come or gone. */
function endsOf({ counts, there }: ReadReply): string {
  return JSON.stringify([counts?.jobs, ...there]);
}

function eventOf({ kind, jobId, atMs, dueMs }: ReadReply["events"][number]): FollowedEvent[] {
  const followed = kinds[kind];
  if (followed === undefined) return [];
  // A delay that is not a time is invalid: it counts from when it was read, until the lists show more.
  const availableAtMs = followed === "SCHEDULED" ? (dueMs ?? atMs) : null;
  return [{ kind: followed, jobId, atMs, availableAtMs }];
}
