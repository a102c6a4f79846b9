import { describe, expect, it } from "vitest";
import { createClockSteps } from "../../src/redis/clock-steps.ts";
import { createRedisClock } from "../../src/redis/redis-clock.ts";

const start = 1_790_000_000_000;
const hour = 3_600_000;

/** A Redis whose clock is set at will, and that is asked once a second. */
function open() {
  let nowMs = 5_000;
  let offsetMs = start;
  let sleptMs = 0;
  const steps = createClockSteps({ clock: { now: () => nowMs }, suspendedMs: () => sleptMs });
  /** @param wayMs there and back: the answer is given somewhere in between. */
  function ask(wayMs = 2, thereMs = wayMs / 2): number {
    const sentAtMs = nowMs;
    nowMs += wayMs;
    return steps.observe(Math.floor(sentAtMs + thereMs + offsetMs), sentAtMs, nowMs);
  }
  return {
    steps,
    ask,
    redisNow: () => nowMs + offsetMs,
    pass(ms: number): void {
      nowMs += ms;
    },
    set(byMs: number): void {
      offsetMs += byMs;
    },
    suspend(ms: number): void {
      sleptMs += ms;
      offsetMs += ms;
    },
    wrongAt: (ms: number) => steps.wrongTimes().some(({ fromMs, toMs }) => ms >= fromMs && ms <= toMs),
  };
}

describe("a clock of Redis", () => {
  it.each<{ why: string; change: (redis: ReturnType<typeof open>) => void }>([
    { why: "time passes", change: (redis) => redis.pass(50_000) },
    {
      why: "its answers are late by as long as a command may take",
      change: (redis) => void redis.ask(1_500, 0),
    },
    {
      why: "its requests are late by as long as a command may take",
      change: (redis) => void redis.ask(1_500, 1_500),
    },
    {
      why: "NTP slews it for an hour in which nothing is asked",
      change(redis) {
        redis.pass(hour);
        redis.set(1_800);
      },
    },
    { why: "NTP sets it by less than a second", change: (redis) => redis.set(-900) },
    { why: "this machine was suspended", change: (redis) => redis.suspend(hour) },
  ])("is not taken for set when $why", ({ change }) => {
    const redis = open();
    for (let i = 0; i < 10; i++) redis.ask();
    change(redis);
    for (let i = 0; i < 10; i++) expect(redis.ask()).toBe(0);
    expect(redis.steps.wrongTimes()).toEqual([]);
    expect(redis.steps.sinceStepMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it.each([
    { byMs: -hour, isForward: false },
    { byMs: hour, isForward: true },
    { byMs: -2_600, isForward: false },
    { byMs: 2_600, isForward: true },
  ])("that was set by $byMs ms is noticed with the first answer, once", ({ byMs, isForward }) => {
    const redis = open();
    for (let i = 0; i < 3; i++) redis.ask(400);
    redis.pass(1_000);
    redis.set(byMs);
    expect(Math.abs(redis.ask(400) - byMs)).toBeLessThan(1_000);
    expect(redis.ask(400)).toBe(0);
    expect(redis.steps.sinceStepMs()).toBe(400);
    expect(redis.steps.sinceForwardMs()).toBe(isForward ? 400 : Number.POSITIVE_INFINITY);
  });

  it("that was set back makes all times wrong until it is as late as it was", () => {
    const redis = open();
    redis.ask();
    const before = redis.redisNow();
    redis.set(-hour);
    redis.ask();
    for (const ms of [0, before - hour, before]) expect(redis.wrongAt(ms)).toBe(true);
    expect(redis.wrongAt(before + 1_000)).toBe(false);
  });

  it("that was set forward makes all times wrong until then, and none after", () => {
    const redis = open();
    redis.ask();
    const before = redis.redisNow();
    redis.set(hour);
    redis.ask();
    for (const ms of [0, before - hour, before]) expect(redis.wrongAt(ms)).toBe(true);
    expect(redis.wrongAt(before + 1_000)).toBe(false);
    expect(redis.wrongAt(redis.redisNow())).toBe(false);
  });

  it("that goes as before again makes only the times wrong in which it did not", () => {
    const redis = open();
    redis.ask();
    const before = redis.redisNow();
    redis.set(-hour);
    redis.ask();
    redis.pass(60_000);
    redis.ask();
    redis.set(hour);
    redis.ask();
    for (const ms of [before - hour + 10, before - hour + 60_000]) expect(redis.wrongAt(ms)).toBe(true);
    for (const ms of [0, before - hour - 1_000, before - hour + 70_000, before, redis.redisNow()]) {
      expect(redis.wrongAt(ms)).toBe(false);
    }
  });

  it("that is set again and again takes no more memory for that", () => {
    const redis = open();
    for (let i = 1; i < 100; i++) {
      redis.ask();
      redis.set(i % 2 === 0 ? i * 10_000 : -i * 10_000);
    }
    redis.ask();
    expect(redis.steps.wrongTimes().length).toBeLessThan(10);
    expect(redis.wrongAt(start)).toBe(true);
  });

  it("that was set while an answer was on its way is not set back by that answer", () => {
    const redis = open();
    redis.ask();
    redis.set(hour);
    expect(redis.ask()).not.toBe(0);
    expect(redis.steps.observe(start + 5_001, 5_000, 5_010)).toBe(0);
  });

  it.each([-hour, hour])("that was set by %d ms is noticed at once from what is known of it", (byMs) => {
    let localMs = 1_000;
    const clock = createRedisClock({ now: () => localMs }, { epochMs: () => start });
    clock.observe(start);
    localMs += 500;
    clock.observe(start + 500 + byMs);
    expect(clock.at(localMs)).toBe(start + 500 + byMs);
  });
});
