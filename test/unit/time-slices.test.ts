import { expect, test } from "vitest";
import { createTimeSlices } from "../../src/runtime/time-slices.ts";

test.each([
  { slices: "long", sliceMs: 3_600_000, turns: [1, 1, 1], why: "they share one slice" },
  { slices: "over at once", sliceMs: 0, turns: [1, 2, 3], why: "each has a turn of its own" },
])("work that waits begins in order, and where slices are $slices, $why", async ({ sliceMs, turns }) => {
  const slices = createTimeSlices(sliceMs);
  const begun: string[] = [];
  let turn = 0;
  const work = async (name: string) => {
    await slices.next();
    begun.push(`${name} in turn ${turn}`);
  };
  const count = () => {
    turn += 1;
    if (turn < 10) setImmediate(count);
  };
  setImmediate(count);
  await Promise.all(["a", "b", "c"].map(work));
  expect(begun).toEqual(["a", "b", "c"].map((name, i) => `${name} in turn ${turns[i]}`));
});
