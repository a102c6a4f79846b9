import { createHash } from "node:crypto";
import type { JobIdentity, QueueEvent, QueueEventType } from "../core/events.ts";

const kinds: Record<QueueEventType, string> = { ENQUEUED: "E", DEQUEUED: "D", REMOVED: "R" };

/**
 * Events of one queue as fold.lua takes them: a letter each, and of the rest lists of JSON, which are cheaper on the way and in
 * Lua than an argument each. Lists of times in ms, where 0 is none, are left out when there is none.
 */
export class EventColumns {
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

  toArguments(): readonly string[] {
    const times = (ms: readonly number[]) => (ms.some((each) => each !== 0) ? JSON.stringify(ms) : "");
    return [this.#kinds, JSON.stringify(this.#members), times(this.#at), times(this.#availableAt)];
  }

  #append(kind: string, member: string, atMs: number, availableAtMs: number): void {
    this.#kinds += kind;
    this.#members.push(member);
    this.#at.push(atMs);
    this.#availableAt.push(availableAtMs);
  }
}

/** Distinguishes a batch that is sent again from another one with the same id. Times that were left out stay left out. */
export function fingerprint(columns: readonly string[]): string {
  return createHash("sha1").update(columns.join("\n")).digest("base64");
}

function memberOf({ attempt, jobId }: JobIdentity): string {
  return `${attempt}:${jobId}`;
}
