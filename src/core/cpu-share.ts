/** How work of one client takes its turns with that of others, where it goes on after the request was begun. */
export interface CpuShare {
  /** Whose share it is. */
  readonly client: string;
  /** Begins work at once, or, when the client has used its share of the CPU, in a later tick of the event loop. */
  begin<T>(work: () => T | Promise<T>): Promise<T>;
}
