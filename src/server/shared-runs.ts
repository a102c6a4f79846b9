/** Runs that others may join. */
export interface SharedRuns<T> {
  /**
   * Runs, or joins a run of the same key that was begun in this tick of the event loop: what that reads is read after everybody
   * who joins it has asked, as if each had read it.
   */
  run(key: string, begin: () => Promise<T>): Promise<T>;
}

export function createSharedRuns<T>(): SharedRuns<T> {
  const runs = new Map<string, Promise<T>>();
  return {
    run(key, begin) {
      const known = runs.get(key);
      if (known !== undefined) return known;
      // Before the run begins, so that it is over before what the run itself puts off to the end of the tick.
      if (runs.size === 0) setImmediate(() => runs.clear());
      const begun = begin();
      runs.set(key, begun);
      return begun;
    },
  };
}
