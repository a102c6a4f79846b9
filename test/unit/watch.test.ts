import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import type { Live, WatchRequest } from "../../src/live/live.ts";
import { createWatch, type Watch } from "../../src/live/watch.ts";
import { collect, now, openLive, type ScriptedRedis, snapshot, startMs } from "../support/live.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a watch of the queues w (a job waits) and e (none does)", () => {
  const rows: readonly Row[] = [
    {
      why: "nothing changes, and nothing is to be refreshed",
      request: { minIntervalMs: 100, refreshMs: 0 },
      pushes: { 0: "we" },
    },
    {
      why: "a queue with waiting jobs is refreshed, and nothing else",
      request: { minIntervalMs: 100, refreshMs: 250 },
      pushes: { 0: "we", 250: "w", 500: "w", 750: "w", 1000: "w" },
    },
    {
      why: "what changed is pushed at once when the last push is long ago",
      request: { minIntervalMs: 100, refreshMs: 0 },
      changes: { 300: "e", 700: "w" },
      pushes: { 0: "we", 300: "e", 700: "w" },
    },
    {
      why: "changes that come too soon wait, and share one push, in the order asked",
      request: { minIntervalMs: 100, refreshMs: 0 },
      changes: { 10: "e", 20: "e", 30: "w", 150: "w", 190: "e" },
      pushes: { 0: "we", 100: "we", 200: "we" },
    },
    {
      why: "a push of what changed does not put off the refresh of queues with waiting jobs",
      request: { minIntervalMs: 100, refreshMs: 400 },
      changes: { 200: "e" },
      pushes: { 0: "we", 200: "e", 400: "w", 800: "w" },
    },
    {
      why: "a refresh comes no sooner after another push than the interval allows",
      request: { minIntervalMs: 100, refreshMs: 250 },
      changes: { 240: "e" },
      pushes: { 0: "we", 240: "e", 340: "w", 590: "w", 840: "w" },
    },
    {
      why: "a refresh is no more frequent than pushes may be",
      request: { minIntervalMs: 400, refreshMs: 250 },
      pushes: { 0: "we", 400: "w", 800: "w" },
    },
    {
      why: "a change and the refresh that are due together are one push",
      request: { minIntervalMs: 100, refreshMs: 250 },
      changes: { 200: "e", 220: "e" },
      pushes: { 0: "we", 200: "e", 300: "we", 550: "w", 800: "w" },
    },
  ];

  for (const { why, request, changes = {}, pushes } of rows) {
    it(`pushes rightly with ${JSON.stringify(request)}: ${why}`, async () => {
      const control = createWatch({
        queues: ["w", "e"],
        ...request,
        catchUp: () => null,
        readAll: async () => {},
        latest: (queue) => snapshot(queue, queue === "w" ? { oldestSinceMs: startMs } : {}),
        onEnd() {},
      });
      const got = collect(control.watch);
      for (let atMs = 0; atMs <= 1_000; atMs += 10) {
        for (const [changeAtMs, queues] of Object.entries(changes)) {
          if (atMs - 10 < Number(changeAtMs) && Number(changeAtMs) <= atMs) {
            for (const queue of queues) control.changed(queue);
          }
        }
        await vi.advanceTimersByTimeAsync(atMs === 1_000 ? 0 : 10);
      }
      control.end();
      expect(got()).toEqual(pushes);
    });
  }
});

describe("a reader that is slow to ask", () => {
  it("gets one push with the newest of everything that changed meanwhile", async () => {
    let depth = 0;
    const control = createWatch({
      queues: ["a", "b", "c"],
      minIntervalMs: 100,
      refreshMs: 0,
      catchUp: () => null,
      readAll: async () => {},
      latest: (queue) => snapshot(queue, { depth }),
      onEnd() {},
    });
    await control.watch.next();
    for (depth = 1; depth <= 10_000; depth++) control.changed(depth % 2 === 0 ? "a" : "c");
    depth = 10_000;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await control.watch.next()).toMatchObject({
      value: [
        { queue: "a", depth: 10_000 },
        { queue: "c", depth: 10_000 },
      ],
    });
    const nothing = vi.fn();
    void control.watch.next().then(nothing);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(nothing).not.toHaveBeenCalled();
    control.end();
  });

  it("costs no timer meanwhile", async () => {
    const control = createWatch({
      queues: ["q"],
      minIntervalMs: 100,
      refreshMs: 250,
      catchUp: () => null,
      readAll: async () => {},
      latest: (queue) => snapshot(queue, { oldestSinceMs: startMs }),
      onEnd() {},
    });
    await control.watch.next();
    control.changed("q");
    expect(vi.getTimerCount()).toBe(0);
    control.end();
  });
});

