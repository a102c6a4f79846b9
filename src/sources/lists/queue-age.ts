import type { Accuracy } from "../../core/snapshot.ts";
import { isTooFarAhead, headAge as timedAge } from "../head-age.ts";
import { jobTimeMs } from "./job-time.ts";
import { headAge, type ListMarks } from "./list-marks.ts";
import type { Look, SetReply, SortedReply } from "./list-reader.ts";

/** How long the oldest job of a queue, or of a part of it, has been claimable. */
export interface JobAge {
  readonly ageMs: number;
  readonly uncertaintyMs: number;
  readonly accuracy: Accuracy;
}

/**
 * By the marks of the list where they say it exactly; else by what the jobs say of themselves, which their producers' clocks wrote, where
 * they do; else as far as the marks say.
 *
 * @param looks what the oldest jobs say, from the head on.
 * @returns null when no job waits.
 */
export function listAge(marks: ListMarks, looks: readonly Look[], exactMs: number): JobAge | null {
  if (marks.length === 0) return null;
  const { atMs } = marks;
  const jobs = looks.map(({ since, due, isPutBack }, place) => ({
    place,
    isPutBack,
    since,
    sinceMs: jobTimeMs(since),
    dueMs: jobTimeMs(due),
  }));
  const claimable = jobs.filter(({ dueMs }) => dueMs === null || dueMs <= atMs);
  const first = claimable[0];
  if (jobs.length > 0 && first === undefined) {
    if (jobs.length >= marks.length) return null;
    // All that were looked at are not due.
    return { ageMs: 0, uncertaintyMs: 0, accuracy: "UNKNOWN" };
  }
  const byMarks = headAge(marks, exactMs, first?.place ?? 0);
  if (byMarks === null) return null;
  const isPutBack = claimable.some((job) => job.isPutBack);
  const dueAgeMs = first?.dueMs == null ? Number.POSITIVE_INFINITY : atMs - first.dueMs;
  const isLower = isPutBack || marks.behind !== null;
  if (byMarks.accuracy === "EXACT" && !isLower) {
    const isDueLater = dueAgeMs < byMarks.ageMs;
    return isDueLater ? { ageMs: dueAgeMs, uncertaintyMs: 0, accuracy: "ESTIMATED" } : byMarks;
  }
  const ages = claimable.flatMap(({ sinceMs, dueMs }) =>
    sinceMs === null ? [] : [atMs - Math.max(sinceMs, dueMs ?? 0)],
  );
  const atLeastMs = byMarks.accuracy === "UNKNOWN" ? 0 : Math.min(byMarks.ageMs, dueAgeMs);
  if (ages.length === 0) {
    const accuracy = byMarks.accuracy === "UNKNOWN" ? "UNKNOWN" : "LOWER_BOUND";
    return { ageMs: atLeastMs, uncertaintyMs: 0, accuracy };
  }
  const ageMs = Math.max(atLeastMs, ...ages);
  const isBound = isLower || isTooFarAhead(ages[0] ?? 0) || isOutOfOrder(claimable);
  const accuracy = isBound ? "LOWER_BOUND" : "ESTIMATED";
  return { ageMs, uncertaintyMs: 0, accuracy };
}

/** Whether a job says that it was enqueued before the one that stands before it, which was put at the head: others may have been, too. */
function isOutOfOrder(jobs: readonly { readonly since: string; readonly sinceMs: number | null }[]): boolean {
  return jobs.some(({ since, sinceMs }, i) => {
    const before = jobs[i - 1];
    if (before?.sinceMs == null || sinceMs === null) return false;
    // The texts have µs.
    return sinceMs < before.sinceMs || (sinceMs === before.sinceMs && isEarlierText(since, before.since));
  });
}

function isEarlierText(one: string, other: string): boolean {
  return one.length === other.length && one < other;
}

/** How many of the jobs that were looked at are not to be taken yet. */
export function laterCount({ atMs }: ListMarks, looks: readonly Look[]): number {
  return looks.filter(({ due }) => (jobTimeMs(due) ?? 0) > atMs).length;
}

/** Of jobs that are due and that no process has moved: by the clock of the process that set the time. Null when there is none. */
export function dueAge({ due, firstMs }: SetReply, nowMs: number): JobAge | null {
  if (due === 0) return null;
  // All that were looked at run.
  if (firstMs === null) return { ageMs: 0, uncertaintyMs: 0, accuracy: "UNKNOWN" };
  return { ageMs: Math.max(0, nowMs - firstMs), uncertaintyMs: 0, accuracy: "ESTIMATED" };
}

/** Of a queue that is a sorted set: by its producer's clock. Null when no job waits. */
export function sortedAge({ count, since, isOldest }: SortedReply, nowMs: number): JobAge | null {
  if (count === 0) return null;
  const sinceMs = jobTimeMs(since);
  if (sinceMs === null) return { ageMs: 0, uncertaintyMs: 0, accuracy: "UNKNOWN" };
  const { headAgeMs, accuracy } = timedAge(nowMs - sinceMs, isOldest ? "ESTIMATED" : "LOWER_BOUND");
  return { ageMs: headAgeMs, uncertaintyMs: 0, accuracy };
}

/** The oldest of the parts of one queue. Where another part may be older, it is a lower bound; where no part's age is known, nor is the queue's. */
export function oldestOf(ages: readonly JobAge[]): JobAge | null {
  const known = ages.filter(({ accuracy }) => accuracy !== "UNKNOWN");
  const [first, ...others] = known;
  if (first === undefined) return ages[0] ?? null;
  const oldest = others.reduce((one, other) => (other.ageMs > one.ageMs ? other : one), first);
  const isLower = known.length < ages.length || known.some(({ accuracy }) => accuracy === "LOWER_BOUND");
  return isLower ? { ...oldest, accuracy: "LOWER_BOUND" } : oldest;
}
