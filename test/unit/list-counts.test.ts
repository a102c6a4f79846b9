import { expect, test } from "vitest";
import { createListCounts } from "../../src/sources/lists/list-counts.ts";
import type { ListMoves } from "../../src/sources/lists/list-moves.ts";

const maxGapMs = 10_000;
const moves = (betweenMs: number): ListMoves => ({
  ...{ pushed: 6_000, left: [], isWhole: true, isIdle: false },
  betweenMs,
});

test.each([
  { betweenMs: 1_000, isCounted: true, why: "readings are a second apart" },
  { betweenMs: maxGapMs, isCounted: true, why: "they are as far apart as allowed" },
  {
    betweenMs: 600_000,
    isCounted: false,
    why: "in ten minutes without a reading jobs came at times that are not known",
  },
])(
  "after $betweenMs ms between two readings, that jobs are counted is $isCounted: $why",
  ({ betweenMs, isCounted }) => {
    const counts = createListCounts(maxGapMs);
    expect(counts.add([moves(0)], { nowMs: 0, readAtMs: 0 })).toBeNull();
    const readAtMs = betweenMs;
    const counted = counts.add([moves(betweenMs)], { nowMs: readAtMs, readAtMs });
    if (isCounted) expect(counted).toMatchObject({ sinceMs: 0, enqueued: 6_000 });
    else expect(counted).toBeNull();
    const next = counts.add([moves(1_000)], { nowMs: readAtMs + 1_000, readAtMs: readAtMs + 1_000 });
    expect(next).toMatchObject({ sinceMs: isCounted ? 0 : readAtMs, enqueued: 6_000 });
  },
);
