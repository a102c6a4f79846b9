import { randomUUID } from "node:crypto";
import type {
  FollowedEvent,
  FollowedKind,
  FollowedQueue,
  FollowResult,
  PresentJob,
  RepairStep,
} from "../core/following.ts";
import type { Accuracy } from "../core/snapshot.ts";
import { jobLists, pageSize, type Reading, type ReadReply, type ReadRequest } from "./bullmq-reader.ts";

/** What has to be read of one queue next, and what of that has to be told; does no I/O. */
export interface QueueProgress {
  /** When it is to be read next, by monotonicClock. */
  readonly dueMs: number;
  readonly repairing: boolean;
  request(nowMs: number): ReadRequest;
  /** What a reading adds to what is known; null when that is nothing, so that nothing need be told. */
  learn(request: ReadRequest, reply: ReadReply, clock: Clocks, nowMs: number): FollowedQueue | null;
  /** Goes on from what became of it. Until this is called everything is read again. */
  told(request: ReadRequest, reply: ReadReply, result: FollowResult | null, nowMs: number): void;
  /** It could not be read or told: later. */
  postpone(nowMs: number): void;
}

type Clocks = Omit<Reading, "replies">;

export interface QueueProgressOptions {
  readonly source: string;
  readonly queue: string;
  readonly reconcileMs: number;
  /** What is stored of it; null: nothing. */
  readonly cursor: string | null;
  /** Its last reader did not come to the end of a repair. */
  readonly repairing: boolean;
}

interface Repair {
  readonly accuracy: Accuracy;
  begun: boolean;
  /** Index in `jobLists`; behind the last one comes the sweep. */
  list: number;
  index: number;
  sweepFrom: string;
}

/** From one reading to the next while nothing happens; during a repair, so that the watched Redis has time for its owner. */
const idleMs = 200;
const busyMs = 5;
const tellMs = 2_000;
const takeOverMs = 1_000;
const freshForMs = 6_000;
/** Repairs that repair nothing become this many times rarer at most. */
const maxBackOff = 16;

const kinds: Readonly<Record<string, FollowedKind>> = {
  W: "WAITS",
  P: "PROMOTED",
  S: "SCHEDULED",
  T: "TAKEN",
  R: "REMOVED",
};

