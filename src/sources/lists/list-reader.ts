import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";
import { monotonicClock } from "../../runtime/clock.ts";
import { namedReply } from "../../runtime/named-reply.ts";
import { createReadOnlyScript } from "../read-only-script.ts";
import { comparedElements, type ListMarks } from "./list-marks.ts";
import type { Hit, ListReading } from "./list-reading.ts";
import type { ListSystem, QueueKeys } from "./list-system.ts";

/** What one reading of a queue returned. */
export interface QueueReading {
  /** In the order of its keys. */
  readonly lists: readonly ListReply[];
  /** Null: the key is no sorted set. */
  readonly sets: readonly (SetReply | null)[];
  readonly isPaused: boolean;
  /** By the clock of the Redis. */
  readonly nowMs: number;
  /** The middle of the round trip that returned it, by {@link monotonicClock}, and half of its length. */
  readonly readAtMs: number;
  readonly uncertaintyMs: number;
}

export interface ListReply {
  /** Null: the key is no list. */
  readonly reading: ListReading | null;
  /** Of a queue whose key is a sorted set. */
  readonly sorted: SortedReply | null;
  /** What its oldest jobs say of themselves, from the head on; null: as at the reading before. */
  readonly looks: readonly Look[] | null;
}

export interface SortedReply {
  readonly count: number;
  /** When the oldest job was pushed, as its producer wrote it; "" where that is not known. */
  readonly since: string;
  /** False: an older one may be there. */
  readonly isOldest: boolean;
}

/** Texts, as the job has them; "" where it has none. */
export interface Look {
  readonly since: string;
  readonly due: string;
  readonly isPutBack: boolean;
}

/** Of a sorted set of jobs, by when they are due. */
export interface SetReply {
  /** Without those that run. */
  readonly due: number;
  readonly later: number;
  /** The smallest score of a job that does not run, in ms; null: there is none, or none among those that were looked at. */
  readonly firstMs: number | null;
  /** Jobs that run and are in the set. */
  readonly running: number;
}

export interface AskedQueue {
  readonly keys: QueueKeys;
  /** Of each list. */
  readonly marks: readonly (ListMarks | null)[];
}

export interface ListReader {
  /** One reading for each queue, in order, by as many round trips as it takes to keep each of them short. */
  read(redis: Redis, queues: readonly AskedQueue[]): Promise<readonly QueueReading[]>;
}

