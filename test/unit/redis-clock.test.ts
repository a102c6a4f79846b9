import { beforeEach, describe, expect, it } from "vitest";
import { createRedisClock, type RedisClock } from "../../src/redis/redis-clock.ts";

const start = 1_790_000_000_000;
/** When the monotonic clock was 0. */
const bootMs = start - 5_000;
/** The true time. */
let local = start;
/** By how much this machine's wall clock is wrong. */
let wallErrorMs = 0;
let clock: RedisClock;

beforeEach(() => {
  local = start;
  wallErrorMs = 0;
  clock = createRedisClock({ now: monotonicNow }, { epochMs: () => local + wallErrorMs });
});

const monotonicNow = () => local - bootMs;
/** An answer comes that says that Redis was `aheadMs` ahead of us `lateMs` ago. */
const observe = (aheadMs: number, lateMs = 0) => clock.observe(local + aheadMs - lateMs);
/** How far it takes Redis to be ahead of us. */
const ahead = () => clock.at(monotonicNow()) - local;

describe("Redis's time, known without asking", () => {
  it("is this machine's time before any answer", () => {
    expect(clock.at(monotonicNow())).toBe(start);
    local += 1_500;
    expect(clock.at(monotonicNow())).toBe(start + 1_500);
  });

  it.each([
    { aheadMs: 250, why: "ahead" },
    { aheadMs: -250, why: "behind" },
    { aheadMs: -3_600_000, why: "an hour behind" },
    { aheadMs: 0, why: "the same" },
  ])("is what the first answer says when Redis is $why", ({ aheadMs }) => {
    observe(aheadMs);
    expect(ahead()).toBe(aheadMs);
  });

  it.each([7_200_000, -7_200_000])(
    "is not moved by a step of %i ms of this machine's wall clock",
    (stepMs) => {
      observe(250);
      wallErrorMs = stepMs;
      expect(ahead()).toBe(250);
      local += 30_000;
      observe(250);
      expect(ahead()).toBe(250);
    },
  );

  it("goes on at an even pace between two answers", () => {
    observe(250);
    local += 5_000;
    expect(ahead()).toBe(250);
    local += 3_600_000;
    expect(ahead()).toBe(250);
  });

  it("is not moved back by answers that come late", () => {
    observe(250, 2);
    expect(ahead()).toBe(248);
    for (const lateMs of [40, 5, 900, 3]) {
      local += 100;
      observe(250, lateMs);
      expect(ahead()).toBe(248);
    }
  });

  it("is moved forward at once by an answer that comes faster", () => {
    observe(250, 40);
    local += 100;
    observe(250, 1);
    expect(ahead()).toBe(249);
  });

  it("follows at once when Redis's clock is set forward", () => {
    observe(0);
    local += 100;
    observe(60_000);
    expect(ahead()).toBe(60_000);
  });

  it.each([
    { everyMs: 10, why: "often" },
    { everyMs: 1_000, why: "every second" },
    { everyMs: 9_999, why: "twice in twenty seconds" },
  ])("follows within 20 s when Redis's clock is set back and answers come $why", ({ everyMs }) => {
    for (let i = 0; i < 50; i++) {
      observe(0, 1);
      local += everyMs;
    }
    const setBackAt = local;
    while (local < setBackAt + 20_000) {
      observe(-60_000, 1);
      local += everyMs;
    }
    observe(-60_000, 1);
    expect(ahead()).toBe(-60_001);
  });

  it("does not go back within ten seconds of a fast answer, so that a slow spell moves nothing", () => {
    for (const phase of [0, 3_000, 9_999]) {
      local = start;
      clock = createRedisClock({ now: monotonicNow }, { epochMs: () => local + wallErrorMs });
      observe(0, 500);
      local += phase;
      observe(0, 1);
      for (let waited = 0; waited < 10_000; waited += 500) {
        observe(0, 300);
        expect(ahead()).toBe(-1);
        local += 500;
      }
    }
  });

  it("forgets in the end how fast answers once were, since clocks drift", () => {
    observe(0, 0);
    for (let i = 0; i < 25; i++) {
      local += 1_000;
      observe(0, 7);
    }
    expect(ahead()).toBe(-7);
  });

  it("follows the first answer after a long silence, since what was received before it is old", () => {
    observe(0);
    local += 3_600_000;
    observe(-60_000);
    expect(ahead()).toBe(-60_000);
  });
});
