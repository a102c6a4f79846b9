/** In-flight deduplication: requests that ask the same in one tick of the event loop share one execution. */
export interface RequestDeduplication<Result> {
  /**
   * Runs, or joins a run of the same key for the same scopes that began in this tick. What such a run reads, it reads after each
   * request that joins has arrived.
   */
  run(key: string, scopes: string, begin: () => Promise<Result>): Promise<Result>;
}

/**
 * Of one tick. A map that is cleared and filled again keeps what it held: V8 links its old table, with its entries, to the new one,
 * so that all of them become old garbage, and each collection of the young generation copies what they hold.
 */
type Runs<Result> = Map<string, Map<string, Promise<Result>>>;

export function createRequestDeduplication<Result>(): RequestDeduplication<Result> {
  let runs: Runs<Result> = new Map();
  return {
    run(key, scopes, begin) {
      // Before the run begins, so that it is closed before anything that the run defers to the end of the tick.
      if (runs.size === 0) setImmediate(() => (runs = new Map()));
      const ofKey = runs.get(key) ?? new Map<string, Promise<Result>>();
      runs.set(key, ofKey);
      const known = ofKey.get(scopes);
      if (known !== undefined) return known;
      const begun = begin();
      ofKey.set(scopes, begun);
      return begun;
    },
  };
}
