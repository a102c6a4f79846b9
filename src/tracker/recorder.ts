import { createHash } from "node:crypto";
import { AppError } from "../core/errors.ts";
import type { JobIdentity, QueueEvent, QueueEventType, RecordResult } from "../core/events.ts";
import type { ClockWatch } from "../redis/clock-watch.ts";
import type { RedisClient } from "../redis/connect.ts";
import { isOutOfMemory } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { allowOutOfMemory, loadScript, runScripts, type ScriptCall } from "../redis/scripts.ts";
import type { MonotonicClock } from "../runtime/clock.ts";
import type { Writer } from "./acknowledged-writes.ts";
import type { QueueIndex } from "./queue-index.ts";
import type { RecordedQueues } from "./recorded-queues.ts";

export interface RecorderOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly index: Pick<QueueIndex, "admit" | "add">;
  readonly recorded: Pick<RecordedQueues, "mark">;
  /** For how long tombstones and batches are remembered, in ms. */
  readonly eventWindowMs: number;
  /** Jobs that wait longer are ghosts, in ms. */
  readonly maxWaitMs: number;
  readonly writer: Writer;
  readonly clocks: Pick<ClockWatch, "stepsOf">;
  /** Called when Redis turns out to have lost what it had acknowledged, with the number of queues. Each is INCOMPLETE by then. */
  readonly onDataLoss: (queues: number) => void;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
  /** Tests only: beside `now`, the clock by which it is noticed that Redis's was set. */
  readonly clock?: MonotonicClock | undefined;
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

interface Fold {
  readonly queue: string;
  readonly events: EventColumns;
  readonly batchId?: string | null;
  /** What is left alone: queues that are not known, or also jobs that are not. @default nothing */
  readonly only?: "known queues" | "known jobs";
}

const onlyArgument = { "known queues": 1, "known jobs": 2 } as const;

const kinds: Record<QueueEventType, string> = { ENQUEUED: "E", DEQUEUED: "D", REMOVED: "R" };

/**
 * Events of one queue as fold.lua takes them: a letter each, and of the rest lists of JSON, which are cheaper on the way and in
 * Lua than an argument each. Lists of times in ms, where 0 is none, are left out when there is none.
 */
class EventColumns {
  #kinds = "";
  readonly #members: string[] = [];
  readonly #at: number[] = [];
  readonly #availableAt: number[] = [];

  push(event: QueueEvent): void {
    this.#append(kinds[event.type], memberOf(event), event.atMs ?? 0, event.availableAtMs ?? 0);
  }

  get size(): number {
    return this.#kinds.length;
  }

  /** Those events after which a job is no longer in the queue. */
  leaving(): EventColumns {
    const leaving = new EventColumns();
    for (let i = 0; i < this.size; i++) {
      const kind = this.#kinds[i] as string;
      if (kind !== kinds.ENQUEUED) leaving.#append(kind, this.#members[i] as string, this.#at[i] ?? 0, 0);
    }
    return leaving;
  }

  #append(kind: string, member: string, atMs: number, availableAtMs: number): void {
    this.#kinds += kind;
    this.#members.push(member);
    this.#at.push(atMs);
    this.#availableAt.push(availableAtMs);
  }

  toArguments(): readonly string[] {
    const times = (ms: readonly number[]) => (ms.some((each) => each !== 0) ? JSON.stringify(ms) : "");
    return [this.#kinds, JSON.stringify(this.#members), times(this.#at), times(this.#availableAt)];
  }
}

const noEvents = new EventColumns();

