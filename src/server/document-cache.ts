const mostKept = 1_000;
const longestKept = 4_000;

/**
 * Keeps what was made of the documents that were asked for last, by their source. Yoga's own cache keeps 1024 of any length: a
 * parsed document takes some 50 times its source, so whoever writes events as literals would fill the memory. Long documents
 * are rarely asked for twice, and are not kept; the short ones take 200 MB at worst.
 */
export function createDocumentCache<T>(): {
  get(source: string): T | undefined;
  set(source: string, value: T): void;
} {
  const kept = new Map<string, T>();
  return {
    get(source) {
      const value = kept.get(source);
      if (value === undefined) return undefined;
      // The newest stand last.
      kept.delete(source);
      kept.set(source, value);
      return value;
    },
    set(source, value) {
      if (source.length > longestKept) return;
      kept.set(source, value);
      const [oldest] = kept.keys();
      if (kept.size > mostKept && oldest !== undefined) kept.delete(oldest);
    },
  };
}
