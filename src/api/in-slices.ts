import { createTimeSlices } from "../runtime/time-slices.ts";

/** 5 ms each; all lists that are written at the same time share them. */
const slices = createTimeSlices(5);
/** Lists up to this length are written at once. */
const shortLength = 100;

/**
 * Hands a long list to graphql in slices, between which the event loop turns: thousands of elements take longer to write than
 * other requests should wait.
 */
export function inSlices<T>(items: readonly T[]): readonly T[] {
  // Pothos does not know that graphql takes any iterable for a list, and promises in it.
  return items.length <= shortLength ? items : ({ [Symbol.iterator]: () => sliced(items) } as never);
}

/** What does not fit into the current slice follows as promises. */
function* sliced<T>(items: readonly T[]): Generator<T | Promise<T>> {
  let written = 0;
  // graphql writes each element before it takes the next one.
  while (written < items.length && slices.has()) yield items[written++] as T;
  const rest = items.slice(written).map((item) => ({ item, ...Promise.withResolvers<T>() }));
  void release(rest);
  for (const { promise } of rest) yield promise;
}

async function release<T>(rest: readonly { readonly item: T; resolve(item: T): void }[]): Promise<void> {
  for (const { item, resolve } of rest) {
    if (!slices.has()) await slices.next();
    resolve(item);
    // It is written before this goes on.
    await undefined;
  }
}
