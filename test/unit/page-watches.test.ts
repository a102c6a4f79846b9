import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { CpuShare } from "../../src/core/cpu-share.ts";
import { AppError } from "../../src/core/errors.ts";
import type { QueuePage, QueuePageRequest } from "../../src/core/queue-page.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { createPageWatches } from "../../src/live/page-watches.ts";
import { snapshot } from "../support/live.ts";
import { silentLogger } from "../support/logger.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

const request: QueuePageRequest = {
  ...{ orderBy: "DEPTH", prefix: null, search: null, source: null, states: null, healths: null },
  ...{ reverse: false, first: 10, after: null, offset: 0, hasCounts: true, hasHealthCounts: true },
  ...{ throughput: ["ONE_MINUTE"], waitTime: [] },
};
const unavailable = new AppError("SERVICE_UNAVAILABLE", "Redis is away");

/** A share that is never used up, unless it is closed. */
function shareOf(client: string) {
  let begun = 0;
  let isClosed = false;
  const waiting: (() => void)[] = [];
  return {
    client,
    async begin<T>(work: () => T | Promise<T>): Promise<T> {
      if (isClosed) await new Promise<void>((resolve) => waiting.push(resolve));
      begun++;
      return work();
    },
    close() {
      isClosed = true;
    },
    open() {
      isClosed = false;
      for (const resolve of waiting.splice(0)) resolve();
    },
    /** How much work was begun in it since it was last asked. */
    begunOf() {
      const before = begun;
      begun = 0;
      return before;
    },
  };
}

/** One queue, whose depth the test sets; an Error in its place is what reading it throws. */
function open() {
  let depth: number | Error = 0;
  let rate = 0;
  let total = 3;
  let rest: Partial<QueueSnapshot> = {};
  let readMs = 0;
  const read = vi.fn(async (_: QueuePageRequest, share: Pick<CpuShare, "begin">): Promise<QueuePage> => {
    await share.begin(() => {});
    if (readMs > 0) await new Promise((resolve) => setTimeout(resolve, readMs));
    if (depth instanceof Error) throw depth;
    const throughput = { ONE_MINUTE: { enqueuedPerSecond: rate, dequeuedPerSecond: 0 } };
    const edges = [{ cursor: "c", node: snapshot("q", { depth, health: "SLOW", throughput, ...rest }) }];
    const byHealth = { OK: 2, SLOW: 1, FALLING_BEHIND: 0, STALLED: 0, UNKNOWN: 0 };
    const counts = { total, bySource: new Map([["events", total]]), byHealth };
    return { edges, hasMore: false, endCursor: "c", counts, measuredAtMs: performance.now(), omitted: 0 };
  });
  const watches = createPageWatches({ read, logger: silentLogger });
  return {
    ...{ read, watches },
    set(value: number | Error) {
      depth = value;
    },
    setRest(value: Partial<QueueSnapshot>) {
      rest = value;
    },
    setTotal(value: number) {
      total = value;
    },
    setRate(value: number) {
      rate = value;
    },
    /** From now on a reading takes so long. */
    slow(ms: number) {
      readMs = ms;
    },
    /** What a reader that takes everything at once has got so far, and when. */
    async collect(minIntervalMs = 1_000, share: CpuShare = shareOf("a client")) {
      const stream = await watches.watch(request, minIntervalMs, share);
      const pushes: [atMs: number, depth: string][] = [];
      const pages: QueuePage[] = [];
      const startedAtMs = performance.now();
      const ended = (async () => {
        for await (const page of stream) {
          pages.push(page);
          const { depth: shown, stale } = page.edges[0]?.node ?? expect.unreachable();
          pushes.push([performance.now() - startedAtMs, `${shown}${stale ? " stale" : ""}`]);
        }
      })();
      await vi.advanceTimersByTimeAsync(0);
      return { stream, pushes, pages, ended };
    },
  };
}