export interface ListReaderOptions {
  readonly system: ListSystem;
  /** As the system was opened. */
  readonly argument: string;
  readonly inProgress?: string | undefined;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

const digestSize = 12;
const queuesPerCall = 25;
const script = readFileSync(new URL("lua/read-lists.lua", import.meta.url), "utf8");

/** As Redis gets it. */
export function scriptFor({ look }: Pick<ListSystem, "look">): string {
  return `local argument, identity, readSorted = ARGV[6]\n${look}\n${script}`;
}

/** By a script that writes nothing, and returns digests of jobs. */
export function createListReader({ system, argument, inProgress = "", now }: ListReaderOptions): ListReader {
  const run = createReadOnlyScript(scriptFor(system));

  async function ask(redis: Redis, queues: readonly AskedQueue[]): Promise<readonly QueueReading[]> {
    const lists = queues.flatMap(({ keys, marks }) => keys.lists.map((_, i) => marks[i] ?? null));
    const { lists: one = [], sets = [], pauses = [] } = queues[0]?.keys ?? {};
    const keys = [
      ...queues.flatMap(({ keys }) => keys.lists),
      ...queues.flatMap(({ keys }) => keys.sets.map(({ key }) => key)),
      ...queues.flatMap(({ keys }) => keys.pauses),
    ];
    const args = [
      ...[now?.() ?? "", system.pushedAt, lists.length, queues.length * sets.length, system.scoreMs],
      ...[
        argument,
        Math.max(1, one.length),
        inProgress,
        ...lists.map((marks) => knownText(marks, system.areDistinct)),
      ],
    ];
    const sentAtMs = monotonicClock.now();
    const reply = namedReply<ScriptReply>(await run(redis, keys, args));
    const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
    const answered = one.length === 0 ? queues.length : Math.floor(reply.lists.length / one.length);
    if (answered === 0) throw new Error("expected a row for each list, got none");
    return queues.slice(0, answered).map((_, i) => ({
      lists: slice(reply.lists, i, one.length).map((row) => listReplyOf(row, Number(reply.now))),
      sets: sets.map((_, j) => setReplyOf(slice(reply.sets, i * sets.length + j, 4), system.scoreMs)),
      isPaused: slice(reply.pauses, i, pauses.length).includes(1),
      nowMs: Number(reply.now),
      readAtMs: sentAtMs + uncertaintyMs,
      uncertaintyMs,
    }));
  }

  return {
    async read(redis, queues) {
      const readings: QueueReading[] = [];
      while (readings.length < queues.length)
        readings.push(...(await ask(redis, queues.slice(readings.length, readings.length + queuesPerCall))));
      return readings;
    },
  };
}

/** What read-lists.lua returns, whose header says what it means. */
interface ScriptReply {
  readonly now: number;
  readonly lists: readonly unknown[];
  readonly sets: readonly (number | string)[];
  readonly pauses: readonly number[];
}

interface ListRow {
  readonly length: number;
  readonly sorted?: readonly [count: number, since: string, isOldest: 0 | 1];
  readonly isSame?: 0 | 1;
  readonly newest?: string;
  readonly newPlace?: number;
  readonly newKnown?: string;
  readonly isWhole?: 0 | 1;
  readonly oldest?: string;
  readonly oldPlace?: number;
  readonly oldKnown?: string;
  readonly samples?: string;
  readonly looks?: readonly string[];
}

function knownText(marks: ListMarks | null, areDistinct: boolean): string {
  if (marks === null) return "0 - - ";
  const [newest, head] = areDistinct && marks.length > 0 ? marks.ends : ["-", "-"];
  const digests = comparedElements(marks).map(({ digest }) => digest);
  return `${marks.length} ${newest} ${head} ${digests.join("")}`;
}

function listReplyOf(reply: unknown, nowMs: number): ListReply {
  const row = namedReply<ListRow>(reply);
  if (row.length < 0) return { reading: null, sorted: sortedReplyOf(row.sorted), looks: [] };
  const reading = {
    nowMs,
    length: row.length,
    isSame: row.isSame === 1,
    newest: digestsOf(row.newest),
    newHit: hitOf(row.newPlace, row.newKnown),
    isWhole: row.isWhole === 1,
    oldest: digestsOf(row.oldest),
    oldHit: hitOf(row.oldPlace, row.oldKnown),
    samples: digestsOf(row.samples),
  };
  return { reading, sorted: null, looks: reading.isSame ? null : looksOf(row.looks ?? []) };
}

function sortedReplyOf(row: ListRow["sorted"]): SortedReply | null {
  if (row === undefined) return null;
  const [count, since, isOldest] = row;
  return { count, since, isOldest: isOldest === 1 };
}

function digestsOf(text = ""): readonly string[] {
  return Array.from({ length: text.length / digestSize }, (_, i) =>
    text.slice(i * digestSize, (i + 1) * digestSize),
  );
}

function hitOf(place: number | undefined, digest: string | undefined): Hit | null {
  return place === undefined || digest === undefined ? null : { place, digest };
}

function looksOf(texts: readonly string[]): readonly Look[] {
  return Array.from({ length: texts.length / 3 }, (_, i) => {
    const [since = "", due = "", isPutBack = ""] = slice(texts, i, 3);
    return { since, due, isPutBack: isPutBack === "1" };
  });
}

function setReplyOf(row: readonly (number | string)[], scoreMs: number): SetReply | null {
  const [due, later, first, running] = row;
  if (Number(due) < 0) return null;
  const firstMs = first === undefined || first === "" ? null : Number(first) * scoreMs;
  return { due: Number(due), later: Number(later), firstMs, running: Number(running) };
}

/** The `i`-th run of `size` items. */
function slice<T>(items: readonly T[], i: number, size: number): readonly T[] {
  return items.slice(i * size, (i + 1) * size);
}
