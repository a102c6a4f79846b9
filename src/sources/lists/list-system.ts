import type { Redis } from "ioredis";
import type { SourceKind } from "../../settings/source-kinds.ts";

/** A job system that keeps its queues in lists of Redis, and what it takes to read them. */
export interface ListSystem {
  readonly kind: SourceKind;
  /** Its name in messages. */
  readonly title: string;
  /** The end at which a new job is pushed; workers take from the other one. */
  readonly pushedAt: "left" | "right";
  /** Whether no two jobs of a queue are ever the same text. */
  readonly areDistinct: boolean;
  /** What the scores of its sorted sets count, in ms. */
  readonly scoreMs: 1 | 1_000;
  /**
   * Lua that defines `look(element, list)`: what a job says of itself, as text or nil: since when it is claimable; not before when; 1 when it
   * was put back at the head. `argument` is the {@link OpenedSystem}'s. It may also set `identity` and `readSorted`: see read-lists.lua.
   */
  readonly look: string;
  /** The parameters of its URL, beside those of any Redis. */
  readonly parameters: readonly string[];
  open(parameters: URLSearchParams): OpenedSystem;
}

/** A system as the parameters of one URL describe it. */
export interface OpenedSystem {
  /** For the Lua of `look`. */
  readonly argument: string;
  /** Of each queue the same number of each kind. */
  keysOf(queue: string): QueueKeys;
  /** What stands before the id of a job in a key that exists while the job runs, where running jobs stay in their sorted set. */
  readonly inProgress?: string;
  /** The queues that the system itself lists, at most `max`. */
  listed(redis: Redis, max: number): Promise<readonly string[]>;
  /** Keys that show what queues there are; null: only those that are listed. */
  readonly scan: KeySearch | null;
  /** Why no queue may be found, for the log. */
  readonly emptyHint: string;
}

export interface KeySearch {
  /** Of the keys to look at, as in MATCH. */
  readonly pattern: string;
  /** Null: keys of any type. */
  readonly type: "list" | "set" | "string" | null;
  /** The queues that some of the keys show. */
  queuesOf(redis: Redis, keys: readonly string[]): Promise<readonly string[]>;
}

export interface QueueKeys {
  readonly lists: readonly string[];
  readonly sets: readonly JobSet[];
  /** The queue is paused while one of these exists. */
  readonly pauses: readonly string[];
}

/** A sorted set of jobs of one queue, by a time. */
export interface JobSet {
  readonly key: string;
  /** What the jobs are before that time. */
  readonly before: "scheduled" | "inFlight";
  /** Whether they wait from then on, though no process has moved them. Null: the time is not known well enough, and all count as before it. */
  readonly waitsAfter: boolean | null;
}

/** In a pattern of SCAN. */
export function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\^]/g, "\\$&");
}

/** The members of a set, at most `max`, in steps. */
export async function membersOf(redis: Redis, set: string, max: number): Promise<readonly string[]> {
  const found = new Set<string>();
  let cursor = "0";
  do {
    const [next, members] = await redis.sscan(set, cursor, "COUNT", 100);
    for (const member of members) found.add(member);
    cursor = next;
  } while (cursor !== "0" && found.size < max);
  return [...found].slice(0, max);
}
