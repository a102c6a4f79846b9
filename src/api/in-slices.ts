import { monotonicClock } from "../core/clock.ts";

/** For how long, in ms, lists are written before the event loop turns. */
const sliceMs = 5;
/** Lists up to this length are written at once. */
const shortLength = 100;

/** Lists whose next element waits for a slice of its own, in order. */
const waiting: (() => void)[] = [];
let sliceEndsAtMs = 0;

/**
 * Hands a long list to graphql in slices, between which the event loop turns: thousands of elements take longer to write than
 * other requests should wait. All lists that are written at the same time share the slices, in turns.
 */
export function inSlices<T>(items: readonly T[]): readonly T[] {
  // Pothos does not know that graphql takes any iterable for a list, and promises in it.
  return items.length <= shortLength ? items : ({ [Symbol.iterator]: () => sliced(items) } as never);
}

/** What does not fit into the current slice follows as promises. */
function* sliced<T>(items: readonly T[]): Generator<T | Promise<T>> {
  let written = 0;
  // graphql writes each element before it takes the next one.
  while (written < items.length && isInSlice()) yield items[written++] as T;
  const rest = items.slice(written).map((item) => ({ item, ...Promise.withResolvers<T>() }));
  void release(rest);
  for (const { promise } of rest) yield promise;
}

async function release<T>(rest: readonly { readonly item: T; resolve(item: T): void }[]): Promise<void> {
  for (const { item, resolve } of rest) {
    if (!isInSlice()) await nextSlice();
    resolve(item);
    // It is written before this goes on.
    await undefined;
  }
}

function isInSlice(): boolean {
  const nowMs = monotonicClock.now();
  if (nowMs < sliceEndsAtMs) return true;
  // When nothing was written lately, the first slice begins at once.
  if (waiting.length > 0 || nowMs < sliceEndsAtMs + sliceMs) return false;
  sliceEndsAtMs = nowMs + sliceMs;
  return true;
}

function nextSlice(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(beginSlice);
  });
}

function beginSlice(): void {
  sliceEndsAtMs = monotonicClock.now() + sliceMs;
  waiting.shift()?.();
  if (waiting.length > 0) setImmediate(beginSlice);
}
