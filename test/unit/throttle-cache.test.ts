import { expect, test } from "vitest";
import { createThrottleCache } from "../../src/limits/throttle-cache.ts";

const rates = { points: { max: 10, windowMs: 10_000 }, events: { max: 100, windowMs: 10_000 } };

function opened() {
  const clock = { nowMs: 0, now: () => clock.nowMs };
  return { clock, cache: createThrottleCache(rates, clock) };
}

const points = (count: number) => ({ points: count, events: 0 });
const used = (count: number, atMs = 0) => ({ points: { used: count, atMs }, events: { used: 0, atMs } });

test("a client is refused until its bucket may hold the charge, however late that was received", () => {
  const { clock, cache } = opened();
  clock.nowMs = 300;
  cache.learn("a", used(8), 0);
  expect(cache.refuses("a", points(2))).toBe(false);
  expect(cache.refuses("b", points(3))).toBe(false);
  clock.nowMs = 999;
  expect(cache.refuses("a", points(3))).toBe(true);
  clock.nowMs = 1_000;
  // A point was refilled meanwhile.
  expect(cache.of("a").points.used).toBe(7);
  expect(cache.refuses("a", points(3))).toBe(false);
});

test("what Redis said refuses for a second only", () => {
  const { clock, cache } = opened();
  cache.learn("a", used(10), 0);
  clock.nowMs = 999;
  expect(cache.refuses("a", points(10))).toBe(true);
  clock.nowMs = 1_000;
  expect(cache.refuses("a", points(10))).toBe(false);
});

test("takes from what is known as from a token bucket, and asks Redis again before it refuses", () => {
  const { clock, cache } = opened();
  cache.learn("a", used(4), 0);
  expect(cache.take("a", points(7))).toBe(false);
  expect(cache.take("a", points(6))).toBe(true);
  expect(cache.take("a", points(1))).toBe(false);
  expect(cache.refuses("a", points(1))).toBe(false);
  clock.nowMs = 1_000;
  expect(cache.take("a", points(1))).toBe(true);
});

test("remembers 10,000 clients, those that were charged last", () => {
  const { cache } = opened();
  for (let i = 0; i <= 10_000; i++) cache.learn(`client-${i}`, used(10), 0);
  expect(cache.refuses("client-0", points(1))).toBe(false);
  expect(cache.refuses("client-1", points(1))).toBe(true);
});
