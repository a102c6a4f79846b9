import { expect, test } from "vitest";
import { type Bucket, fits, fullBucket, type Rate, refilled, waitMs } from "../../src/core/token-bucket.ts";

test("a token bucket is emptied by a burst, and refilled evenly up to the burst", () => {
  const rate: Rate = { max: 3, windowMs: 300 };
  let nowMs = 0;
  let bucket: Bucket = fullBucket;
  const take = () => {
    bucket = refilled(bucket, rate, nowMs);
    if (!fits(bucket, rate, 1)) return waitMs(bucket, rate, 1);
    bucket = { ...bucket, used: bucket.used + 1 };
    return "taken";
  };
  const takeTimes = (times: number) => Array.from({ length: times }, take);
  expect(takeTimes(4)).toEqual(["taken", "taken", "taken", 100]);
  nowMs += 99;
  expect(takeTimes(1)).toEqual([expect.closeTo(1)]);
  nowMs += 1;
  expect(takeTimes(2)).toEqual(["taken", 100]);
  nowMs += 3_600_000;
  expect(takeTimes(4)).toEqual(["taken", "taken", "taken", 100]);
});
