import { type AlertRule, createRuleMatcher } from "../core/alert-rules.ts";
import type { QueueReader, WatchedQueue } from "./queue-observations.ts";

const namesPerPage = 1_000;
/** How many rounds use one list of names. */
const roundsPerList = 5;

/** Knows the queues that a rule matches; a new one is found within five rounds. */
export function createWatchedQueues(list: QueueReader["list"]) {
  let known: readonly WatchedQueue[] = [];
  let listedFor: readonly AlertRule[] | null = null;
  let rulesOf = createRuleMatcher([]);
  let roundsSinceList = 0;

  async function listAll(): Promise<readonly WatchedQueue[]> {
    const found: WatchedQueue[] = [];
    for (let after: string | null = null; ; ) {
      const names = await list({ after, limit: namesPerPage });
      for (const queue of names) {
        const matching = rulesOf(queue);
        if (matching.length > 0) found.push({ queue, rules: matching, isListed: true });
      }
      after = names.at(-1) ?? null;
      if (names.length < namesPerPage) return found;
    }
  }

  return {
    /** @param also queues that are watched whether they are listed or not: one that is missing resolves its alerts. */
    async of(rules: readonly AlertRule[], also: ReadonlySet<string>): Promise<readonly WatchedQueue[]> {
      if (rules !== listedFor || roundsSinceList >= roundsPerList) {
        rulesOf = createRuleMatcher(rules);
        known = await listAll();
        listedFor = rules;
        roundsSinceList = 0;
      }
      roundsSinceList += 1;
      const others = also.difference(new Set(known.map(({ queue }) => queue)));
      return [...known, ...[...others].map((queue) => ({ queue, rules: rulesOf(queue) }))];
    },
  };
}
