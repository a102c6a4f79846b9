/** A right that one process at a time has, such as to read one job system. */
export interface Lease {
  /**
   * Waits until this process has it, for as long as that takes; a Redis that is away only makes it take longer.
   *
   * @throws the signal's reason, and nothing else, once the signal is aborted.
   */
  acquire(signal: AbortSignal): Promise<Hold>;
}

/** One stretch of time for which a lease was had. */
export interface Hold {
  /**
   * Fencing token: larger than that of every earlier hold of this lease, whoever had it. Written down with what is done
   * under the lease, it tells the work of a former holder that has not noticed yet.
   */
  readonly fence: number;
  /** Aborted as soon as this process cannot be sure any more that it has the lease, and when it gives the lease back. */
  readonly ended: AbortSignal;
  /** Asks the clock too: right also before a process that was frozen has heard of anything. */
  isHeld(): boolean;
  /** Gives it back, so that another process has it at once; does nothing when it was lost. Best effort, never throws. */
  release(): Promise<void>;
}

/** What is told under a lease was refused: this process has lost it, or somebody with a later one was here before. */
export class LeaseLostError extends Error {
  constructor(what: string, options: { readonly cause?: unknown } = {}) {
    super(`${what} is read by another process now`, options);
    this.name = "LeaseLostError";
  }
}
