/** A part with a life of its own. The app starts its parts in order and stops them in reverse. */
export interface Service {
  start(): Promise<void>;
  /** Ends what it started; resolves when nothing of it is left running. May be called again, and after a failed start. */
  stop(): Promise<void>;
}
