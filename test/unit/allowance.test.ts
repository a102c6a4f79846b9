import { expect, test } from "vitest";
import { createAllowance } from "../../src/server/allowance.ts";

test("an allowance is used up in a burst, and comes back evenly, but never beyond the burst", () => {
  let nowMs = 0;
  const allowance = createAllowance({ perSecond: 10, burst: 3, clock: { now: () => nowMs } });
  const take = (times: number) => Array.from({ length: times }, () => allowance.take());
  expect(take(4)).toEqual([true, true, true, false]);
  nowMs += 99;
  expect(take(1)).toEqual([false]);
  nowMs += 1;
  expect(take(2)).toEqual([true, false]);
  nowMs += 3_600_000;
  expect(take(4)).toEqual([true, true, true, false]);
});
