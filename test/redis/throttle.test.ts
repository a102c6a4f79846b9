import fc from "fast-check";
import { describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { availableIn, type Bucket, fits, refilled } from "../../src/core/token-bucket.ts";
import { createThrottle, type Taken } from "../../src/limits/throttle.ts";
import type { Charge } from "../../src/limits/throttle-cache.ts";
import { createRedis } from "../../src/redis/connect.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { loadScript, runScript } from "../../src/redis/scripts.ts";
import { namedReply } from "../../src/runtime/named-reply.ts";
import { recordingLogger, silentLogger } from "../support/logger.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { until } from "../support/until.ts";

interface Opened {
  readonly max: number;
  /** By default nothing is refilled during a test. */
  readonly windowMs?: number;
  readonly url?: string;
  /** Processes with the same one share the buckets. */
  readonly prefix?: string;
}

async function openThrottle({
  max,
  windowMs = 3_600_000_000_000,
  url = inject("redisUrl"),
  prefix = uniquePrefix(),
}: Opened) {
  const logger = recordingLogger();
  const redis = createRedis({ url, name: "throttle", logger: silentLogger });
  await redis.connect();
  onTestFinished(() => redis.disconnect());
  const keys = createKeys(prefix);
  const clock = { nowMs: 0, now: () => clock.nowMs };
  const rates = { points: { max, windowMs }, events: { max: 10 * max, windowMs } };
  const throttle = createThrottle({ redis, keys, rates, logger, clock });
  return { redis, keys, clock, lines: logger.lines, throttle };
}

const points = (count: number): Charge => ({ points: count, events: 0 });
const available = ({ left }: Taken) => left.points.currentlyAvailable;

test("takes all points of one tick in one round trip, each client's exactly once", async () => {
  const { redis, throttle } = await openThrottle({ max: 10 });
  const writes = vi.spyOn(redis.stream, "uncork");
  const asked = Array.from({ length: 40 }, (_, i) => `client-${i % 2}`);
  const taken = await Promise.all(asked.map((client) => throttle.take(client, points(3))));
  expect(writes).toHaveBeenCalledTimes(1);
  for (const parity of [0, 1]) {
    const ofClient = taken.filter((_, i) => i % 2 === parity);
    expect(ofClient.map(({ isAllowed }) => isAllowed)).toEqual([true, true, true, ...Array(17).fill(false)]);
    expect(ofClient.slice(0, 4).map(available)).toEqual([7, 4, 1, 1]);
  }
});

test("lets pass what was waited for as long as restoreRate says, and no more", async () => {
  const { throttle, clock } = await openThrottle({ max: 100, windowMs: 2_000 });
  const spent = await throttle.take("a", points(100));
  const { restoreRate } = spent.left.points;
  expect(restoreRate).toBe(50);
  const waitMs = (10 / restoreRate) * 1000;
  // Redis's own time passes, and only that counts.
  const startedMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, waitMs + 1));
  clock.nowMs += waitMs + 1;
  expect(await throttle.take("a", points(10))).toMatchObject({ isAllowed: true });
  const left = available(await throttle.take("a", points(0)));
  const maxRestored = ((performance.now() - startedMs) / 1000) * restoreRate;
  expect(left).toBeLessThanOrEqual(maxRestored - 10 + 1);
});

test("says when a refused charge would pass, for each of the budgets", async () => {
  const { throttle } = await openThrottle({ max: 60, windowMs: 60_000_000 });
  await throttle.take("a", { points: 60, events: 600 });
  // A minute may pass in this test.
  const about = (seconds: number) =>
    expect.toSatisfy((said: number) => said <= seconds && said > seconds - 60);
  expect(await throttle.take("a", points(7))).toMatchObject({
    missing: "points",
    retryAfterSeconds: about(7_000),
  });
  expect(await throttle.take("a", { points: 0, events: 300 })).toMatchObject({
    isAllowed: false,
    missing: "events",
    retryAfterSeconds: about(30_000),
    left: { events: { currentlyAvailable: 0 } },
  });
});

test("takes from both budgets or from none, and recording leaves the points for reading", async () => {
  const { throttle } = await openThrottle({ max: 10 });
  expect(await throttle.take("a", { points: 0, events: 100 })).toMatchObject({
    isAllowed: true,
    left: { points: { currentlyAvailable: 10 }, events: { currentlyAvailable: 0 } },
  });
  expect(await throttle.take("a", { points: 3, events: 1 })).toMatchObject({ isAllowed: false });
  expect(await throttle.take("a", points(10))).toMatchObject({ isAllowed: true });
});

