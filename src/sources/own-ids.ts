import type { Observation } from "../core/observation.ts";

/** Whether the ids of one stream are times of its Redis, as `XADD key *` makes them, or its producers' own. */
export interface OwnIds {
  /** The id that was given last, also when its entry has been deleted; 0-0 before the first. */
  seen(id: string, nowMs: number): void;
  /** For how long the entry has been in the stream. With accuracy UNKNOWN the age is null. */
  ageOf(id: string, nowMs: number): Pick<Observation, "headAgeMs" | "accuracy">;
}

/** September 2001: what is less is no time in ms, but a number of its producer's own. */
const minTimeMs = 1e12;
const none = "0-0";
/** A producer's clock may be ahead, but not so far. */
const maxAheadMs = 60_000;

/**
 * Redis gives an entry the time when it came, or that of the entry before if that is later. So an id from the future is not Redis's,
 * and neither is a new one with a time before the last look, also in a stream that was made again. All times are by that Redis.
 */
export function createOwnIds(): OwnIds {
  let last: { readonly id: string; readonly seenAtMs: number } | null = null;
  let areOwn = false;

  return {
    seen(id, nowMs) {
      const idMs = msOf(id);
      const isNew = last !== null && id !== last.id && id !== none;
      if (idMs > nowMs || (isNew && idMs < (last?.seenAtMs ?? 0))) areOwn = true;
      last = { id, seenAtMs: nowMs };
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
