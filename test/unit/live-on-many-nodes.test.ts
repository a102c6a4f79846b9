import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import { collect, now, openLive, snapshot, startMs } from "../support/live.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a queue whose node is away while another's answers", () => {
  async function openTwoNodes(failsAfterMs = 0) {
    const away = new Set<string>();
    const depths: Record<string, number> = { sound: 1, gone: 1 };
    const opened = await openLive({
      async read(queues) {
        if (queues.some((queue) => away.has(queue))) {
          if (failsAfterMs > 0) await new Promise((resolve) => setTimeout(resolve, failsAfterMs));
          throw new AppError("SERVICE_UNAVAILABLE", "away");
        }
        return queues.map((queue) =>
          snapshot(queue, {
            ...{ state: "WAITING", depth: depths[queue] ?? 0, oldestSinceMs: startMs },
            latencyMs: now() - startMs,
          }),
        );
      },
    });
    const watch = await opened.live.watch(["sound", "gone"], { minIntervalMs: 50, refreshMs: 0 });
    const got = collect(
      watch,
      ({ queue, depth, stale, measuredAtMs }) =>
        `${queue} ${depth}${stale ? ` stale, as of ${measuredAtMs - startMs}` : ""};`,
    );
    await vi.advanceTimersByTimeAsync(100);
    return { ...opened, away, depths, got };
  }

  it("is stale alone, once and as of when it was last known, and fresh when its node is back", async () => {
    const { live, change, away, depths, got } = await openTwoNodes();
    away.add("gone");
    change("gone");
    await vi.advanceTimersByTimeAsync(300);
    depths.sound = 2;
    change("sound");
    await vi.advanceTimersByTimeAsync(9_600);
    depths.sound = 3;
    change("sound");
    await vi.advanceTimersByTimeAsync(4_000);
    away.clear();
    await vi.advanceTimersByTimeAsync(1_000);
    await live.stop();
    expect(got()).toEqual({
      0: "sound 1;gone 1;",
      400: "sound 2;",
      // The second time that it was tried again.
      1100: "gone 1 stale, as of 100;",
      10000: "sound 3;",
      14100: "gone 1;",
    });
  });

  it("says nothing of an absence that is shorter than the grace", async () => {
    const { live, change, away, depths, got } = await openTwoNodes();
    away.add("gone");
    change("gone");
    await vi.advanceTimersByTimeAsync(400);
    away.clear();
    depths.gone = 2;
    await vi.advanceTimersByTimeAsync(60_000);
    await live.stop();
    expect(got()).toEqual({ 0: "sound 1;gone 1;", 600: "gone 2;" });
  });

  it("does not hold up the others while its node hangs", async () => {
    const { live, change, away, depths, got } = await openTwoNodes(1_500);
    away.add("gone");
    change("gone");
    // It is tried from 0.1 to 1.6 s, and again from 2.1 to 3.6 s.
    await vi.advanceTimersByTimeAsync(2_400);
    depths.sound = 2;
    change("sound");
    await vi.advanceTimersByTimeAsync(3_000);
    await live.stop();
    expect(got()).toEqual({
      0: "sound 1;gone 1;",
      1600: "gone 1 stale, as of 100;",
      2500: "sound 2;",
    });
  });

  it("is pushed as stale once when no changes are received either, and stays so when they are received again", async () => {
    const { live, listener, feed, away, got } = await openTwoNodes();
    away.add("gone");
    feed.isConnected = false;
    listener().onDisconnected();
    await vi.advanceTimersByTimeAsync(2_900);
    feed.isConnected = true;
    listener().onConnected();
    await vi.advanceTimersByTimeAsync(5_000);
    away.clear();
    await vi.advanceTimersByTimeAsync(1_000);
    await live.stop();
    expect(got()).toEqual({
      0: "sound 1;gone 1;",
      1100: "sound 1 stale, as of 100;gone 1 stale, as of 100;",
      3000: "sound 1;",
      8500: "gone 1;",
    });
  });
});

