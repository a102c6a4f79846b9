/** Bounds how many of something one client has at a time. */
export interface Places {
  /**
   * Takes a place.
   *
   * @returns a function that gives it back, once, however often it is called; null: the client has all it may have.
   */
  take(client: string): (() => void) | null;
}

export function createPlaces(max: number): Places {
  const taken = new Map<string, number>();
  return {
    take(client) {
      const count = taken.get(client) ?? 0;
      if (count >= max) return null;
      taken.set(client, count + 1);
      let isTaken = true;
      return () => {
        if (!isTaken) return;
        isTaken = false;
        const left = (taken.get(client) ?? 0) - 1;
        if (left > 0) taken.set(client, left);
        else taken.delete(client);
      };
    },
  };
}
