import fc from "fast-check";
import { expect, test } from "vitest";
import { fairPeriodsMs } from "../../src/sources/postgres/fair-periods.ts";

const share = 1 / 150;

test.each([
  { works: [], periods: [], why: "no reader" },
  { works: [5], periods: [1_000], why: "within the share" },
  { works: [0, 0], periods: [1_000, 1_000], why: "nothing was read yet" },
  { works: [20], periods: [3_000], why: "150 times its work" },
  { works: [500], periods: [75_000], why: "a statement that was cancelled" },
  {
    works: [0.3, 500],
    periods: [1_000, 78_534],
    why: "a slow one delays no other, and gets what that leaves",
  },
  { works: [20, 20], periods: [6_000, 6_000], why: "two that need more share equally" },
  { works: [1, 4, 100], periods: [1_000, 1_412, 35_294], why: "an equal part of what the first leaves" },
])("$works ms of work are read each $periods ms: $why", ({ works, periods }) => {
  expect(fairPeriodsMs(works, 1_000, share).map(Math.round)).toEqual(periods);
});

test("the readers take no more than the share, and one that needs no more than an equal part is not delayed", () => {
  const works = fc.array(fc.double({ min: 0, max: 500, noNaN: true }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(works, fc.integer({ min: 100, max: 10_000 }), (worksMs, intervalMs) => {
      const periods = fairPeriodsMs(worksMs, intervalMs, share);
      const used = worksMs.reduce((sum, workMs, i) => sum + workMs / (periods[i] ?? 0), 0);
      expect(used).toBeLessThanOrEqual(share * 1.000001);
      for (const [i, workMs] of worksMs.entries())
        if (workMs / intervalMs <= share / worksMs.length) expect(periods[i]).toBe(intervalMs);
    }),
  );
});
