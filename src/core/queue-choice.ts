/** The queues that get one of a bounded number of places. */
export interface QueueChoice {
  /** In the order of their bytes. */
  readonly names: readonly string[];
  /** How many queues there are. */
  readonly known: number;
}