export function createRecorder(options: RecorderOptions): Recorder {
  const { redis, keys, index, recorded, eventWindowMs, maxWaitMs, writer, clocks, onDataLoss } = options;
  const script = loadScript("queueLatencyFold", new URL("lua/fold.lua", import.meta.url));
  /** Redis does not run the other one any further than to its first write when it is full. */
  const scriptWhenFull = allowOutOfMemory(script);
  const noWriter = ["", ""];

  function callOf({ queue, events, batchId = null, only }: Fold): ScriptCall {
    const columns = events.toArguments();
    const batch = batchId === null ? ["", ""] : [batchId, fingerprint(columns)];
    // A sweep acknowledges nothing, so nothing of it is compared with Redis.
    const asWriter = events === noEvents ? noWriter : [writer.id, writer.answered(queue)];
    const steps = clocks.stepsOf(queue);
    // With a time of their own tests have no clock that could be set.
    const isWatched = options.now === undefined || options.clock !== undefined;
    const latestMs = isWatched ? steps.latestMs() : Number.POSITIVE_INFINITY;
    const settings = [options.now?.() ?? "", eventWindowMs, maxWaitMs + steps.aheadMs(maxWaitMs)];
    const args = [
      ...settings,
      ...batch,
      keys.changes,
      queue,
      only === undefined ? 0 : onlyArgument[only],
      ...asWriter,
      ...columns,
      Number.isFinite(latestMs) ? latestMs : "",
    ];
    return { keys: keys.all(queue), args };
  }

  /** Also when another queue of the batch failed, this one has been written to. */
  function learn(queues: readonly string[], replies: readonly unknown[]): void {
    let incomplete = 0;
    queues.forEach((queue, i) => {
      const reply = replies[i];
      if (!Array.isArray(reply) || reply.length < 11) return;
      const [, , , , , isIncomplete, , , atMs, forgets, count] = reply as FoldReply;
      writer.learn(queue, { forgets, count, atMs });
      incomplete += isIncomplete;
    });
    if (incomplete > 0) onDataLoss(incomplete);
  }

  /**
   * Of events that a full Redis refused, records those that take out a job that waits: that makes room, since what is
   * remembered of the job goes with the event window. The others, and the dequeues that came before their enqueues, stay refused.
   *
   * @param replies to the batch, in the order of its queues. @returns the replies, with those of queues that are done after all.
   */
  async function makeRoom(
    batch: ReadonlyMap<string, EventColumns>,
    batchId: string | null,
    replies: readonly unknown[],
  ): Promise<readonly unknown[]> {
    if (!replies.some(isOutOfMemory)) return replies;
    const refused = [...batch]
      .filter((_, i) => isOutOfMemory(replies[i]))
      .map(([queue, events]) => ({ queue, events, leaving: events.leaving() }))
      .filter(({ leaving }) => leaving.size > 0);
    const again = await runScripts(
      redis,
      scriptWhenFull,
      refused.map(({ queue, events, leaving }) =>
        // A part of the batch must not be taken for all of it when it is sent again.
        callOf({
          queue,
          events: leaving,
          batchId: leaving.size === events.size ? batchId : null,
          only: "known jobs",
        }),
      ),
    );
    learn(
      refused.map(({ queue }) => queue),
      again,
    );
    const done = new Map<string, unknown>();
    refused.forEach(({ queue, events }, i) => {
      const reply = again[i];
      if (!Array.isArray(reply)) return;
      const [accepted, duplicates] = reply as FoldReply;
      if (accepted + duplicates === events.size) done.set(queue, reply);
    });
    return [...batch.keys()].map((queue, i) => done.get(queue) ?? replies[i]);
  }

  /** Records a batch as far as Redis lets it. @returns a reply or an error for each queue. */
  async function fold(
    batch: ReadonlyMap<string, EventColumns>,
    batchId: string | null,
  ): Promise<readonly unknown[]> {
    const queues = [...batch.keys()];
    try {
      await index.admit(queues);
    } catch (error) {
      if (!isOutOfMemory(error)) throw error;
      return queues.map(() => error);
    }
    const calls = [...batch].map(([queue, events]) => callOf({ queue, events, batchId }));
    const replies = await runScripts(redis, script, calls);
    learn(queues, replies);
    // Listed again once there is a state: until then another process may have taken the name out. A name that is listed without
    // a state is passed over, a state without a name would be hidden.
    const created = queues.filter((_, i) => isNew(replies[i]));
    await Promise.all([index.add(created), recorded.mark(created)]);
    return replies;
  }

  return {
    async record(events, batchId) {
      const byQueue = new Map<string, EventColumns>();
      for (const event of events) {
        let columns = byQueue.get(event.queue);
        if (columns === undefined) {
          columns = new EventColumns();
          byQueue.set(event.queue, columns);
        }
        columns.push(event);
      }
      const queues = [...byQueue.keys()];
      const replies = await makeRoom(byQueue, batchId, await fold(byQueue, batchId));
      const lost = replies.find((reply) => reply instanceof AppError);
      if (lost !== undefined) throw lost;
      return replies
        .map((reply, i) => resultOf(reply, queues[i] as string))
        .reduce(sum, { accepted: 0, duplicates: 0, early: 0, expired: 0 });
    },

    async remove(queue, jobs) {
      if (jobs.length === 0) return 0;
      const events = new EventColumns();
      for (const job of jobs)
        events.push({ ...job, queue, type: "REMOVED", atMs: null, availableAtMs: null });
      const [reply] = await runScripts(redis, script, [callOf({ queue, events, only: "known queues" })]);
      learn([queue], [reply]);
      resultOf(reply, queue);
      return (reply as FoldReply)[4];
    },

    async sweep(queues) {
      const replies = await runScripts(
        redis,
        scriptWhenFull,
        queues.map((queue) => callOf({ queue, events: noEvents })),
      );
      let lost = 0;
      const unknown: string[] = [];
      const known: string[] = [];
      const empty: EmptyQueue[] = [];
      const failures: Error[] = [];
      queues.forEach((queue, i) => {
        const reply = replies[i];
        if (reply instanceof Error) {
          failures.push(reply);
          return;
        }
        const [, , , ghosts, , , isKnown, idleSinceMs, atMs] = reply as FoldReply;
        lost += ghosts;
        if (isKnown === 0) unknown.push(queue);
        else if (isRecorded(reply)) known.push(queue);
        const aheadMs = clocks.stepsOf(queue).aheadMs(Number.POSITIVE_INFINITY);
        if (idleSinceMs >= 0) empty.push({ queue, atMs, idleMs: atMs - idleSinceMs - aheadMs });
      });
      return { lost, unknown, known, empty, failures };
    },
  };
}

