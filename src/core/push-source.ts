/**
 * What the members of a group of identical subscriptions are pushed. `next` takes the next push for all of them; pushes are numbered
 * from 1 on, in the order in which they are taken.
 */
export interface PushSource<Push> extends AsyncIterableIterator<Push, undefined> {
  /** Two pushes to one member are at least this far apart, in ms. */
  readonly minIntervalMs: number;
  /** What a member begins with that joins later than others: the state, read anew. @throws AppError SERVICE_UNAVAILABLE. */
  join(): Promise<Joined<Push>>;
  /**
   * For a member that did not get every push: what it has not seen, as it is now. That is one push, or the first of several. Never
   * rejects.
   *
   * @param number of the last push that the member has seen.
   */
  since(number: number): Promise<Newer<Push>>;
  /** Ends the source: a pending `next` is resolved with `done`. */
  return(): Promise<IteratorResult<Push, undefined>>;
}

export interface Joined<Push> {
  readonly pushes: readonly Push[];
  /** Of the last push that the member has seen with these. */
  readonly number: number;
}

export interface Newer<Push> {
  /** Null when the member has seen everything. */
  readonly push: Push | null;
  /** Of the last push that the member has seen once it has this one. */
  readonly number: number;
}