describe("a client that asks often", () => {
  test("gets points for its next requests in advance, and sees what it has used", async () => {
    const { redis, clock, throttle } = await openThrottle({ max: 5_000 });
    const writes = vi.spyOn(redis.stream, "uncork");
    const left: number[] = [];
    for (let i = 0; i < 60; i++) left.push(available(await throttle.take("a", points(1))));
    expect(left).toEqual(Array.from({ length: 60 }, (_, i) => 4_999 - i));
    // 1, 1 + 1, 1 + 3, 1 + 7, 1 + 15, 1 + 31, and 1 + 50 from then on.
    expect(writes.mock.calls.length).toBeLessThan(10);
    expect(available(await throttle.take("a", points(100)))).toBe(4_840);
    expect(throttle.lastKnown("a").points.currentlyAvailable).toBe(4_840);
    clock.nowMs += 200;
    writes.mockClear();
    await throttle.take("a", points(1));
    expect(writes).toHaveBeenCalledTimes(1);
  });

  test("gets exactly its points, however it asks two processes, and what one has not used after a moment", async () => {
    const options = { max: 5_000, prefix: uniquePrefix() };
    const [one, other] = [await openThrottle(options), await openThrottle(options)];
    const allowed = async ({ throttle }: typeof one, count: number) => {
      let allowedCount = 0;
      // A busy machine answers thousands at once later than a command may take.
      for (let left = count; left > 0; left -= 250) {
        const asked = Array.from({ length: Math.min(left, 250) }, () => throttle.take("a", points(1)));
        allowedCount += (await Promise.all(asked)).filter(({ isAllowed }) => isAllowed).length;
      }
      return allowedCount;
    };
    let passed = 0;
    for (let i = 0; i < 40; i++) passed += (await allowed(one, 25)) + (await allowed(other, 15));
    expect(passed).toBe(1_600);
    const unused = () =>
      one.redis.get(one.keys.throttle("a")).then((text) => Math.round(Number(text?.split(" ")[0])) - passed);
    expect(await unused()).toBeGreaterThan(0);
    // The other process cannot have what this one has taken in advance.
    const held = 5_000 - passed - (await allowed(other, 5_000));
    passed = 5_000 - held;
    expect(held).toBeGreaterThan(0);
    expect(held).toBeLessThanOrEqual(50);
    one.clock.nowMs += 100;
    other.clock.nowMs += 1_000;
    await until(async () => expect(await unused()).toBe(0));
    expect(await allowed(other, 100)).toBe(held);
    expect(await allowed(one, 100)).toBe(0);
  });

  test("gets nothing in advance where a hundredth of its points is little", async () => {
    const { redis, throttle } = await openThrottle({ max: 4_999 });
    const writes = vi.spyOn(redis.stream, "uncork");
    for (let i = 0; i < 20; i++) await throttle.take("a", points(1));
    expect(writes).toHaveBeenCalledTimes(20);
  });

  test("gets nothing in advance when half of its points are used", async () => {
    const { redis, throttle } = await openThrottle({ max: 5_000 });
    await throttle.take("a", points(2_495));
    const writes = vi.spyOn(redis.stream, "uncork");
    for (let i = 0; i < 20; i++) await throttle.take("a", points(1));
    expect(writes.mock.calls.length).toBeGreaterThanOrEqual(16);
  });
});

test("takes what is left for work that is done, and no more than there is", async () => {
  const { throttle } = await openThrottle({ max: 10 });
  expect((await throttle.takeRest("a", 7)).points.currentlyAvailable).toBe(3);
  expect((await throttle.takeRest("a", 7)).points.currentlyAvailable).toBe(0);
});

test("refuses for a second without asking a client that was refused, and no other, nor for fewer points", async () => {
  const { redis, keys, clock, throttle } = await openThrottle({ max: 10 });
  await throttle.take("spent", points(8));
  const refused = await throttle.take("spent", points(3));
  expect(refused).toMatchObject({ isAllowed: false, left: { points: { currentlyAvailable: 2 } } });
  const writes = vi.spyOn(redis.stream, "uncork");
  expect(await throttle.take("spent", points(3))).toEqual(refused);
  expect(writes).not.toHaveBeenCalled();
  expect(await throttle.take("spent", points(2))).toMatchObject({ isAllowed: true });
  expect(await throttle.take("other", points(3))).toMatchObject({ isAllowed: true });
  expect(available(await throttle.take("spent", points(0)))).toBe(0);
  // An operator forgives it.
  await redis.del(keys.throttle("spent"));
  expect(await throttle.take("spent", points(3))).toMatchObject({ isAllowed: false });
  clock.nowMs += 1_000;
  expect(await throttle.take("spent", points(3))).toMatchObject({ isAllowed: true });
});

test("keeps one small key of each client, which expires when its buckets are full again", async () => {
  const { redis, keys, throttle } = await openThrottle({ max: 1000, windowMs: 60_000_000 });
  await throttle.take("a", points(1));
  const key = keys.throttle("a");
  const bytes = Number(await redis.memory("USAGE", key));
  expect(await redis.pttl(key)).toBeLessThanOrEqual(60_001);
  for (let i = 0; i < 30; i++) await throttle.take("a", points(17));
  await throttle.take("a", points(900));
  expect(Number(await redis.memory("USAGE", key))).toBeLessThanOrEqual(bytes + 16);
  const left = await redis.pttl(key);
  expect(left).toBeGreaterThan(30_000_000);
  expect(left).toBeLessThanOrEqual(31_000_000);
});