/** What fold.lua returns; only the first eight when there was nothing to do. */
type FoldReply = [
  accepted: number,
  duplicates: number,
  early: number,
  lost: number,
  taken: number,
  isIncomplete: number,
  known: number,
  idleSince: number,
  now: number,
  forgets: number,
  count: number,
  expired: number,
];

/** Of a job system's queue nothing is folded. */
function isRecorded(reply: unknown): boolean {
  return Array.isArray(reply) && reply.length > 8;
}

function isNew(reply: unknown): boolean {
  return Array.isArray(reply) && (reply as FoldReply)[6] === 0;
}

function memberOf({ attempt, jobId }: JobIdentity): string {
  return `${attempt}:${jobId}`;
}

/** Distinguishes a batch that is sent again from another one with the same id. Times that were left out stay left out. */
function fingerprint(columns: readonly string[]): string {
  return createHash("sha1").update(columns.join("\n")).digest("base64");
}

function resultOf(reply: unknown, queue: string): RecordResult {
  if (Array.isArray(reply)) {
    return { accepted: reply[0], duplicates: reply[1], early: reply[2], expired: reply[11] ?? 0 };
  }
  const message = reply instanceof Error ? reply.message : "";
  if (/^(?:ERR )?BATCH\b/.test(message)) {
    const expected = "expected a batchId that is new, or the same events that came with it before";
    throw new AppError("BAD_USER_INPUT", `${expected}; other events came with this one`);
  }
  const source = /^(?:ERR )?SOURCE (.*)$/s.exec(message)?.[1];
  if (source !== undefined) {
    const problem = `queue "${queue}" is managed by source "${source}"; events cannot be recorded for it`;
    throw new AppError("BAD_USER_INPUT", problem);
  }
  throw reply;
}

function sum(a: RecordResult, b: RecordResult): RecordResult {
  return {
    accepted: a.accepted + b.accepted,
    duplicates: a.duplicates + b.duplicates,
    early: a.early + b.early,
    expired: a.expired + b.expired,
  };
}
