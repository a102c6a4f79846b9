import { expect, test } from "vitest";
import { createLastKnown } from "../../src/limits/last-known.ts";

const all = { maximumAvailable: 10, currentlyAvailable: 10, restoreRate: 1 };
const status = { ...all, currentlyAvailable: 2 };

function begun() {
  const clock = { nowMs: 0, now: () => clock.nowMs };
  return { clock, lastKnown: createLastKnown(all, clock) };
}

test("a client is refused what it cannot have until its window may have ended, however late that was heard", () => {
  const { clock, lastKnown } = begun();
  clock.nowMs = 300;
  lastKnown.learn("a", { status, endsInMs: 500, askedAtMs: 0 });
  expect(lastKnown.refusal("a", 2)).toBeNull();
  expect(lastKnown.refusal("b", 3)).toBeNull();
  clock.nowMs = 499;
  // For as long as it may last at most: who waits for so long finds it over.
  expect(lastKnown.refusal("a", 3)).toEqual({ status, endsInMs: 301 });
  clock.nowMs = 500;
  expect(lastKnown.refusal("a", 3)).toBeNull();
  expect(lastKnown.of("a")).toEqual(status);
  clock.nowMs = 800;
  expect(lastKnown.of("a")).toEqual(all);
});

test("what was heard of a long window counts for a second", () => {
  const { clock, lastKnown } = begun();
  lastKnown.learn("a", { status, endsInMs: 60_000, askedAtMs: 0 });
  clock.nowMs = 999;
  expect(lastKnown.refusal("a", 3)).toEqual({ status, endsInMs: 59_001 });
  clock.nowMs = 1_000;
  expect(lastKnown.refusal("a", 3)).toBeNull();
  lastKnown.learn("a", { status: all, endsInMs: 60_000, askedAtMs: 1_000 });
  expect(lastKnown.refusal("a", 3)).toBeNull();
});
