/** Where the time comes from. Rules take it as an argument; nothing in them reads the machine's clock. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
}

/**
 * This process's own clock: it starts at the machine's time and then only goes forward at an even pace, whatever is done
 * to the machine's clock. Good for measuring how long ago something was; never for saying when it was in Redis's time.
 */
export const processClock: Clock = {
  now: () => performance.timeOrigin + performance.now(),
};