describe("live", () => {
  it("leaves no timer behind when all watches have ended", async () => {
    const { live, redis, change } = await openLive();
    redis.set("q", { depth: 1, oldestSinceMs: startMs, changesAtMs: now() + 5_000 });
    const watches = [await watchOf(live, redis, 50), await watchOf(live, redis, 60_000)];
    for (const watch of watches) {
      await redis.answered(watch.next());
      void watch.next();
    }
    change("q");
    await vi.advanceTimersByTimeAsync(10);
    change("q");
    for (const watch of watches) await watch.return();
    redis.answer();
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(0);
    change("q");
    await vi.advanceTimersByTimeAsync(100_000);
    expect(redis.asked).toBe(0);
  });

  it("keeps nothing of a watch whose first state could not be read", async () => {
    const { live, redis, change } = await openLive();
    const opening = live.watch(["q"], { minIntervalMs: 50, refreshMs: 250 });
    redis.refuse(new Error("away"));
    await expect(opening).rejects.toThrow("away");
    expect(vi.getTimerCount()).toBe(0);
    change("q");
    await vi.advanceTimersByTimeAsync(1_000);
    expect(redis.asked).toBe(0);
  });

  it("does not push a state that was overtaken before the push was due", async () => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    const watch = await live.watch(["q"], { minIntervalMs: 5_000, refreshMs: 5_000 });
    const got = collect(watch, ({ depth }) => String(depth));
    await vi.advanceTimersByTimeAsync(100);
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    change("q");
    await vi.advanceTimersByTimeAsync(100);
    redis.set("q", { state: "WAITING", depth: 2, oldestSinceMs: now() });
    change("q");
    await vi.advanceTimersByTimeAsync(9_000);
    await live.stop();
    // Five seconds after the first push one is due: of how the queue stands then, not of how it stood at 0.1 s.
    expect(Object.values(got())).toEqual(["0", "2"]);
  });

  it("does not refresh a state that was overtaken before the refresh was due", async () => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    const watch = await live.watch(["q"], { minIntervalMs: 1_000, refreshMs: 1_000 });
    const got = collect(watch, ({ state }) => state);
    await vi.advanceTimersByTimeAsync(100);
    redis.set("q", { state: "EMPTY" });
    change("q");
    await vi.advanceTimersByTimeAsync(5_000);
    await live.stop();
    expect(Object.values(got())).toEqual(["WAITING", "EMPTY"]);
  });

  it("pushes how a queue stands when a push is due, also when another watch of it was pushed to before", async () => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    const seldom = await live.watch(["q"], { minIntervalMs: 4_000, refreshMs: 0 });
    const seldomer = await live.watch(["q"], { minIntervalMs: 5_000, refreshMs: 0 });
    const show = ({ depth }: QueueSnapshot) => String(depth);
    const got = [collect(seldom, show), collect(seldomer, show)];
    for (const [depth, afterMs] of [
      [1, 100],
      [2, 4_000],
    ] as const) {
      await vi.advanceTimersByTimeAsync(afterMs);
      redis.set("q", { state: "WAITING", depth, oldestSinceMs: startMs });
      change("q");
    }
    await vi.advanceTimersByTimeAsync(10_000);
    await live.stop();
    expect(got.map((pushes) => Object.values(pushes()))).toEqual([
      ["0", "1", "2"],
      ["0", "2"],
    ]);
  });

  const inFlight = { inFlight: 1, inFlightSinceMs: startMs };
  it.each<[why: string, request: Partial<WatchRequest>, change: Partial<QueueSnapshot>, pushes: number[]]>([
    ["a queue with no job is not refreshed", { refreshMs: 1_000 }, {}, [0]],
    ["a job was delivered", {}, inFlight, [0, 500]],
    ["a job in flight grows older", { refreshMs: 1_000 }, inFlight, [0, 500, 1_000, 2_000, 3_000]],
    [
      "how many are in flight is known, and not since when",
      {},
      { inFlight: 1, inFlightSinceMs: null },
      [0, 500],
    ],
    ["a job came and left, and nothing is counted", {}, {}, [0]],
    ["a job came and left, and is counted", { countedMs: 1_000 }, {}, [0, 500]],
    [
      "a job that is counted leaves the window of 1 s, a little late",
      { countedMs: 1_000, refreshMs: 250 },
      {},
      [0, 250, 500, 550, 750, 1_000, 1_250, 1_500, 1_750],
    ],
    ["also when it is refreshed seldom", { countedMs: 1_000, refreshMs: 1_500 }, {}, [0, 500, 1_500, 3_000]],
    [
      "a queue that is forgotten has no counts",
      { countedMs: 60_000, refreshMs: 1_000 },
      { state: "MISSING" },
      [0, 500],
    ],
  ])("pushes rightly what is not the head: %s", async (_why, request, rest, pushes) => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    const watch = await live.watch(["q"], { minIntervalMs: 50, refreshMs: 0, ...request });
    const got = collect(watch);
    await vi.advanceTimersByTimeAsync(500);
    redis.set("q", rest);
    change("q");
    await vi.advanceTimersByTimeAsync(2_900);
    await live.stop();
    expect(Object.keys(got()).map(Number)).toEqual(pushes);
  });

  it("pushes a queue again whose counts could not be read, and only to those that have counts", async () => {
    const { live, redis } = await openLive();
    redis.isQuick = true;
    const request = { minIntervalMs: 50, refreshMs: 0 };
    const counted = collect(await live.watch(["q"], { ...request, countedMs: 60_000 }));
    const other = collect(await live.watch(["q"], request));
    await vi.advanceTimersByTimeAsync(100);
    live.retryCounts("q");
    live.retryCounts("a queue without a subscriber");
    await vi.advanceTimersByTimeAsync(2_000);
    await live.stop();
    expect([Object.keys(counted()), Object.keys(other())]).toEqual([["0", "600"], ["0"]]);
  });

  it("pushes a queue again whose counts could not be read, also when it is read that long for another reason", async () => {
    const { live, redis } = await openLive();
    redis.isQuick = true;
    redis.set("q", { changesAtMs: now() + 1_000 });
    const counted = collect(await live.watch(["q"], { minIntervalMs: 50, refreshMs: 0, countedMs: 60_000 }));
    await vi.advanceTimersByTimeAsync(900);
    redis.isQuick = false;
    redis.set("q", { changesAtMs: null });
    await vi.advanceTimersByTimeAsync(200);
    expect(redis.asked).toBe(1);
    live.retryCounts("q");
    await vi.advanceTimersByTimeAsync(900);
    redis.isQuick = true;
    redis.answer();
    await vi.advanceTimersByTimeAsync(2_000);
    await live.stop();
    expect(Object.keys(counted())).toEqual(["0", "2500"]);
  });

  it("pushes changes at once to a fast watch that joins a slow one which is not due yet", async () => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    const slow = await live.watch(["q"], { minIntervalMs: 60_000, refreshMs: 0 });
    collect(slow);
    await vi.advanceTimersByTimeAsync(100);
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    change("q");
    await vi.advanceTimersByTimeAsync(100);
    const fast = await live.watch(["q"], { minIntervalMs: 50, refreshMs: 0 });
    const got = collect(fast, ({ depth }) => String(depth));
    await vi.advanceTimersByTimeAsync(100);
    redis.set("q", { state: "WAITING", depth: 2, oldestSinceMs: now() });
    change("q");
    await vi.advanceTimersByTimeAsync(200);
    await live.stop();
    expect(Object.values(got())).toEqual(["1", "2"]);
  });

  it("does not push a head as grown older that has gone, when another queue or a refresh brings the push", async () => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    redis.set("gone", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    redis.set("stays", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    const watch = await live.watch(["gone", "stays"], { minIntervalMs: 2_000, refreshMs: 2_000 });
    const got = collect(watch, ({ queue, state }) => `${queue} ${state}, `);
    await vi.advanceTimersByTimeAsync(500);
    redis.set("gone", { state: "EMPTY", depth: 0, oldestSinceMs: null });
    change("gone");
    redis.isQuick = false;
    await vi.advanceTimersByTimeAsync(1_600);
    // The refresh is due, and waits for the answer.
    expect(Object.keys(got())).toHaveLength(1);
    redis.isQuick = true;
    redis.answer();
    await vi.advanceTimersByTimeAsync(10);
    await live.stop();
    expect(Object.values(got())).toEqual(["gone WAITING, stays WAITING, ", "gone EMPTY, stays WAITING, "]);
  });

  it("reads a change once, even when a push is due before the timer that was set for it", async () => {
    const { live, redis, change } = await openLive();
    redis.isQuick = true;
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    const watch = await live.watch(["q"], { minIntervalMs: 50, refreshMs: 250 });
    await watch.next();
    await vi.advanceTimersByTimeAsync(1_000);
    redis.set("q", { state: "WAITING", depth: 2, oldestSinceMs: now() });
    const readsBefore = redis.reads;
    change("q");
    expect(await watch.next()).toMatchObject({ value: [{ depth: 2 }] });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(redis.reads - readsBefore).toBe(1);
    await live.stop();
  });

  it("reads anew after the feed has come back, whatever a read that was under way before may answer", async () => {
    const { live, redis, listener, feed } = await openLive();
    const watch = await watchOf(live, redis, 50);
    expect(await watch.next()).toMatchObject({ value: [{ depth: 0 }] });

    listener().onConnected();
    await vi.advanceTimersByTimeAsync(0);
    // A read is on its way; before it is answered the feed is lost, a job comes without a message, and the feed is back.
    expect(redis.asked).toBe(1);
    const before = redis.take();
    feed.isConnected = false;
    listener().onDisconnected();
    redis.set("q", { state: "WAITING", depth: 1, oldestSinceMs: now() });
    feed.isConnected = true;
    listener().onConnected();
    before();
    redis.isQuick = true;
    redis.answer();
    const pushed = watch.next();
    await vi.advanceTimersByTimeAsync(5_000);
    await live.stop();
    expect(await pushed).toMatchObject({ value: [{ depth: 1 }] });
  });
});

interface Row {
  readonly why: string;
  readonly request: { readonly minIntervalMs: number; readonly refreshMs: number };
  /** At which ms which queues change: one letter each. */
  readonly changes?: Readonly<Record<number, string>>;
  /** At which ms which queues are pushed. */
  readonly pushes: Readonly<Record<number, string>>;
}

async function watchOf(live: Live, redis: ScriptedRedis, minIntervalMs: number): Promise<Watch> {
  return redis.answered(live.watch(["q"], { minIntervalMs, refreshMs: 60_000 }));
}