export function createQueueProgress(options: QueueProgressOptions): QueueProgress {
  const { source, queue, reconcileMs } = options;
  /** What is stored, and how far was read: in between there was nothing to tell. */
  let storedCursor = options.cursor;
  let readCursor = options.cursor;
  let repair: Repair | null = null;
  let head: string | null = null;
  let dueMs = 0;
  let tellAtMs = 0;
  let reconcileAtMs = 0;
  let takeOverAtMs = 0;
  let backOff = 1;
  const token = randomUUID();
  if (options.repairing) startRepair("UNKNOWN");

  function startRepair(accuracy: Accuracy): Repair {
    repair = { accuracy, begun: false, list: 0, index: 0, sweepFrom: "0" };
    return repair;
  }

  /** Where something was missed: what is known until then is kept, and put right by the lists. */
  function noticeLoss(reply: ReadReply): void {
    const isRenamed = reply.events.some(({ kind }) => kind === "p" || kind === "r");
    if (readCursor === null && repair === null) startRepair("LOWER_BOUND");
    else if (reply.gap) startRepair(repair?.begun === true ? repair.accuracy : "UNKNOWN");
    // BullMQ 5 pauses by renaming a list: half of it may have been read under either name.
    else if (repair?.begun === true && isRenamed) startRepair(repair.accuracy);
  }

  function stepOf(request: ReadRequest, reply: ReadReply): RepairStep | null {
    if (repair === null) return null;
    const { begun, accuracy, list, index, sweepFrom } = repair;
    const isPage = request.page?.list === jobLists[list] && request.page?.index === index && begun;
    const present: readonly PresentJob[] = isPage
      ? reply.page.map(({ jobId, timeMs }) => ({
          jobId,
          sinceMs: timeMs,
          scheduled: request.page?.list === "delayed",
        }))
      : [];
    const isSweep = begun && list === jobLists.length && !reply.more;
    return { token, begin: begun ? null : accuracy, present, sweepFrom: isSweep ? sweepFrom : null };
  }

  function advanceRepair(request: ReadRequest, reply: ReadReply, result: FollowResult): void {
    if (repair === null) return;
    if (!repair.begun) {
      repair.begun = true;
    } else if (reply.more) {
      return;
    } else if (repair.list < jobLists.length) {
      if (request.page?.list !== jobLists[repair.list]) return;
      repair.index += pageSize;
      if (reply.looked < pageSize) {
        repair.list += 1;
        repair.index = 0;
      }
    } else if (result.sweepFrom === null) {
      repair = null;
    } else {
      repair.sweepFrom = result.sweepFrom;
    }
  }

  /** Both at the end of the stream, and at the same moment: what differs now was not told by the stream. */
  function reconcile(request: ReadRequest, reply: ReadReply, result: FollowResult, nowMs: number): void {
    if (reply.counts === null || repair !== null) return;
    const isHeadGone = reply.headIsGone && result.head === request.head;
    const differs = result.jobs !== reply.counts.jobs || result.lacksExpected || isHeadGone;
    if (differs) startRepair("UNKNOWN");
    reconcileAtMs = nowMs + reconcileMs * backOff;
    backOff = differs ? Math.min(maxBackOff, backOff * 2) : 1;
  }

  return {
    get dueMs() {
      return dueMs;
    },
    get repairing() {
      return repair !== null;
    },
    request(nowMs) {
      const list = repair?.begun === true ? jobLists[repair.list] : undefined;
      return {
        queue,
        cursor: readCursor,
        counts: readCursor === null || (repair === null && nowMs >= reconcileAtMs),
        head,
        page: list === undefined ? null : { list, index: repair?.index ?? 0 },
      };
    },
    learn(request, reply, clocks, nowMs) {
      noticeLoss(reply);
      const events = reply.events.flatMap(eventOf);
      const turns = reply.events.filter(({ kind }) => kind === "p" || kind === "r");
      const paused = reply.counts?.paused ?? (turns.length === 0 ? null : turns.at(-1)?.kind === "p");
      const repairStep = stepOf(request, reply);
      const isNothing =
        events.length === 0 && paused === null && repairStep === null && storedCursor !== null;
      if (isNothing && nowMs < tellAtMs) return null;
      return {
        source,
        queue,
        fromCursor: storedCursor,
        toCursor: reply.cursor,
        events,
        paused,
        sourceNowMs: clocks.sourceNowMs,
        readAtMs: clocks.readAtMs,
        uncertaintyMs: clocks.uncertaintyMs,
        freshForMs,
        repair: repairStep,
        expected: reply.there,
        clockSkewMs: reply.skewMs,
      };
    },
    told(request, reply, result, nowMs) {
      const isCleaned = reply.events.some(({ kind }) => kind === "c");
      if (result === null) {
        readCursor = reply.cursor;
      } else if (!result.applied) {
        // Another reader is here too. Its repair is as good as ours; if it dies meanwhile, ours begins later.
        if (result.cursor === storedCursor) {
          repair = null;
          takeOverAtMs = nowMs + takeOverMs;
        }
        storedCursor = result.cursor;
        readCursor = result.cursor;
      } else {
        storedCursor = reply.cursor;
        readCursor = reply.cursor;
        head = result.head;
        tellAtMs = nowMs + tellMs;
        advanceRepair(request, reply, result);
        reconcile(request, reply, result, nowMs);
        if (repair === null && result.repairing && nowMs >= takeOverAtMs) startRepair("UNKNOWN");
      }
      if (isCleaned) reconcileAtMs = 0;
      if (reply.more) dueMs = nowMs;
      else dueMs = repair !== null || isCleaned ? nowMs + busyMs : nextRound(nowMs);
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

function eventOf({ kind, jobId, atMs, dueMs }: ReadReply["events"][number]): FollowedEvent[] {
  const told = kinds[kind];
  if (told === undefined) return [];
  // A delay that is no time cannot be meant: it counts from when it was heard, until the lists tell.
  const availableAtMs = told === "SCHEDULED" ? (dueMs ?? atMs) : null;
  return [{ kind: told, jobId, atMs, availableAtMs }];
}
