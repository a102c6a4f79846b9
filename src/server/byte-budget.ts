/** Bounds how many bytes each client has in flight: bodies and messages that are read, and responses that it has not read. */
export interface ByteBudget {
  readonly max: number;
  /** @returns a function that releases the bytes, once, however often it is called; null when the client would exceed its budget. */
  reserve(client: string, bytes: number): (() => void) | null;
}

/** A client that has nothing in flight may exceed the budget by one thing: else what is larger than that would never pass. */
export function createByteBudget(max: number): ByteBudget {
  const inFlight = new Map<string, number>();
  return {
    max,
    reserve(client, bytes) {
      const before = inFlight.get(client) ?? 0;
      if (before > 0 && before + bytes > max) return null;
      inFlight.set(client, before + bytes);
      let isReleased = false;
      return () => {
        if (isReleased) return;
        isReleased = true;
        const left = (inFlight.get(client) ?? 0) - bytes;
        if (left > 0) inFlight.set(client, left);
        else inFlight.delete(client);
      };
    },
  };
}

/** Bytes of one thing whose size is not known before it has come: they are reserved as they come, and released together. */
export interface GrowingReservation {
  /** @returns false when the client would exceed its budget. */
  growTo(bytes: number): boolean;
  release(): void;
}

export function createGrowingReservation(budget: ByteBudget, client: string): GrowingReservation {
  let reserved = 0;
  let releases: (() => void)[] = [];
  return {
    growTo(bytes) {
      if (bytes <= reserved) return true;
      // In steps that double, since it comes in small ones.
      const step = Math.max(bytes - reserved, reserved);
      const release = budget.reserve(client, step);
      if (release === null) return false;
      releases.push(release);
      reserved += step;
      return true;
    },
    release() {
      for (const release of releases) release();
      releases = [];
      reserved = 0;
    },
  };
}
