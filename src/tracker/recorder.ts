import { AppError } from "../core/errors.ts";
import type { JobIdentity, QueueEvent, RecordResult } from "../core/events.ts";
import { isOutOfMemory } from "../redis/errors.ts";
import { EventColumns } from "./event-columns.ts";
import { createFold, type FoldOptions, type FoldReply } from "./fold.ts";
import type { QueueIndex } from "./queue-index.ts";
import { ownerIn } from "./queue-owner.ts";
import type { RecordedQueues } from "./recorded-queues.ts";

export interface RecorderOptions extends FoldOptions {
  readonly index: Pick<QueueIndex, "admit" | "add">;
  readonly recorded: Pick<RecordedQueues, "mark">;
  /** Called with queues that were recorded as new ones, though they were recorded before and never forgotten. */
  readonly onRecordedAnew: (queues: readonly string[]) => Promise<void>;
}

export interface Recorder {
  /**
   * Folds events, of any queues and in any order, into the state of their queues: one atomic script call a queue, all in
   * one round trip. When it resolves, all of them have been applied.
   *
   * @param batchId a batch that is sent again with its id within the event window changes nothing and gets the answer
   *   that it got first. @throws AppError BAD_USER_INPUT when another batch came with the same id, or when a queue belongs
   *   to a job system; TOO_MANY_KNOWN_QUEUES when it names more new queues than there may be, and then nothing was recorded;
   *   SERVICE_UNAVAILABLE when it is not known whether all was applied: the batch may be sent again.
   */
  record(events: readonly QueueEvent[], batchId: string | null): Promise<RecordResult>;
  /**
   * Removes jobs that wait, or are scheduled, as REMOVED events would. A queue that is not known stays unknown.
   *
   * @returns how many were there. @throws AppError as `record`.
   */
  remove(queue: string, jobs: readonly JobIdentity[]): Promise<number>;
  /** Drops the ghosts of some queues, a bounded number at once, and frees old memory. */
  sweep(queues: readonly string[]): Promise<Swept>;
}

export interface Swept {
  /** How many ghosts were dropped. */
  readonly lost: number;
  /** Queues that are not known. */
  readonly unknown: readonly string[];
  /** Recorded queues, empty or not. */
  readonly known: readonly string[];
  /** Recorded queues that have no jobs, and for how long at least they have had no event. */
  readonly empty: readonly EmptyQueue[];
  /** Of queues that could not be swept; the others were. */
  readonly failures: readonly Error[];
}

export interface EmptyQueue {
  readonly queue: string;
  /** By Redis's clock. */
  readonly atMs: number;
  readonly idleMs: number;
}

const noEvents = new EventColumns();

