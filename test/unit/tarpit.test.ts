import { expect, onTestFinished, test } from "vitest";
import { createTarpit } from "../../src/server/tarpit.ts";

function begun() {
  let nowMs = 1_000;
  const tarpit = createTarpit({ perSecond: 100, burst: 3, maxMs: 50, clock: { now: () => nowMs } });
  onTestFinished(tarpit.stop);
  /** How many of this number of refusals at once are sent at once. */
  const sentAtOnce = (client: string, count: number) =>
    Array.from({ length: count }, () => tarpit.hold(client)).filter((each) => each === null).length;
  return { tarpit, sentAtOnce, pass: (ms: number) => (nowMs += ms) };
}

test("the first refusals of a burst are sent at once, and no client waits for another one", () => {
  const { sentAtOnce } = begun();
  expect(sentAtOnce("a", 1)).toBe(1);
  expect(sentAtOnce("a", 5)).toBe(2);
  expect(sentAtOnce("b", 5)).toBe(3);
});

test("as many more are sent at once as the rate allows in the time that passed, and at most a burst", () => {
  const { sentAtOnce, pass } = begun();
  expect(sentAtOnce("a", 3)).toBe(3);
  pass(20);
  expect(sentAtOnce("a", 3)).toBe(2);
  pass(10_000);
  expect(sentAtOnce("a", 9)).toBe(3);
});

test.each([
  { workMs: 0, expected: 9, why: "what took no time is sent at the usual rate" },
  { workMs: 0.1, expected: 9, why: "so is what takes less than its share of the CPU at that rate" },
  { workMs: 0.4, expected: 4, why: "what takes twice as much is sent half as often" },
  { workMs: 1_000, expected: 2, why: "two of what takes longest are sent at once" },
])("of refusals that took $workMs ms each, $expected are sent at once: $why", ({ workMs, expected }) => {
  const clock = { now: () => 1_000 };
  const tarpit = createTarpit({ perSecond: 100, burst: 9, cpuShare: 0.02, maxMs: 50, clock });
  onTestFinished(tarpit.stop);
  const all = Array.from({ length: 20 }, () => tarpit.hold("a", workMs));
  expect(all.filter((each) => each === null)).toHaveLength(expected);
});

test("those that are held back are sent one by one, and none is held longer than the maximum", async () => {
  const tarpit = createTarpit({ perSecond: 20, burst: 1, maxMs: 200 });
  onTestFinished(tarpit.stop);
  const beganAtMs = performance.now();
  let isLater = false;
  // Timers are called in order, however late they are. At 20 a second the last one would be sent after 1.5 s.
  const later = setTimeout(() => (isLater = true), 1_000);
  const sentAfterMs = await Promise.all(
    Array.from({ length: 30 }, async () => {
      await tarpit.hold("a");
      return performance.now() - beganAtMs;
    }),
  );
  clearTimeout(later);
  expect(isLater).toBe(false);
  // A timer may be early by a millisecond.
  for (const [i, ms] of sentAfterMs.entries()) expect(ms).toBeGreaterThan(Math.min(i * 50, 200) - 2);
});

test("all are sent at once when the server stops", async () => {
  const { tarpit, sentAtOnce } = begun();
  sentAtOnce("a", 3);
  const held = tarpit.hold("a");
  expect(held).toBeInstanceOf(Promise);
  tarpit.stop();
  await held;
  expect(sentAtOnce("a", 9)).toBe(9);
});
