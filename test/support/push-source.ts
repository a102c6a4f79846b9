import type { PushSource } from "../../src/core/push-source.ts";

/** A source whose pushes come from the test. Each is a list of names; what a member has missed is the names of all that it missed. */
export function createTestSource(minIntervalMs = 0) {
  const done = { done: true, value: undefined } as const;
  const waiting: unknown[] = [];
  const taken: unknown[] = [];
  let pending: PromiseWithResolvers<IteratorResult<unknown, undefined>> | undefined;
  let failure: Error | null = null;
  let isEnded = false;
  let joins = 0;

  function take(): void {
    if (pending === undefined || (waiting.length === 0 && !isEnded)) return;
    const { resolve } = pending;
    pending = undefined;
    if (waiting.length === 0) {
      resolve(done);
      return;
    }
    const value = waiting.shift();
    taken.push(value);
    resolve({ done: false, value });
  }

  const source: PushSource<unknown> = {
    minIntervalMs,
    async join() {
      joins += 1;
      if (failure !== null) throw failure;
      return { pushes: [[...new Set(taken.flat())]], number: taken.length };
    },
    since: async (number) => ({
      push: taken.length > number ? [...new Set(taken.slice(number).flat())] : null,
      number: taken.length,
    }),
    next() {
      pending = Promise.withResolvers();
      const { promise } = pending;
      take();
      return promise;
    },
    async return() {
      isEnded = true;
      take();
      return done;
    },
    [Symbol.asyncIterator]: () => source,
  };
  return {
    source,
    joins: () => joins,
    isEnded: () => isEnded,
    push(pushed: unknown) {
      waiting.push(pushed);
      take();
    },
    /** Members that join are refused from now on. */
    fail(error: Error) {
      failure = error;
    },
    /** The source is over, or fails. */
    end(error?: Error) {
      isEnded = true;
      if (error === undefined) take();
      else pending?.reject(error);
    },
  };
}

/** Everything has been done that waits for nothing but its turn. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}
