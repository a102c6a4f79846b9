import { createGlob } from "../core/glob.ts";
import type { QueueFilter } from "../core/queue-page.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";

/** What a page's filter lets pass, but for source and health, which have counts of their own. */
export function createQueueFilter({
  prefix,
  search,
  states,
}: QueueFilter): (snapshot: QueueSnapshot) => boolean {
  const matches = search === null ? null : searchMatcher(search);
  const wanted = new Set(states);
  return (snapshot) =>
    (states === null || wanted.has(snapshot.state)) &&
    (prefix === null || snapshot.queue.startsWith(prefix)) &&
    (matches === null || matches(snapshot.queue));
}

export function isUnfiltered({ prefix, search, source, states, healths }: QueueFilter): boolean {
  return [prefix, search, source, states, healths].every((each) => each === null);
}

function searchMatcher(search: string): (name: string) => boolean {
  return /[*?]/.test(search) ? createGlob(search) : (name) => name.includes(search);
}