describe("a page that is watched", () => {
  test("is pushed at once, then when it is another one, at most once an interval", async () => {
    const opened = open();
    const { pushes } = await opened.collect();
    for (const depth of [1, 2, 3]) {
      opened.set(depth);
      await vi.advanceTimersByTimeAsync(100);
    }
    await vi.advanceTimersByTimeAsync(3_000);
    opened.set(4);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(pushes).toEqual([
      [0, "0"],
      [1_000, "3"],
      [4_000, "4"],
    ]);
  });

  test("is pushed when only its counts change, or what was counted of a queue", async () => {
    const opened = open();
    const { pages } = await opened.collect();
    opened.setTotal(4);
    await vi.advanceTimersByTimeAsync(3_000);
    opened.setRate(1.5);
    await vi.advanceTimersByTimeAsync(3_000);
    const shown = ({ counts, edges }: QueuePage) => [
      counts?.total,
      edges[0]?.node.throughput?.ONE_MINUTE?.enqueuedPerSecond,
    ];
    expect(pages.map(shown)).toEqual([
      [3, 0],
      [4, 0],
      [4, 1.5],
    ]);
  });

  test.each<readonly [change: Partial<QueueSnapshot>, pushes: number, why: string]>([
    [{ inFlight: 1, inFlightSinceMs: null }, 2, "a worker has taken the only job"],
    [{ inFlight: 1, inFlightSinceMs: 5 }, 4, "a job in flight grows older"],
    [{ inFlight: 1, inFlightSinceMs: 5, stale: true }, 2, "that is not known of a queue that is stale"],
    [{ overtaken: 1, inOrderSinceMs: 5 }, 2, "a job that came later was served"],
    [{ depthIsLowerBound: true }, 2, "more jobs may wait than were counted"],
    [{ clockSkewMs: 5 }, 2, "a producer's clock is ahead"],
    [{ measuredAtMs: 5 }, 1, "the time of a reading is no news"],
    [{ changesAtMs: 5 }, 1, "no client sees it"],
  ])("of which a reading has %j is pushed %i times: %s", async (change, pushes) => {
    const opened = open();
    const { pages } = await opened.collect();
    opened.setRest(change);
    await vi.advanceTimersByTimeAsync(3_000);
    expect(pages).toHaveLength(pushes);
  });

  test("is pushed at most once an interval also when one reading took long", async () => {
    const opened = open();
    const { pushes } = await opened.collect();
    opened.set(1);
    opened.slow(1_500);
    await vi.advanceTimersByTimeAsync(1_000);
    opened.slow(0);
    await vi.advanceTimersByTimeAsync(1_500);
    opened.set(2);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(pushes).toEqual([
      [0, "0"],
      [2_500, "1"],
      [3_500, "2"],
    ]);
  });

  test("is read once for all who watch it, and is the same object for them", async () => {
    const opened = open();
    const readers = [await opened.collect(), await opened.collect(), await opened.collect()];
    opened.read.mockClear();
    opened.set(1);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(opened.read).toHaveBeenCalledTimes(2);
    const [first, ...others] = readers.map(({ pages }) => pages.at(-1));
    expect(first?.edges[0]?.node.depth).toBe(1);
    for (const other of others) expect(other).toBe(first);
  });

  test("is computed in the share of one client that watches it, and waits while none has any left", async () => {
    const opened = open();
    const [busy, other] = [shareOf("busy"), shareOf("other")];
    const readers = [await opened.collect(1_000, busy), await opened.collect(1_000, other)];
    const depths = () => readers.map(({ pushes }) => pushes.at(-1)?.[1]);
    busy.begunOf();
    other.begunOf();
    opened.set(1);
    busy.close();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(depths(), "the other client's share is enough").toEqual(["1", "1"]);
    expect([busy.begunOf(), other.begunOf()]).toEqual([0, 1]);
    opened.set(2);
    other.close();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(depths()).toEqual(["1", "1"]);
    other.open();
    await vi.advanceTimersByTimeAsync(0);
    expect(depths()).toEqual(["2", "2"]);
  });

  test("is fresh for one who joins late, and for those who were there before", async () => {
    const opened = open();
    const early = await opened.collect(60_000);
    await vi.advanceTimersByTimeAsync(30_000);
    opened.set(1);
    const late = await opened.collect(60_000);
    opened.set(0);
    await vi.advanceTimersByTimeAsync(90_000);
    expect(early.pushes).toEqual([[0, "0"]]);
    expect(late.pushes).toEqual([
      [0, "1"],
      [90_000, "0"],
    ]);
  });

  test("skips what a slow reader was too slow for", async () => {
    const opened = open();
    const stream = await opened.watches.watch(request, 1_000, shareOf("a client"));
    for (const depth of [1, 2, 3]) {
      opened.set(depth);
      await vi.advanceTimersByTimeAsync(1_000);
    }
    const depthOf = async () => (await stream.next()).value?.edges[0]?.node.depth;
    expect(await depthOf()).toBe(3);
    const next = depthOf();
    opened.set(4);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await next).toBe(4);
  });

  test("is pushed as stale once while Redis does not answer, and fresh when it does", async () => {
    const opened = open();
    const { pushes, pages } = await opened.collect();
    opened.set(unavailable);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(pages.at(-1)?.edges[0]?.node.health).toBe("UNKNOWN");
    expect(pages.at(-1)?.counts).toMatchObject({ total: 3, byHealth: { OK: 0, SLOW: 0, UNKNOWN: 3 } });
    opened.set(0);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(pushes).toEqual([
      [0, "0"],
      [1_000, "0 stale"],
      [11_000, "0"],
    ]);
  });

  test("is not watched when it cannot be read at first", async () => {
    const opened = open();
    opened.set(unavailable);
    await expect(opened.watches.watch(request, 1_000, shareOf("a client"))).rejects.toBe(unavailable);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("is read no more when the last reader has left, or the server stops", async () => {
    const opened = open();
    const [left, stopped] = [await opened.collect(), await opened.collect()];
    await left.stream.return?.();
    await left.ended;
    expect(vi.getTimerCount()).toBe(1);
    await opened.watches.stop();
    await stopped.ended;
    expect(vi.getTimerCount()).toBe(0);
    const late = await opened.collect();
    await late.ended;
    expect(vi.getTimerCount()).toBe(0);
  });
});
