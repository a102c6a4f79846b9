import { expect, inject, onTestFinished, test, vi } from "vitest";
import { createThrottle } from "../../src/limits/throttle.ts";
import { createRedis } from "../../src/redis/connect.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { silentLogger } from "../support/logger.ts";
import { uniquePrefix } from "../support/redis.ts";

async function openThrottle({ max }: { readonly max: number }) {
  const redis = createRedis({ url: inject("redisUrl"), name: "throttle", logger: silentLogger });
  await redis.connect();
  onTestFinished(() => redis.disconnect());
  const keys = createKeys(uniquePrefix());
  const clock = { nowMs: 0, now: () => clock.nowMs };
  return { redis, keys, clock, throttle: createThrottle({ redis, keys, max, windowMs: 60_000, clock }) };
}

test("takes all points of one tick in one round trip, each client's exactly once", async () => {
  const { redis, throttle } = await openThrottle({ max: 10 });
  const pipelines = vi.spyOn(redis, "pipeline");
  const asked = Array.from({ length: 40 }, (_, i) => ({ client: `client-${i % 2}`, points: 3 }));
  const taken = await Promise.all(asked.map(({ client, points }) => throttle.take(client, points)));
  expect(pipelines).toHaveBeenCalledTimes(1);
  for (const parity of [0, 1]) {
    const ofClient = taken.filter((_, i) => i % 2 === parity);
    expect(ofClient.map(({ isAllowed }) => isAllowed)).toEqual([true, true, true, ...Array(17).fill(false)]);
    expect(ofClient.slice(0, 4).map(({ status }) => status.currentlyAvailable)).toEqual([7, 4, 1, 1]);
  }
});

test("refuses for a second without asking whoever was refused, and nobody else, nor for fewer points", async () => {
  const { redis, keys, clock, throttle } = await openThrottle({ max: 10 });
  await throttle.take("spent", 8);
  const refused = await throttle.take("spent", 3);
  expect(refused).toMatchObject({ isAllowed: false, status: { currentlyAvailable: 2 } });
  const pipelines = vi.spyOn(redis, "pipeline");
  expect(await throttle.take("spent", 3)).toEqual(refused);
  expect(pipelines).not.toHaveBeenCalled();
  expect(await throttle.take("spent", 2)).toMatchObject({ isAllowed: true });
  expect(await throttle.take("other", 3)).toMatchObject({ isAllowed: true });
  expect(await throttle.take("spent", 0)).toMatchObject({
    isAllowed: true,
    status: { currentlyAvailable: 0 },
  });
  // Somebody forgives it.
  await redis.del(keys.throttle("spent"));
  expect(await throttle.take("spent", 3)).toMatchObject({ isAllowed: false });
  clock.nowMs += 1_000;
  expect(await throttle.take("spent", 3)).toMatchObject({ isAllowed: true });
});

test("fails nobody for what Redis answers to somebody else in the same round trip", async () => {
  const { redis, keys, throttle } = await openThrottle({ max: 10 });
  await redis.lpush(keys.throttle("broken"), "no counter");
  const [broken, whole] = await Promise.allSettled([throttle.take("broken", 1), throttle.take("whole", 1)]);
  expect(broken).toMatchObject({
    status: "rejected",
    reason: { message: expect.stringMatching(/WRONGTYPE/) },
  });
  expect(whole).toMatchObject({ status: "fulfilled", value: { isAllowed: true } });
});
