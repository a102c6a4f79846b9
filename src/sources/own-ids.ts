import type { Observation } from "../core/observation.ts";

/** Whether the ids of one stream are times of its Redis, as `XADD key *` makes them, or its producers' own. */
export interface OwnIds {
  /** What the newest entry was; "" when there was none. */
  seen(newest: string, nowMs: number): void;
  /** For how long the entry has been in the stream. With accuracy UNKNOWN the age is null. */
  ageOf(id: string, nowMs: number): Pick<Observation, "headAgeMs" | "accuracy">;
}

/** September 2001: what is less is no time in ms, but a number of its producer's own. */
const minTimeMs = 1e12;
/** A producer's clock may be ahead, but not so far. */
const maxAheadMs = 60_000;

/**
 * Redis gives an entry the time when it came, or that of the entry before if that is later. So an id from the future is not Redis's,
 * and neither is a new one with a time of its own that is before the last look. All times are by that Redis.
 */
export function createOwnIds(): OwnIds {
  let last: { readonly idMs: number; readonly seenAtMs: number } | null = null;
  let areOwn = false;

  return {
    seen(newest, nowMs) {
      if (newest === "") return;
      const idMs = msOf(newest);
      if (idMs > nowMs || (last !== null && idMs > last.idMs && idMs < last.seenAtMs)) areOwn = true;
      last = { idMs, seenAtMs: nowMs };
    },
    ageOf(id, nowMs) {
      const idMs = msOf(id);
      if (idMs < minTimeMs || idMs > nowMs + maxAheadMs) return { headAgeMs: null, accuracy: "UNKNOWN" };
      return { headAgeMs: Math.max(0, nowMs - idMs), accuracy: areOwn ? "ESTIMATED" : "EXACT" };
    },
  };
}

function msOf(id: string): number {
  return Number(id.split("-")[0]);
}
