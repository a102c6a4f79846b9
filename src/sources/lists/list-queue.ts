import type { Observation } from "../../core/observation.ts";
import { createListCounts } from "./list-counts.ts";
import { advanceMarks, type ListMarks } from "./list-marks.ts";
import { movesBetween } from "./list-moves.ts";
import { marksIn, notesOf } from "./list-notes.ts";
import type { Look, QueueReading, SetReply } from "./list-reader.ts";
import type { JobSet, QueueKeys } from "./list-system.ts";
import { dueAge, laterCount, listAge, oldestOf, sortedAge } from "./queue-age.ts";

/** One queue of a system of lists: what is known of it from one reading to the next. Does no I/O. */
export interface ListQueue {
  readonly keys: QueueKeys;
  /** Of each list; null: never read. */
  readonly marks: readonly (ListMarks | null)[];
  observe(reading: QueueReading): Observation;
  /** The last observation may not be stored. */
  unstored(): void;
}

export interface ListQueueOptions {
  readonly queue: string;
  readonly keys: QueueKeys;
  readonly areDistinct: boolean;
  /** Whether jobs that run stay in the queue's sorted sets. */
  readonly areRunningInSets: boolean;
  /** Two times that differ by no more are as one. */
  readonly exactMs: number;
  /** What an earlier reader noted; null: nothing. */
  readonly notes: string | null;
  /** Called when it is not known how long the head has waited, and was known before. */
  readonly onUnknown: (why: string) => void;
}

/** As long as a step of the history, in which all jobs would be counted. */
const minGapMs = 10_000;

/** How often marks are stored, so that the next reader goes on from them. */
const notesEveryMs = 5_000;

export function createListQueue(options: ListQueueOptions): ListQueue {
  const { queue, keys, areDistinct, areRunningInSets, exactMs, onUnknown } = options;
  const noted = options.notes === null ? null : marksIn(options.notes, keys.lists.length);
  let marks: readonly (ListMarks | null)[] = noted ?? keys.lists.map(() => null);
  let looks: readonly (readonly Look[])[] = keys.lists.map(() => []);
  const counting = createListCounts(Math.max(minGapMs, exactMs));
  /** Of each list whether it was a sorted set when it last had jobs: those are not counted. */
  let areSorted: readonly boolean[] = keys.lists.map(() => false);
  let notedAtMs = Number.NEGATIVE_INFINITY;
  let unknownSinceMs: number | null = null;
  const whyUnknown = areRunningInSets
    ? "too many jobs run before the head"
    : "its jobs cannot be distinguished";

  function notesAt(nowMs: number): { readonly notes?: string } {
    const known = marks.filter((each) => each !== null);
    const isDue = nowMs - notedAtMs >= notesEveryMs || nowMs < notedAtMs;
    if (!isDue || known.length < marks.length) return {};
    notedAtMs = nowMs;
    return { notes: notesOf(known) };
  }

  /** Null: the system does not show it. */
  function inFlightOf(sets: readonly SetReply[]): number | null {
    if (areRunningInSets) return sets.reduce((sum, { running }) => sum + running, 0);
    return laterOf("inFlight", sets);
  }

  /** Null: the system has no such set. */
  function laterOf(before: JobSet["before"], sets: readonly SetReply[]): number | null {
    const isOfKind = (i: number) => keys.sets[i]?.before === before;
    if (!keys.sets.some((_, i) => isOfKind(i))) return null;
    const isUntimed = (i: number) => isOfKind(i) && keys.sets[i]?.waitsAfter === null;
    return totalOf(sets, isOfKind, "later") + totalOf(sets, isUntimed, "due");
  }

  function unknownForMs(readAtMs: number, why: string): number {
    if (unknownSinceMs === null) onUnknown(why);
    unknownSinceMs ??= readAtMs;
    return readAtMs - unknownSinceMs;
  }

  return {
    keys,
    get marks() {
      return marks;
    },
    observe({ lists, sets: read, isPaused, nowMs, readAtMs, uncertaintyMs }) {
      const seen = { queue, paused: isPaused, readAtMs };
      const sets = read.filter((set) => set !== null);
      if (sets.length < read.length || lists.some(({ reading, sorted }) => (reading ?? sorted) === null)) {
        marks = keys.lists.map(() => null);
        unknownForMs(readAtMs, "one of its keys is of another type");
        counting.restart();
        return { ...seen, ...noNumbers, counts: null, uncertaintyMs };
      }
      const before = marks;
      marks = lists.map(({ reading }, i) =>
        reading === null ? null : advanceMarks(marks[i] ?? null, reading, areDistinct),
      );
      areSorted = lists.map(({ reading }, i) => reading === null || (reading.length === 0 && !!areSorted[i]));
      const moves = lists.map(({ reading }, i) => {
        const after = marks[i] ?? null;
        if (reading === null || after === null || areSorted[i]) return null;
        return movesBetween(before[i] ?? null, after, reading, exactMs);
      });
      const counts = counting.add(moves, { nowMs, readAtMs });
      looks = lists.map((list, i) => list.looks ?? looks[i] ?? []);
      const parts = [
        ...marks.map((each, i) => (each === null ? null : listAge(each, looks[i] ?? [], exactMs))),
        ...lists.map(({ sorted }) => (sorted === null ? null : sortedAge(sorted, nowMs))),
        ...sets.map((set, i) => (keys.sets[i]?.waitsAfter ? dueAge(set, nowMs) : null)),
      ];
      const oldest = oldestOf(parts.filter((age) => age !== null));
      const waitingIn = (each: ListMarks | null, i: number) =>
        each === null ? 0 : Math.max(0, each.length - laterCount(each, looks[i] ?? []));
      const inLists = marks.reduce(
        (sum, each, i) => sum + waitingIn(each, i) + (lists[i]?.sorted?.count ?? 0),
        0,
      );
      const numbers = {
        ...seen,
        depth: inLists + totalOf(sets, (i) => keys.sets[i]?.waitsAfter === true, "due"),
        scheduled: laterOf("scheduled", sets),
        inFlight: inFlightOf(sets),
        ...(counts === undefined ? {} : { counts }),
        ...notesAt(nowMs),
      };
      if (oldest?.accuracy === "UNKNOWN") {
        const headAgeMs = unknownForMs(readAtMs, whyUnknown);
        return { ...numbers, headAgeMs, uncertaintyMs, accuracy: "UNKNOWN" };
      }
      unknownSinceMs = null;
      if (oldest === null) return { ...numbers, headAgeMs: null, uncertaintyMs, accuracy: "EXACT" };
      return {
        ...numbers,
        headAgeMs: oldest.ageMs,
        uncertaintyMs: uncertaintyMs + oldest.uncertaintyMs,
        accuracy: oldest.accuracy,
      };
    },
    unstored: counting.restart,
  };
}

function totalOf(
  sets: readonly SetReply[],
  isCounted: (i: number) => boolean,
  part: "due" | "later",
): number {
  return sets.reduce((sum, set, i) => sum + (isCounted(i) ? set[part] : 0), 0);
}

const noNumbers = { headAgeMs: null, depth: null, scheduled: null, accuracy: "UNKNOWN" } as const;
