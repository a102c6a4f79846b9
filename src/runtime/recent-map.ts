import { type MonotonicClock, monotonicClock } from "./clock.ts";

/** A map that forgets what was set long ago. */
export interface RecentMap<Key, Value> {
  get(key: Key): Value | undefined;
  set(key: Key, value: Value): void;
  delete(key: Key): void;
  clear(): void;
  /** The one that was set longest ago first. */
  keys(): Iterable<Key>;
}

export interface RecentMapOptions {
  /** Of more entries, those that were set longest ago are dropped. @default any number */
  readonly maxSize?: number;
  /** How long an entry is kept after it was set, in ms. @default for ever */
  readonly maxAgeMs?: number;
  readonly clock?: MonotonicClock;
}

export function createRecentMap<Key, Value>(options: RecentMapOptions): RecentMap<Key, Value> {
  const {
    maxSize = Number.POSITIVE_INFINITY,
    maxAgeMs = Number.POSITIVE_INFINITY,
    clock = monotonicClock,
  } = options;
  interface Entry {
    readonly value: Value;
    readonly setAtMs: number;
  }
  /** The one that was set last is the last. */
  const entries = new Map<Key, Entry>();

  const isOld = ({ setAtMs }: Entry, nowMs: number) => nowMs >= setAtMs + maxAgeMs;

  function dropOld(nowMs: number): void {
    for (const [key, entry] of entries) {
      if (entries.size <= maxSize && !isOld(entry, nowMs)) return;
      entries.delete(key);
    }
  }

  return {
    get(key) {
      const entry = entries.get(key);
      return entry === undefined || isOld(entry, clock.now()) ? undefined : entry.value;
    },
    set(key, value) {
      const nowMs = clock.now();
      entries.delete(key);
      entries.set(key, { value, setAtMs: nowMs });
      dropOld(nowMs);
    },
    delete: (key) => void entries.delete(key),
    clear: () => entries.clear(),
    keys() {
      dropOld(clock.now());
      return entries.keys();
    },
  };
}
