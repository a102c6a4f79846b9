const maxEntries = 1_000;
const maxKeyCharacters = 4_000;

export interface TextKeyedCacheOptions<T> {
  /** Of all keys and values. @default 500_000 */
  readonly maxCharacters?: number;
  /** Characters of a value, beside its key. @default none: only those of keys count */
  readonly sizeOf?: (value: T, key: string) => number;
}

export interface TextKeyedCache<T> {
  get(key: string): T | undefined;
  set(key: string, value: T): void;
}

/**
 * Keeps what was made of the texts that were used last, such as parsed documents, which take some 50 times their source: 25 MB at most.
 * Long texts are rarely used twice, and are not kept.
 */
export function createTextKeyedCache<T>({
  maxCharacters = 500_000,
  sizeOf = () => 0,
}: TextKeyedCacheOptions<T> = {}): TextKeyedCache<T> {
  interface Entry {
    readonly value: T;
    /** How many had been put last by then. */
    readonly place: number;
  }
  /** Those used last are in the later half. */
  const kept = new Map<string, Entry>();
  let characters = 0;
  let lastPlace = 0;

  function putLast(key: string, value: T): void {
    kept.set(key, { value, place: ++lastPlace });
  }

  function remove(key: string): void {
    const entry = kept.get(key);
    if (entry !== undefined && kept.delete(key)) characters -= key.length + sizeOf(entry.value, key);
  }

  return {
    get(key) {
      const entry = kept.get(key);
      if (entry === undefined) return undefined;
      // To move an entry takes several times as long as to find it.
      if (lastPlace - entry.place > kept.size / 2) {
        kept.delete(key);
        putLast(key, entry.value);
      }
      return entry.value;
    },
    set(key, value) {
      if (key.length > maxKeyCharacters) return;
      remove(key);
      const size = key.length + sizeOf(value, key);
      // It would drop many others.
      if (size > maxCharacters / 10) return;
      putLast(key, value);
      characters += size;
      for (const oldest of kept.keys()) {
        if (kept.size <= maxEntries && characters <= maxCharacters) return;
        remove(oldest);
      }
    },
  };
}
