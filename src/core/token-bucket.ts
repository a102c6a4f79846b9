/** How many points a client may use: `max` at once, and `max` in each `windowMs` after that, refilled continuously. */
export interface Rate {
  readonly max: number;
  readonly windowMs: number;
}

/** A token bucket at one instant. What is missing is kept rather than what is there, so a new client needs no bucket. */
export interface Bucket {
  /** Points that are missing from a full bucket. */
  readonly used: number;
  readonly atMs: number;
}

export const fullBucket: Bucket = { used: 0, atMs: 0 };

/** Far below one point: a client that waits exactly `retryAfterSeconds` must not fail by a rounding error. */
const roundingError = 1e-6;

/** The bucket at a later instant. A clock that steps back neither refills nor drains it. */
export function refilled({ used, atMs }: Bucket, { max, windowMs }: Rate, nowMs: number): Bucket {
  const restored = (Math.max(0, nowMs - atMs) * max) / windowMs;
  return { used: Math.max(0, used - restored), atMs: nowMs };
}

export function fits({ used }: Bucket, { max }: Rate, points: number): boolean {
  return points === 0 || used + points <= max + roundingError;
}

/** Whole points that the bucket holds. */
export function availableIn({ used }: Bucket, { max }: Rate): number {
  return Math.max(0, Math.floor(max - used + roundingError));
}

/** How long it takes until this number of points fits; 0 when it does. */
export function waitMs({ used }: Bucket, { max, windowMs }: Rate, points: number): number {
  return (Math.max(0, used + points - max) * windowMs) / max;
}