describe("a queue that is broken, for which there is no waiting", () => {
  it("is stale at once", async () => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    const watch = await live.watch(["q"], { minIntervalMs: 50, refreshMs: 0 });
    const got = collect(watch, ({ depth, stale }) => `${depth}${stale ? " stale" : ""}`);
    await vi.advanceTimersByTimeAsync(100);
    vi.spyOn(redis, "read").mockRejectedValue(new Error("WRONGTYPE"));
    change("q");
    await vi.advanceTimersByTimeAsync(60_000);
    await live.stop();
    expect(got()).toEqual({ 0: "1", 100: "1 stale" });
  });
});

describe("a change that was lost on its way to us", () => {
  it("is pushed all the same when the feed can lose one, for one read every so often", async () => {
    const { live, redis } = await openLive({ rereadMs: 5_000 });
    redis.isQuick = true;
    const read = vi.spyOn(redis, "read");
    const watch = await live.watch(["q"], { minIntervalMs: 50, refreshMs: 0 });
    const got = collect(watch, ({ depth }) => String(depth));
    await vi.advanceTimersByTimeAsync(100);
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    await vi.advanceTimersByTimeAsync(59_900);
    await live.stop();
    expect(got()).toEqual({ 0: "0", 5000: "1" });
    expect(read).toHaveBeenCalledTimes(1 + 60 / 5);
  });
});

describe("queues on nodes whose clocks differ", () => {
  it("each grow older by the clock of their own node", async () => {
    const aheadMs: Record<string, number> = { ahead: 3_600_000, behind: -3_600_000, right: 0 };
    const { live, change } = await openLive({
      read: async (queues) =>
        queues.map((queue) =>
          snapshot(queue, {
            ...{ state: "WAITING", depth: 1, oldestSinceMs: startMs + (aheadMs[queue] ?? 0) },
            ...{ measuredAtMs: now() + (aheadMs[queue] ?? 0), latencyMs: now() - startMs },
          }),
        ),
    });
    const watch = await live.watch(Object.keys(aheadMs), { minIntervalMs: 50, refreshMs: 1_000 });
    const got = collect(watch, ({ latencyMs }) => `${Math.round(latencyMs!)};`);
    for (let i = 0; i < 3; i++) {
      await vi.advanceTimersByTimeAsync(1_000);
      // Each has been read at another time.
      change(Object.keys(aheadMs)[i] ?? "");
    }
    await vi.advanceTimersByTimeAsync(500);
    await live.stop();
    expect(got()).toEqual({
      0: "0;0;0;",
      1000: "1000;1000;1000;",
      2000: "2000;2000;2000;",
      3000: "3000;3000;3000;",
    });
  });
});

describe("two reads of one queue at the same time", () => {
  const rows = [
    { first: "started first", ranFirst: 0, why: "its answer comes last, and changes nothing" },
    { first: "started last", ranFirst: 1, why: "as when the other one was redirected between nodes" },
  ];

  it.each(rows)("end in what Redis said last: the one that $first ran first, $why", async ({ ranFirst }) => {
    const { live, redis, change } = await openLive();
    redis.set("q", { depth: 0 });
    const opening = live.watch(["q"], { minIntervalMs: 50, refreshMs: 0 });
    redis.answer();
    const watch = await opening;
    const got = collect(watch, ({ depth }) => String(depth));
    await vi.advanceTimersByTimeAsync(100);

    const second = live.watch(["q"], { minIntervalMs: 50, refreshMs: 0 });
    change("q");
    await vi.advanceTimersByTimeAsync(1);
    expect(redis.asked).toBe(2);
    const answers: (() => void)[] = [];
    for (const [depth, index] of [
      [1, ranFirst],
      [2, 1 - ranFirst],
    ] as const) {
      redis.set("q", { depth });
      answers[index] = redis.take(answers.length === 0 ? index : 0);
      await vi.advanceTimersByTimeAsync(5);
    }
    answers[1 - ranFirst]?.();
    await vi.advanceTimersByTimeAsync(10);
    answers[ranFirst]?.();
    await second;
    await vi.advanceTimersByTimeAsync(1_000);
    await live.stop();
    expect(Object.values(got())).toEqual(["0", "2"]);
  });

  it("follow Redis's clock when it was set back between one read and the next", async () => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    redis.set("q", { depth: 1 });
    const watch = await live.watch(["q"], { minIntervalMs: 50, refreshMs: 0 });
    const got = collect(watch, ({ depth }) => String(depth));
    await vi.advanceTimersByTimeAsync(100);
    vi.spyOn(redis, "read").mockResolvedValue([snapshot("q", { depth: 2, measuredAtMs: now() - 3_600_000 })]);
    change("q");
    await vi.advanceTimersByTimeAsync(100);
    await live.stop();
    expect(got()).toEqual({ 0: "1", 100: "2" });
  });
});

