import { randomBytes } from "node:crypto";
import { createRecentMap } from "../runtime/recent-map.ts";

/** How far Redis has come with one queue, as it said to this process. */
export interface WriterAnswer {
  /** How often the queue has been forgotten on purpose. */
  readonly forgets: number;
  /** How many writes of this process the queue has had since. */
  readonly count: number;
  /** When it was said, in ms by Redis's clock. */
  readonly atMs: number;
}

/**
 * This process in its role of one that writes: what Redis has answered to it, so that it is noticed when Redis has lost that.
 * lua/includes/tombstones.lua says how.
 */
export interface Writer {
  /** Random, so that no two processes and no two lives of one are the same writer. */
  readonly id: string;
  /** What was answered last of a queue, as the scripts want it; "" when there is nothing to compare with Redis. */
  answered(queue: string): string;
  /** Answers may arrive in any order. */
  learn(queue: string, answer: WriterAnswer): void;
  /** The queues of which something was answered within the event window, the longest ago first. */
  queues(): string[];
}

export interface WriterOptions {
  readonly eventWindowMs: number;
  /** Of more queues, those are left out that were not written to for longest. @default 10_000 // some 2 MB */
  readonly maxQueues?: number;
}

export function createWriter({ eventWindowMs, maxQueues = 10_000 }: WriterOptions): Writer {
  const answers = createRecentMap<string, WriterAnswer>({ maxSize: maxQueues, maxAgeMs: eventWindowMs });

  return {
    id: randomBytes(9).toString("base64url"),
    answered(queue) {
      const answer = answers.get(queue);
      return answer === undefined ? "" : `${answer.forgets} ${answer.count} ${answer.atMs}`;
    },
    learn(queue, answer) {
      const known = answers.get(queue);
      if (known !== undefined && !isLater(answer, known)) return;
      answers.set(queue, answer);
    },
    queues: () => [...answers.keys()],
  };
}

function isLater(a: WriterAnswer, b: WriterAnswer): boolean {
  return a.forgets === b.forgets ? a.count > b.count : a.forgets > b.forgets;
}
