import { expect, it } from "vitest";
import { createTextKeyedCache } from "../../src/runtime/text-keyed-cache.ts";

it("keeps the thousand short documents that were asked for last", () => {
  const cache = createTextKeyedCache<number>();
  for (let i = 0; i < 1_000; i++) cache.set(`{ q${i} }`, i);
  expect(cache.get("{ q0 }")).toBe(0);
  cache.set("{ one more }", 1_000);
  expect(cache.get("{ q0 }")).toBe(0);
  expect(cache.get("{ q1 }")).toBeUndefined();
  expect(cache.get("{ one more }")).toBe(1_000);
});

it("keeps no long document, since what is parsed takes many times its source", () => {
  const cache = createTextKeyedCache<number>();
  const [longest, tooLong] = ["#".repeat(4_000), "#".repeat(4_001)];
  cache.set(longest, 1);
  cache.set(tooLong, 2);
  expect(cache.get(longest)).toBe(1);
  expect(cache.get(tooLong)).toBeUndefined();
});

it("keeps half a million characters at most", () => {
  const cache = createTextKeyedCache<number>();
  const source = (i: number) => `#${i}`.padEnd(4_000, "x");
  for (let i = 0; i < 200; i++) cache.set(source(i), i);
  // The same again is no more than it was.
  cache.set(source(199), 199);
  const kept = Array.from({ length: 200 }, (_, i) => i).filter((i) => cache.get(source(i)) === i);
  expect(kept).toEqual(Array.from({ length: 125 }, (_, i) => 75 + i));
});