describe("a process that stood still for 20 s", () => {
  /** Time passes and no timer fires, as while a process is stopped, or its machine suspended. */
  function standStill(ms: number, clocks: { readonly monotonic: boolean; readonly wall: boolean }) {
    const before = performance.now.bind(performance);
    if (clocks.monotonic) vi.spyOn(performance, "now").mockImplementation(() => before() + ms);
    if (clocks.wall) wallAheadMs = ms;
  }
  let wallAheadMs = 0;
  beforeEach(() => {
    wallAheadMs = 0;
  });
  const startedAtMs = Date.now();
  const wallClock = { epochMs: () => startedAtMs + wallAheadMs };
  const rows = [
    { why: "SIGSTOP: both clocks went on", clocks: { monotonic: true, wall: true } },
    { why: "a suspended machine: its monotonic clock stood still", clocks: { monotonic: false, wall: true } },
    { why: "its wall clock was set back meanwhile", clocks: { monotonic: true, wall: false } },
  ];

  it.each(rows)("reads a queue again before it pushes it: $why", async ({ clocks }) => {
    const { live, redis } = await openLive({ wallClock });
    redis.isQuick = true;
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: startMs });
    const watch = await live.watch(["q"], { minIntervalMs: 50, refreshMs: 1_000 });
    const pushes: string[] = [];
    void (async () => {
      for await (const [q] of watch) pushes.push(`${q?.depth} ${q?.stale ? "stale" : "fresh"}`);
    })();
    await vi.advanceTimersByTimeAsync(500);
    redis.set("q", { state: "EMPTY", depth: 0 });
    standStill(20_000, clocks);
    await vi.advanceTimersByTimeAsync(5_000);
    await live.stop();
    expect(pushes).toEqual(["1 fresh", "0 fresh"]);
  });

  it("does not push what a read returned that was under way", async () => {
    const { live, redis, change } = await openLive({ wallClock });
    const opening = live.watch(["q"], { minIntervalMs: 50, refreshMs: 250 });
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: startMs });
    redis.answer();
    const watch = await opening;
    const got = collect(watch, ({ depth }) => String(depth));
    await vi.advanceTimersByTimeAsync(200);
    change("q");
    await vi.advanceTimersByTimeAsync(1);
    redis.set("q", { state: "WAITING", depth: 2, oldestSinceMs: startMs });
    const answerOld = redis.take();
    redis.set("q", { state: "EMPTY", depth: 0 });
    redis.isQuick = true;
    standStill(20_000, { monotonic: true, wall: true });
    await vi.advanceTimersByTimeAsync(300);
    answerOld();
    await vi.advanceTimersByTimeAsync(1_000);
    await live.stop();
    expect(Object.values(got())).toEqual(["1", "0"]);
  });

  it("pushes its last reading as stale when Redis had been away before", async () => {
    const { live, redis, listener, feed } = await openLive({ wallClock });
    redis.isQuick = true;
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: startMs });
    const watch = await live.watch(["q"], { minIntervalMs: 50, refreshMs: 250 });
    const got = collect(watch, ({ depth, stale }) => `${depth}${stale ? " stale" : ""}`);
    await vi.advanceTimersByTimeAsync(100);
    feed.isConnected = false;
    listener().onDisconnected();
    standStill(20_000, { monotonic: true, wall: true });
    await vi.advanceTimersByTimeAsync(5_000);
    await live.stop();
    expect(Object.values(got())).toEqual(["1", "1 stale"]);
  });
});
