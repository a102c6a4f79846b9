const maxEntries = 1_000;
const maxKeyCharacters = 4_000;
const maxCharacters = 500_000;

export interface TextKeyedCache<T> {
  get(key: string): T | undefined;
  set(key: string, value: T): void;
}

/**
 * Keeps what was made of the texts that were used last, such as parsed documents, which take some 50 times their source: 25 MB at most.
 * Long texts are rarely used twice, and are not kept.
 */
export function createTextKeyedCache<T>(): TextKeyedCache<T> {
  /** The one used last is the last. */
  const kept = new Map<string, T>();
  let characters = 0;

  function remove(key: string): void {
    if (kept.delete(key)) characters -= key.length;
  }

  return {
    get(key) {
      const value = kept.get(key);
      if (value === undefined) return undefined;
      kept.delete(key);
      kept.set(key, value);
      return value;
    },
    set(key, value) {
      if (key.length > maxKeyCharacters) return;
      remove(key);
      kept.set(key, value);
      characters += key.length;
      for (const oldest of kept.keys()) {
        if (kept.size <= maxEntries && characters <= maxCharacters) return;
        remove(oldest);
      }
    },
  };
}
