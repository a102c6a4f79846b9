import { type AlertRule, ruleMatches } from "./rules.ts";
import type { Sights, WatchedQueue } from "./sights.ts";

const namesPerPage = 1_000;
/** For how many rounds a list of all names does. */
const roundsPerList = 5;

/** Knows which queues there are that a rule matches; a new one is found within five rounds. */
export function createWatchedQueues(list: Sights["list"]) {
  let known: readonly WatchedQueue[] = [];
  let listedFor: readonly AlertRule[] | null = null;
  let age = 0;

  function matched(queue: string, rules: readonly AlertRule[]): WatchedQueue {
    return { queue, rules: rules.filter((rule) => ruleMatches(rule, queue)) };
  }

  async function listAll(rules: readonly AlertRule[]): Promise<readonly WatchedQueue[]> {
    const found: WatchedQueue[] = [];
    for (let after: string | null = null; ; ) {
      const names = await list({ after, limit: namesPerPage });
      for (const queue of names) {
        const each = matched(queue, rules);
        if (each.rules.length > 0) found.push(each);
      }
      after = names.at(-1) ?? null;
      if (names.length < namesPerPage) return found;
    }
  }

  return {
    /** @param also queues that are looked at whether they are listed or not: that they are gone is news. */
    async of(rules: readonly AlertRule[], also: readonly string[]): Promise<readonly WatchedQueue[]> {
      if (rules !== listedFor || age >= roundsPerList) {
        known = await listAll(rules);
        listedFor = rules;
        age = 0;
      }
      age += 1;
      const listed = new Set(known.map(({ queue }) => queue));
      const others = [...new Set(also)].filter((queue) => !listed.has(queue));
      return [...known, ...others.map((queue) => matched(queue, rules))];
    },
  };
}
