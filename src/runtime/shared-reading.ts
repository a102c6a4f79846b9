/** One reading for all calls while it is made, and for a while after it. */
export interface SharedReading<T> {
  read(): Promise<T>;
  /** The next call makes a new reading. */
  forget(): void;
}

/** @param holdMs for how long a reading is shared once it is made, in ms; one that failed is not. */
export function createSharedReading<T>(make: () => Promise<T>, holdMs: number): SharedReading<T> {
  let shared: Promise<T> | undefined;
  return {
    read() {
      if (shared !== undefined) return shared;
      const reading = make();
      shared = reading;
      const end = () => {
        if (shared === reading) shared = undefined;
      };
      reading.then(() => setTimeout(end, holdMs).unref(), end);
      return reading;
    },
    forget() {
      shared = undefined;
    },
  };
}
