/** In-flight deduplication: requests that ask the same in one tick of the event loop share one execution. */
export interface RequestDeduplication<Subject extends object, Result> {
  /**
   * Runs, or joins a run of the same subject and key that began in this tick. What such a run reads, it reads after each
   * request that joins has arrived.
   */
  run(subject: Subject, key: string, begin: () => Promise<Result>): Promise<Result>;
}

/**
 * Of one tick. A map that is cleared and filled again keeps what it held: V8 links its old table, with its entries, to the new one,
 * so that all of them become old garbage, and each collection of the young generation copies what they hold.
 */
type Runs<Subject, Result> = Map<Subject, Map<string, Promise<Result>>>;

export function createRequestDeduplication<Subject extends object, Result>(): RequestDeduplication<
  Subject,
  Result
> {
  let runs: Runs<Subject, Result> = new Map();
  return {
    run(subject, key, begin) {
      // Before the run begins, so that it is closed before anything that the run defers to the end of the tick.
      if (runs.size === 0) setImmediate(() => (runs = new Map()));
      const ofSubject = runs.get(subject) ?? new Map<string, Promise<Result>>();
      runs.set(subject, ofSubject);
      const known = ofSubject.get(key);
      if (known !== undefined) return known;
      const begun = begin();
      ofSubject.set(key, begun);
      return begun;
    },
  };
}