test("is not harmed by what version 1 has left in Redis", async () => {
  const { redis, keys, throttle } = await openThrottle({ max: 10 });
  const key = keys.throttle("token:a");
  const prefix = key.slice(0, key.indexOf(":throttle:"));
  await redis.set(`${prefix}:throttle:token:a`, "10", "PX", 60_000);
  expect(await throttle.take("token:a", points(10))).toMatchObject({ isAllowed: true });
});

test("goes on with a bucket that it cannot read as with a full one", async () => {
  const { redis, keys, throttle } = await openThrottle({ max: 10 });
  await redis.set(keys.throttle("a"), "what is this");
  expect(await throttle.take("a", points(4))).toMatchObject({ isAllowed: true });
  expect(available(await throttle.take("a", points(0)))).toBe(6);
});

test("writes over a bucket of another type, which keeps neither its client nor any other out", async () => {
  const { redis, keys, throttle } = await openThrottle({ max: 10 });
  await redis.lpush(keys.throttle("broken"), "no bucket");
  const taken = await Promise.all([throttle.take("broken", points(4)), throttle.take("whole", points(4))]);
  expect(taken).toMatchObject([{ isAllowed: true }, { isAllowed: true }]);
  expect(available(await throttle.take("broken", points(0)))).toBe(6);
});

test("counts in this process while Redis is full, says so once, and counts in Redis again after that", async () => {
  await using full = await startRedis({ args: ["--maxmemory-policy", "noeviction"] });
  const { redis, throttle, lines } = await openThrottle({ max: 10, url: full.url });
  await throttle.take("a", points(4));
  await redis.config("SET", "maxmemory", "1");
  expect(await throttle.take("a", points(5))).toMatchObject({ isAllowed: true });
  expect(await throttle.take("a", points(2))).toMatchObject({
    isAllowed: false,
    left: { points: { currentlyAvailable: 1 } },
  });
  expect((await throttle.takeRest("a", 7)).points.currentlyAvailable).toBe(0);
  expect(lines.filter(({ level }) => level === "warn")).toHaveLength(1);
  await redis.config("SET", "maxmemory", "0");
  // Redis knows of the first take alone.
  expect(await throttle.take("a", points(6))).toMatchObject({ isAllowed: true });
  await until(() =>
    expect(lines.map(({ level }) => level).filter((level) => level !== "debug")).toEqual(["warn", "info"]),
  );
});

test("a bucket in Redis is the one of the model, after any takes at any times", async () => {
  const { redis, keys } = await openThrottle({ max: 1 });
  // The time, and what expires by it, is Redis's own: here the script is handed a time, and nothing expires.
  const { lua } = loadScript("throttle", new URL("../../src/limits/lua/throttle.lua", import.meta.url));
  const timed = {
    name: "queueLatencyThrottleAt",
    lua: lua
      .replace("redis.call('TIME')", "{ 0, tonumber(table.remove(ARGV)) }")
      .replace(", 'PX', math.ceil(fullInMs) + 1", ""),
  };
  expect(timed.lua).not.toMatch(/TIME|PX/);
  const anyTake = fc.record({
    stepUs: fc.oneof(
      fc.integer({ min: 0, max: 2_000_000 }),
      fc.integer({ min: -5_000_000, max: 60_000_000 }),
    ),
    points: fc.nat({ max: 60 }),
    mode: fc.constantFrom("all", "rest"),
    putBack: fc.nat({ max: 5 }),
    advance: fc.nat({ max: 5 }),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 100, max: 30_000 }),
      fc.array(anyTake, { maxLength: 30 }),
      async (max, windowMs, takes) => {
        const key = keys.throttle(`client-${run++}`);
        const rate = { max, windowMs };
        const other = [0, 1, 1];
        // The model's milliseconds would be too coarse so long after 1970.
        const beganUs = 1_764_355_000_000_000;
        let nowUs = beganUs;
        let model: Bucket = { used: 0, atMs: 0 };
        for (const { stepUs, points: asked, mode, putBack, advance } of takes) {
          nowUs += stepUs;
          const reply = await runScript(redis, timed, {
            keys: [key],
            args: [mode, putBack, advance, asked, max, windowMs, ...other, nowUs],
          });
          const {
            isTaken: taken,
            advance: takenInAdvance,
            used: [used],
          } = namedReply<{ isTaken: number; advance: number; used: [string] }>(reply);
          const then = refilled(model, rate, (nowUs - beganUs) / 1000);
          const now = { ...then, used: Math.max(0, then.used - putBack) };
          const amount = mode === "rest" ? Math.min(asked, availableIn(now, rate)) : asked;
          const isTaken = fits(now, rate, amount);
          const isChanged = isTaken && amount > 0;
          const more = isChanged && now.used + amount + advance <= max / 2 ? advance : 0;
          const after = isChanged ? { ...now, used: now.used + amount + more } : now;
          if (isChanged || putBack > 0) model = after;
          expect(taken).toBe(isTaken ? 1 : 0);
          expect(takenInAdvance).toBe(more);
          expect(Number(used)).toBeCloseTo(after.used, 5);
        }
      },
    ),
    { numRuns: 100 },
  );
});
