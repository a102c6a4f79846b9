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
  return { redis, keys, throttle: createThrottle({ redis, keys, max, windowMs: 60_000 }) };
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
