const maxDocuments = 1_000;
const maxDocumentCharacters = 4_000;
/** Of all documents together: parsed, they take some 25 MB. */
const maxCharacters = 500_000;

/**
 * Keeps what was made of the documents that were used last, by their source. Yoga's own cache keeps 1024 of any length, and a parsed
 * document takes some 50 times its source: one client with another document in each request would fill the memory. Long documents
 * are rarely sent twice, and are not kept.
 */
export function createDocumentCache<T>(): {
  get(source: string): T | undefined;
  set(source: string, value: T): void;
} {
  /** The one used last is the last. */
  const kept = new Map<string, T>();
  let characters = 0;

  function remove(source: string): void {
    if (kept.delete(source)) characters -= source.length;
  }

  return {
    get(source) {
      const value = kept.get(source);
      if (value === undefined) return undefined;
      kept.delete(source);
      kept.set(source, value);
      return value;
    },
    set(source, value) {
      if (source.length > maxDocumentCharacters) return;
      remove(source);
      kept.set(source, value);
      characters += source.length;
      for (const oldest of kept.keys()) {
        if (kept.size <= maxDocuments && characters <= maxCharacters) return;
        remove(oldest);
      }
    },
  };
}
