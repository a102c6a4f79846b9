import { expect, test } from "vitest";
import { createTokenBucket } from "../../src/server/token-bucket.ts";

test("a token bucket is emptied by a burst, and refilled evenly up to the burst", () => {
  let nowMs = 0;
  const bucket = createTokenBucket({ perSecond: 10, burst: 3, clock: { now: () => nowMs } });
  const take = (times: number) => Array.from({ length: times }, () => bucket.take());
  expect(take(4)).toEqual([true, true, true, false]);
  nowMs += 99;
  expect(take(1)).toEqual([false]);
  nowMs += 1;
  expect(take(2)).toEqual([true, false]);
  nowMs += 3_600_000;
  expect(take(4)).toEqual([true, true, true, false]);
});
