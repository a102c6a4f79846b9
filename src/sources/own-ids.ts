import type { Observation } from "../core/observation.ts";
import { headAge } from "./head-age.ts";

/** Whether the ids of one stream are times of its Redis, as `XADD key *` makes them, or its producers' own. */
export interface OwnIds {
  /** The id that was given last, also when its entry has been deleted; 0-0 before the first. */
  seen(id: string, nowMs: number): void;
  /** For how long the entry has been in the stream. With accuracy UNKNOWN the age is null. */
  ageOf(id: string, nowMs: number): Pick<Observation, "headAgeMs" | "accuracy">;
}

/** September 2001 to the year 5138: what is less or more is no time in ms, but a number of its producer's own. */
const [minTimeMs, maxTimeMs] = [1e12, 1e14];
const none = "0-0";

/**
 * Redis gives an entry the time when it came, or that of the entry before if that is later. So an id from the future is not Redis's,
 * and neither is a new one with a time before the last look, also in a stream that was made again. All times are by that Redis.
 *
 * Where that clock was set back, neither holds of the ids from before. These are ESTIMATED: how old they are, the clock does not say any
 * more.
 */
export function createOwnIds(): OwnIds {
  let last: { readonly id: string; readonly seenAtMs: number } | null = null;
  /** Which ids need not be times of that clock, as it is now. */
  let estimatedUntilMs = Number.NEGATIVE_INFINITY;

  return {
    seen(id, nowMs) {
      const idMs = msOf(id);
      if (last !== null && nowMs < last.seenAtMs) {
        estimatedUntilMs = Math.max(estimatedUntilMs, idMs);
      } else {
        const isNew = last !== null && id !== last.id && id !== none;
        // The next ids have the same time until the clock has reached it.
        const isAhead = idMs > nowMs && idMs > estimatedUntilMs;
        if (isAhead || (isNew && idMs < (last?.seenAtMs ?? 0))) estimatedUntilMs = Number.POSITIVE_INFINITY;
      }
      last = { id, seenAtMs: nowMs };
    },
    ageOf(id, nowMs) {
      const idMs = msOf(id);
      if (idMs < minTimeMs || idMs > maxTimeMs) return { headAgeMs: null, accuracy: "UNKNOWN" };
      return headAge(nowMs - idMs, idMs > estimatedUntilMs ? "EXACT" : "ESTIMATED");
    },
  };
}

function msOf(id: string): number {
  return Number(id.split("-")[0]);
}
