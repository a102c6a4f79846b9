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
   * Fencing token: larger than that of every earlier hold of this lease by any process. Stored with the work that is
   * done under the lease, it identifies the work of a former holder that has not noticed its loss yet.
   */
  readonly fence: number;
  /** Aborted as soon as this process cannot be sure any more that it has the lease, and when it gives the lease back. */
  readonly ended: AbortSignal;
  /** Asks the clock too: right also before a process that was frozen has noticed it. */
  isHeld(): boolean;
  /**
   * Gives the lease up because work under it was refused: a newer fencing token is stored. As long as this process is the
   * holder all its work would be refused; the next hold that it gets has a larger token. Does nothing when the lease was lost.
   */
  supersede(newerFence: number): void;
  /** Gives it back, so that another process has it at once; does nothing when it was lost. Best effort, never throws. */
  release(): Promise<void>;
}

/** Work under a lease was refused: this process has lost the lease, or work with a newer fencing token was done before. */
export class LeaseLostError extends Error {
  override readonly name = "LeaseLostError";
  /** The fencing token that is stored; null when this process itself knows that it has lost the lease. */
  readonly newerFence: number | null;

  /** @param lease what the lease is for, such as the name of a source. */
  constructor(lease: string, newerFence: number | null = null) {
    const why =
      newerFence === null ? "another process holds it" : `a newer fencing token is stored, ${newerFence}`;
    super(`lost lease "${lease}": ${why}`);
    this.newerFence = newerFence;
  }
}
