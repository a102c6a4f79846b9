import type { QueueReader, WatchedQueue } from "./queue-observations.ts";
import { type AlertRule, createRuleMatcher } from "./rules.ts";

const namesPerPage = 1_000;
/** How many rounds use one list of names. */
const roundsPerList = 5;

/** Knows the queues that a rule matches; a new one is found within five rounds. */
export function createWatchedQueues(list: QueueReader["list"]) {
  let known: readonly WatchedQueue[] = [];
  let listedFor: readonly AlertRule[] | null = null;
  let rulesOf = createRuleMatcher([]);
  let roundsSinceList = 0;
  let lists = 0;
  /** In which list a queue was first. */
  let firstListed = new Map<string, number>();

  async function listAll(also: ReadonlySet<string>): Promise<readonly WatchedQueue[]> {
    const found: WatchedQueue[] = [];
    const firstListedNow = new Map<string, number>();
    lists += 1;
    for (let after: string | null = null; ; ) {
      const names = await list({ after, limit: namesPerPage });
      for (const queue of names) {
        const matching = rulesOf(queue);
        if (matching.length === 0) continue;
        found.push({ queue, rules: matching });
        // Of those that were there when this process began, the ones with an alert count as younger.
        const first = lists === 1 && !also.has(queue) ? 0 : lists;
        firstListedNow.set(queue, firstListed.get(queue) ?? first);
      }
      after = names.at(-1) ?? null;
      if (names.length < namesPerPage) break;
    }
    firstListed = firstListedNow;
    return found;
  }

  return {
    /** @param also queues that are watched whether they are listed or not: one that is missing resolves its alerts. */
    async of(rules: readonly AlertRule[], also: ReadonlySet<string>): Promise<readonly WatchedQueue[]> {
      if (rules !== listedFor || roundsSinceList >= roundsPerList) {
        rulesOf = createRuleMatcher(rules);
        known = await listAll(also);
        listedFor = rules;
        roundsSinceList = 0;
      }
      roundsSinceList += 1;
      const others = also.difference(new Set(known.map(({ queue }) => queue)));
      return [...known, ...[...others].map((queue) => ({ queue, rules: rulesOf(queue) }))];
    },
    /** A larger number is a younger queue, as far as this process has seen: lists in which it was first. */
    youthOf: (queue: string | null): number => (queue === null ? 0 : (firstListed.get(queue) ?? lists)),
  };
}

export type WatchedQueues = ReturnType<typeof createWatchedQueues>;
