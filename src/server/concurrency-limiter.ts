/** Bounds how many of something each client has at a time. */
export interface ConcurrencyLimiter {
  /** @returns a function that releases what was acquired, once, however often it is called; null when the client is at the limit. */
  acquire(client: string): (() => void) | null;
  /** How many the client has. */
  count(client: string): number;
}

export function createConcurrencyLimiter(max: number): ConcurrencyLimiter {
  const counts = new Map<string, number>();
  return {
    count: (client) => counts.get(client) ?? 0,
    acquire(client) {
      const count = counts.get(client) ?? 0;
      if (count >= max) return null;
      counts.set(client, count + 1);
      let isReleased = false;
      return () => {
        if (isReleased) return;
        isReleased = true;
        const left = (counts.get(client) ?? 0) - 1;
        if (left > 0) counts.set(client, left);
        else counts.delete(client);
      };
    },
  };
}