export function createRecorder(options: RecorderOptions): Recorder {
  const { index, recorded, clocks } = options;
  const fold = createFold(options);

  /**
   * Of events that a full Redis refused, records those that take out a job that waits: that makes room, since what is
   * remembered of the job goes with the event window. The others, and the dequeues that came before their enqueues, stay refused.
   *
   * @param replies to the batch, in the order of its queues. @returns the replies, with those of queues that are done after all.
   */
  async function makeRoom(
    batch: ReadonlyMap<string, EventColumns>,
    batchId: string | null,
    replies: readonly (FoldReply | Error)[],
  ): Promise<readonly (FoldReply | Error)[]> {
    if (!replies.some(isOutOfMemory)) return replies;
    const refused = [...batch]
      .filter((_, i) => isOutOfMemory(replies[i]))
      .map(([queue, events]) => ({ queue, events, leaving: events.leaving() }))
      .filter(({ leaving }) => leaving.size > 0);
    const again = await fold(
      refused.map(({ queue, events, leaving }) => ({
        queue,
        events: leaving,
        // A part of the batch must not be taken for all of it when it is sent again.
        batchId: leaving.size === events.size ? batchId : null,
        only: "known jobs",
      })),
      true,
    );
    const done = new Map<string, FoldReply>();
    refused.forEach(({ queue, events }, i) => {
      const reply = again[i];
      if (reply === undefined || reply instanceof Error) return;
      const { accepted = 0, duplicates = 0 } = reply;
      if (accepted + duplicates === events.size) done.set(queue, reply);
    });
    const queues = [...batch.keys()];
    return replies.map((reply, i) => done.get(queues[i] as string) ?? reply);
  }

  /** Records a batch as far as Redis lets it. @returns a reply or an error for each queue. */
  async function foldBatch(
    batch: ReadonlyMap<string, EventColumns>,
    batchId: string | null,
  ): Promise<readonly (FoldReply | Error)[]> {
    const queues = [...batch.keys()];
    try {
      await index.admit(queues);
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      return queues.map(() => error);
    }
    const replies = await fold([...batch].map(([queue, events]) => ({ queue, events, batchId })));
    // Listed again once there is a state: until then another process may have taken the name out. A name that is listed without
    // a state is passed over, a state without a name would be hidden.
    const created = queues.filter((_, i) => isNew(replies[i]));
    const [, lost] = await Promise.all([index.add(created), recorded.mark(created)]);
    // Only an eviction of all keys of a queue takes its state and leaves its mark.
    await options.onRecordedAnew(lost);
    return replies;
  }

  return {
    async record(events, batchId) {
      const batch = new Map<string, EventColumns>();
      for (const event of events) {
        let columns = batch.get(event.queue);
        if (columns === undefined) {
          columns = new EventColumns();
          batch.set(event.queue, columns);
        }
        columns.push(event);
      }
      const queues = [...batch.keys()];
      const replies = await makeRoom(batch, batchId, await foldBatch(batch, batchId));
      const away = replies.find((reply) => reply instanceof AppError);
      if (away !== undefined) throw away;
      return replies.map((reply, i) => folded(reply, queues[i] as string)).reduce(sum, nothing);
    },

    async remove(queue, jobs) {
      if (jobs.length === 0) return 0;
      const events = new EventColumns();
      for (const job of jobs)
        events.push({ ...job, queue, type: "REMOVED", atMs: null, availableAtMs: null });
      const [reply] = await fold([{ queue, events, only: "known queues" }]);
      return folded(reply as FoldReply | Error, queue).taken ?? 0;
    },

    async sweep(queues) {
      const replies = await fold(
        queues.map((queue) => ({ queue, events: noEvents })),
        true,
      );
      let lost = 0;
      const unknown: string[] = [];
      const known: string[] = [];
      const empty: EmptyQueue[] = [];
      const failures: Error[] = [];
      queues.forEach((queue, i) => {
        const reply = replies[i] as FoldReply | Error;
        if (reply instanceof Error) {
          failures.push(reply);
          return;
        }
        const { isKnown, idleSince, now: atMs, lost: ghosts = 0 } = reply;
        lost += ghosts;
        if (isKnown === undefined) unknown.push(queue);
        // Of a job system's queue nothing is folded.
        if (atMs === undefined) return;
        if (isKnown === 1) known.push(queue);
        const aheadMs = clocks.stepsOf(queue).aheadMs(Number.POSITIVE_INFINITY);
        if (idleSince !== undefined) empty.push({ queue, atMs, idleMs: atMs - idleSince - aheadMs });
      });
      return { lost, unknown, known, empty, failures };
    },
  };
}

const nothing: RecordResult = { accepted: 0, duplicates: 0, early: 0, expired: 0 };

function isNew(reply: FoldReply | Error | undefined): boolean {
  return reply !== undefined && !(reply instanceof Error) && reply.isKnown === undefined;
}

/** @throws AppError BAD_USER_INPUT, or the error that Redis answered. */
function folded(reply: FoldReply | Error, queue: string): FoldReply {
  if (!(reply instanceof Error)) return reply;
  if (/^(?:ERR )?BATCH\b/.test(reply.message)) {
    const expected = "expected a batchId that is new, or the same events that came with it before";
    throw new AppError("BAD_USER_INPUT", `${expected}; other events came with this one`);
  }
  const source = ownerIn(reply);
  if (source !== null) {
    const problem = `queue "${queue}" is managed by source "${source}"; events cannot be recorded for it`;
    throw new AppError("BAD_USER_INPUT", problem);
  }
  throw reply;
}

function sum(
  all: RecordResult,
  { accepted = 0, duplicates = 0, early = 0, expired = 0 }: FoldReply,
): RecordResult {
  return {
    accepted: all.accepted + accepted,
    duplicates: all.duplicates + duplicates,
    early: all.early + early,
    expired: all.expired + expired,
  };
}
