/** Bounds how many of something each client has at a time. */
export interface ConcurrencyLimiter {
  /** @returns null when the client is at the limit. */
  acquire(client: string): Slot | null;
  /** How many the client has. */
  count(client: string): number;
}

/** One of the things that are counted. */
export interface Slot {
  /** Whose it is. */
  readonly client: string;
  /** Counts it as this client's from now on. @returns false when that client is at the limit, or the slot is released. */
  moveTo(client: string): boolean;
  /** Releases it, once, however often it is called. */
  release(): void;
}

export function createConcurrencyLimiter(max: number): ConcurrencyLimiter {
  const counts = new Map<string, number>();

  function count(client: string): number {
    return counts.get(client) ?? 0;
  }

  function add(client: string, change: 1 | -1): void {
    const changed = count(client) + change;
    if (changed > 0) counts.set(client, changed);
    else counts.delete(client);
  }

  class CountedSlot implements Slot {
    client: string;
    #isReleased = false;

    constructor(client: string) {
      this.client = client;
      add(client, 1);
    }

    moveTo(client: string): boolean {
      if (client === this.client) return true;
      if (this.#isReleased || count(client) >= max) return false;
      add(client, 1);
      add(this.client, -1);
      this.client = client;
      return true;
    }

    release(): void {
      if (!this.#isReleased) add(this.client, -1);
      this.#isReleased = true;
    }
  }

  return { count, acquire: (client) => (count(client) < max ? new CountedSlot(client) : null) };
}
