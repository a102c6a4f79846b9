/** Milliseconds of a clock that all processes of a machine share, and that is never set. */
export function sharedClockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** When the watchers of one queue first saw it as deep, or deeper. */
export interface Arrivals {
  /** A watcher got a push or an answer; one without the queue is ignored. */
  observe(watcher: number, text: string): void;
  seenBy(watcher: number): number;
  /** The depth that every one of them has seen. */
  seenByAll(): number;
  /** From now on it is written down when a greater depth is first seen. */
  begin(): void;
  /** For each depth, in ms of the shared clock: when each watcher that saw it did. */
  end(): SeenAt;
}

export type SeenAt = ReadonlyMap<number, readonly number[]>;

export function createArrivals(queue: string, watchers: number): Arrivals {
  // The benchmark selects the depth of a queue some fields after its name.
  const pattern = new RegExp(`"queue":"${queue}"[^}]*?"depth":(\\d+)`);
  const depths = new Array<number>(watchers).fill(0);
  let seenAtMs: Map<number, number[]> | undefined;
  return {
    observe(watcher, text) {
      const depth = Number(pattern.exec(text)?.[1] ?? 0);
      const before = depths[watcher] ?? 0;
      if (depth <= before) return;
      depths[watcher] = depth;
      if (seenAtMs === undefined) return;
      const nowMs = sharedClockMs();
      for (let each = before + 1; each <= depth; each++) {
        const times = seenAtMs.get(each) ?? [];
        times.push(nowMs);
        seenAtMs.set(each, times);
      }
    },
    seenBy: (watcher) => depths[watcher] ?? 0,
    seenByAll: () => Math.min(...depths),
    begin() {
      seenAtMs = new Map();
    },
    end() {
      const seen = seenAtMs ?? new Map<number, number[]>();
      seenAtMs = undefined;
      return seen;
    },
  };
}
