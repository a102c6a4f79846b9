import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { beforeEach, describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { createKeys } from "../../src/redis/keys.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { abortOf, openContender } from "../support/lease.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { allParts, openTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const quick = { ttlMs: 3_000, renewEveryMs: 200 };
let prefix: string;

beforeEach(() => {
  prefix = uniquePrefix();
});
const contender = (timing: Parameters<typeof openContender>[2] = {}) =>
  openContender(inject("redisUrl"), prefix, timing);

describe("a lease", () => {
  test("is had by one of five contenders at a time, with a fence that grows with every hold", async () => {
    let holders = 0;
    let most = 0;
    const fences: number[] = [];
    const five = await Promise.all(Array.from({ length: 5 }, () => contender(quick)));
    await Promise.all(
      five.map(async (one) => {
        for (let round = 0; round < 4; round++) {
          const hold = await one.hold();
          most = Math.max(most, ++holders);
          fences.push(hold.fence);
          await one.redis.ping();
          expect(hold.isHeld()).toBe(true);
          holders--;
          await hold.release();
        }
      }),
    );
    expect(most).toBe(1);
    expect(fences).toHaveLength(20);
    for (const [i, fence] of fences.slice(1).entries()) expect(fence).toBeGreaterThan(fences[i]!);
  });

  test("is renewed for as long as it is wanted", async () => {
    const [first, second] = [await contender(quick), await contender(quick)];
    const hold = await first.hold();
    const waiting = second.hold().catch(() => null);
    let isTaken = false;
    void waiting.then(() => (isTaken = true));
    const over = performance.now() + 1.5 * quick.ttlMs;
    while (performance.now() < over) {
      expect(await first.redis.pttl(createKeys(prefix).lease("faktory")[0])).toBeGreaterThan(0);
      expect(hold.isHeld()).toBe(true);
    }
    expect(isTaken).toBe(false);
    await hold.release();
    expect((await waiting)?.fence).toBeGreaterThan(hold.fence);
  });

  test("that is given back is had by another at once", async () => {
    const [first, second] = [await contender(), await contender()];
    const hold = await first.hold();
    const waiting = second.hold();
    await second.redis.ping();
    const releasedAtMs = performance.now();
    await hold.release();
    expect(hold.isHeld()).toBe(false);
    expect(hold.ended.aborted).toBe(true);
    await waiting;
    expect(performance.now() - releasedAtMs).toBeLessThan(onThisMachine(500));
  });

  test("of one who died is had by another within five seconds, and not before it has run out", async () => {
    const [first, second] = [await contender(), await contender()];
    const hold = await first.hold();
    const waiting = second.hold();
    first.die();
    const diedAtMs = performance.now();
    const next = await waiting;
    expect(performance.now() - diedAtMs).toBeLessThan(onThisMachine(5_000));
    expect(next.fence).toBeGreaterThan(hold.fence);
    // By its own clock the first had given up before the second could have it.
    expect(hold.isHeld()).toBe(false);
  });

  test("that another process has now is lost with the next renewal, and the other one keeps it", async () => {
    const [first, second] = [await contender(quick), await contender(quick)];
    const hold = await first.hold();
    await first.redis.del(createKeys(prefix).lease("faktory")[0]);
    const next = await second.hold();
    await abortOf(hold.ended);
    expect(hold.isHeld()).toBe(false);
    await hold.release();
    expect(next.isHeld()).toBe(true);
    expect(await second.redis.exists(createKeys(prefix).lease("faktory")[0])).toBe(1);
  });

  test("asks the clock, and not only its timers, which a frozen process has not run yet", async () => {
    const hold = await (await contender()).hold();
    const wokenAtMs = monotonicClock.now() + 3_000;
    const clock = vi.spyOn(monotonicClock, "now").mockReturnValue(wokenAtMs);
    const [isHeld, hasEnded] = [hold.isHeld(), hold.ended.aborted];
    clock.mockRestore();
    expect({ isHeld, hasEnded }).toEqual({ isHeld: false, hasEnded: false });
  });

  test("has a later fence though Redis has lost the earlier ones", async () => {
    const [first, second] = [await contender(), await contender()];
    const fences: number[] = [];
    for (const one of [first, second, first]) {
      const hold = await one.hold();
      fences.push(hold.fence);
      await hold.release();
    }
    await first.redis.del(...createKeys(prefix).lease("faktory"));
    // It takes longer than a millisecond to lose them.
    while (Date.now() <= Math.max(...fences)) await setImmediate();
    expect((await second.hold()).fence).toBeGreaterThan(Math.max(...fences));
  });

  test.each([0, 1] as const)(
    "is had though its key %i is no lease's, and is a lease again then",
    async (index) => {
      for (const breakIt of ["set", "lpush"] as const) {
        const one = await contender(quick);
        const key = createKeys(prefix).lease("faktory")[index] ?? "";
        await one.redis.del(key);
        await (breakIt === "set" ? one.redis.set(key, "garbage") : one.redis.lpush(key, "garbage"));
        const hold = await one.hold();
        expect(hold.fence).toBeGreaterThan(1_700_000_000_000);
        await hold.release();
      }
    },
  );

  test("is not waited for any longer when it is not wanted", async () => {
    const [first, second] = [await contender(), await contender()];
    await first.hold();
    const giveUp = new AbortController();
    const waiting = second.lease.acquire(giveUp.signal);
    giveUp.abort(new Error("not wanted"));
    await expect(waiting).rejects.toThrow("not wanted");
  });
});

describe("when Redis goes away", () => {
  test("a lease is lost when it has run out, and can be had again when Redis is back", async () => {
    await using redis = await startRedis({ appendonly: true });
    const one = await openContender(redis.url, prefix, quick);
    const hold = await one.hold();
    await redis.kill();
    const lostAfterMs = await abortOf(hold.ended);
    expect(lostAfterMs).toBeLessThanOrEqual(quick.ttlMs + onThisMachine(250));
    expect(hold.isHeld()).toBe(false);
    await hold.release();
    const waiting = one.hold();
    await redis.restart();
    expect((await waiting).isHeld()).toBe(true);
  });

  test("and hangs, the clock alone ends a lease", async () => {
    await using redis = await startRedis();
    const one = await openContender(redis.url, prefix, quick);
    const hold = await one.hold();
    process.kill(redis.pid, "SIGSTOP");
    try {
      expect(await abortOf(hold.ended)).toBeLessThanOrEqual(quick.ttlMs + onThisMachine(250));
    } finally {
      process.kill(redis.pid, "SIGCONT");
    }
  });

  test("and is back before a lease has run out, it goes on", async () => {
    await using redis = await startRedis({ appendonly: true });
    const one = await openContender(redis.url, prefix, { ttlMs: 60_000, renewEveryMs: 250 });
    const hold = await one.hold();
    await redis.restart();
    // With no renewal since then it would have run out.
    const endMs = monotonicClock.now() + 60_000;
    await until(() => {
      const clock = vi.spyOn(monotonicClock, "now").mockReturnValue(endMs);
      const isHeld = hold.isHeld();
      clock.mockRestore();
      expect(isHeld).toBe(true);
    });
  });
});

describe("a process that was frozen for longer than its lease lasts", () => {
  test("has lost it when it wakes up, and what it says then changes nothing", async () => {
    await using opened = await openTracker(inject("redisUrl"), { prefix });
    const frozen = startLeaseProcess(inject("redisUrl"), prefix);
    const { fence } = await frozen.next();
    expect(await frozen.observe()).toEqual({ isHeld: true, refusal: null });
    frozen.child.kill("SIGSTOP");

    const hold = await (await contender()).hold();
    expect(hold.fence).toBeGreaterThan(Number(fence));
    const seen = { queue: "q", headAgeMs: 5_000, uncertaintyMs: 0, depth: 3, scheduled: 0, paused: false };
    const queues = [{ ...seen, accuracy: "EXACT" as const, readAtMs: monotonicClock.now() }];
    await opened.tracker.observe({ source: "faktory", queues, freshForMs: 60_000 }, hold.fence);
    const before = await opened.redis.hgetall(opened.keys.state("faktory/q"));

    // The line is there when it wakes up: it is read before any message can have come.
    const answer = frozen.observe();
    frozen.child.kill("SIGCONT");
    expect(await answer).toEqual({ isHeld: false, refusal: "LeaseLostError" });
    expect(await opened.redis.hgetall(opened.keys.state("faktory/q"))).toEqual(before);
    expect(await opened.tracker.read(["faktory/q"], allParts)).toMatchObject([{ depth: 3, stale: false }]);
    expect(hold.isHeld()).toBe(true);
  });
});

function startLeaseProcess(redisUrl: string, prefix: string) {
  const script = fileURLToPath(new URL("../support/lease-process.ts", import.meta.url));
  const child: ChildProcess = spawn(process.execPath, [script, redisUrl, prefix], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(async () => {
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const next = async (): Promise<Record<string, unknown>> => JSON.parse((await lines.next()).value ?? "{}");
  return {
    child,
    next,
    observe: () => {
      child.stdin!.write("observe\n");
      return next();
    },
  };
}
