import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { AppError } from "../core/errors.ts";
import type { QueueEvent, QueueEventType, RecordResult } from "../core/events.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScripts, type ScriptCall } from "../redis/scripts.ts";

export interface RecorderOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  /** For how long departures and batches are remembered, in ms. */
  readonly eventWindowMs: number;
  /** Jobs that wait longer are ghosts, in ms. */
  readonly maxWaitMs: number;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

export interface Recorder {
  /**
   * Folds events, of any queues and in any order, into the state of their queues: one atomic script call a queue, all in
   * one round trip. When it resolves, all of them have been applied.
   *
   * @param batchId a batch that is sent again with its id within the event window changes nothing and gets the answer
   *   that it got first. @throws AppError BAD_USER_INPUT when another batch came with the same id, or when a queue belongs
   *   to a job system; SERVICE_UNAVAILABLE when it is not known whether all was applied: the batch may be sent again.
   */
  record(events: readonly QueueEvent[], batchId: string | null): Promise<RecordResult>;
  /** Drops the ghosts of some queues, a bounded number at once, and frees old memory. */
  sweep(queues: readonly string[]): Promise<Swept>;
}

export interface Swept {
  /** How many ghosts were dropped. */
  readonly lost: number;
  /** Of queues that could not be swept; the others were. */
  readonly failures: readonly Error[];
}

const kinds: Record<QueueEventType, string> = { ENQUEUED: "E", DEQUEUED: "D", REMOVED: "R" };
export function createRecorder(options: RecorderOptions): Recorder {
  const { redis, keys, eventWindowMs, maxWaitMs } = options;
  const script = loadScript(
    "queueLatencyFold",
    new URL("lua/recent.lua", import.meta.url),
    new URL("lua/fold.lua", import.meta.url),
  );

  const callOf = (
    queue: string,
    batch: readonly string[],
    eventArgs: readonly (string | number)[],
  ): ScriptCall => ({
    keys: keys.all(queue),
    args: [options.now?.() ?? "", eventWindowMs, maxWaitMs, ...batch, keys.changes, queue, ...eventArgs],
  });

  return {
    async record(events, batchId) {
      const byQueue = new Map<string, (string | number)[]>();
      for (const event of events) {
        let args = byQueue.get(event.queue);
        if (args === undefined) {
          args = [];
          byQueue.set(event.queue, args);
        }
        const member = `${event.attempt}:${event.jobId}`;
        args.push(kinds[event.type], member, event.atMs ?? "", event.availableAtMs ?? "");
      }
      const calls = [...byQueue].map(([queue, args]) =>
        callOf(queue, batchId === null ? ["", ""] : [batchId, fingerprint(args)], args),
      );
      // The index comes after the folds and on the same connection: a queue that has a state is always listed, and a name
      // that is listed without a state is passed over by whoever lists.
      const index = ["zadd", keys.index, ...[...byQueue.keys()].flatMap((queue) => [0, queue])];
      const replies = await runScripts(redis, script, calls, byQueue.size === 0 ? [] : [index]);
      return replies.map(resultOf).reduce(sum, { accepted: 0, duplicates: 0, early: 0 });
    },

    async sweep(queues) {
      const replies = await runScripts(
        redis,
        script,
        queues.map((queue) => callOf(queue, ["", ""], [])),
      );
      let lost = 0;
      const failures: Error[] = [];
      for (const reply of replies) {
        if (reply instanceof Error) failures.push(reply);
        else lost += (reply as readonly number[])[3] ?? 0;
      }
      return { lost, failures };
    },
  };
}

/** Tells a batch that is sent again from another one with the same id. Times that were left out stay left out. */
function fingerprint(args: readonly (string | number)[]): string {
  return createHash("sha1").update(JSON.stringify(args)).digest("base64");
}

function resultOf(reply: unknown): RecordResult {
  if (Array.isArray(reply)) return { accepted: reply[0], duplicates: reply[1], early: reply[2] };
  const message = reply instanceof Error ? reply.message : "";
  const batchId = /^(?:ERR )?BATCH (.*)$/s.exec(message)?.[1];
  if (batchId !== undefined) {
    const expected = `expected a batchId that is new, or the same events that came with it before`;
    throw new AppError("BAD_USER_INPUT", `${expected}; other events came with "${batchId}"`);
  }
  const source = /^(?:ERR )?SOURCE (.*)$/s.exec(message)?.[1];
  if (source !== undefined) {
    throw new AppError("BAD_USER_INPUT", `expected a queue of your own; this one is read from ${source}`);
  }
  throw reply;
}

function sum(a: RecordResult, b: RecordResult): RecordResult {
  return {
    accepted: a.accepted + b.accepted,
    duplicates: a.duplicates + b.duplicates,
    early: a.early + b.early,
  };
}
