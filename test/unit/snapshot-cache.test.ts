import { describe, expect, it, vi } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { QueueSnapshot, SnapshotParts } from "../../src/core/snapshot.ts";
import type { ChangeFeedListener } from "../../src/live/change-feed.ts";
import { createSnapshotCache } from "../../src/live/snapshot-cache.ts";

const parts: SnapshotParts = {
  depth: true,
  scheduled: false,
  lost: false,
  throughput: new Set(),
  waitTime: new Set(),
};

type Cache = ReturnType<typeof open>;

describe("a snapshot that was read is", () => {
  it.each<[why: string, isUsedAgain: boolean, between: (cache: Cache) => void, then?: SnapshotParts]>([
    ["used again at once", true, () => {}],
    ["used again when it is as old as allowed", true, ({ pass }) => pass(100)],
    ["read again when it is older", false, ({ pass }) => pass(101)],
    ["read again when it is much older", false, ({ pass }) => pass(1_000_000)],
    ["read again when its queue has changed", false, ({ listener }) => listener.onChange("a")],
    ["used again when another queue has changed", true, ({ listener }) => listener.onChange("b")],
    ["read again when this process has changed its queue", false, ({ cache }) => cache.drop(["a"])],
    ["read again when all are forgotten, as when a clock was set", false, ({ cache }) => cache.clear()],
    ["read again while changes are not received", false, ({ lose }) => lose("feed")],
    [
      "read again after changes were not received for a moment",
      false,
      ({ listener }) => listener.onDisconnected(),
    ],
    ["read again when the feed has connected anew", false, ({ listener }) => listener.onConnected()],
    ["read again while a node of a cluster is away", false, ({ lose }) => lose("node")],
    ["read again when other parts are asked for", false, () => {}, { ...parts, lost: true }],
    ["read again when a scheduled job is due", false, ({ pass }) => pass(50)],
  ])("%s", async (why, isUsedAgain, between, then = parts) => {
    const opened = open(why.includes("is due") ? { changesAtMs: 1_050 } : {});
    const [first] = await opened.cache.read(["a"], parts);
    between(opened);
    const [second] = await opened.cache.read(["a"], then);
    expect(opened.read).toHaveBeenCalledTimes(isUsedAgain ? 1 : 2);
    expect(second === first).toBe(isUsedAgain);
  });

  it("used again beside others that are read, each in its place", async () => {
    const { cache, read } = open();
    const [b] = await cache.read(["b"], parts);
    const all = await cache.read(["a", "b", "c", "a"], parts);
    expect(all.map(({ queue }) => queue)).toEqual(["a", "b", "c", "a"]);
    expect(all[1]).toBe(b);
    expect(read.mock.calls.map(([queues]) => queues)).toEqual([["b"], ["a", "c"]]);
  });

  it("used again from one generation to the next, and not for longer", async () => {
    const { cache, read, pass } = open();
    pass(90);
    await cache.read(["a"], parts);
    pass(90);
    await cache.read(["a"], parts);
    expect(read).toHaveBeenCalledTimes(1);
    pass(20);
    await cache.read(["a"], parts);
    expect(read).toHaveBeenCalledTimes(2);
  });
});

describe("a read that is under way", () => {
  it("is joined", async () => {
    const { cache, read } = open();
    await Promise.all([cache.read(["a"], parts), cache.read(["a"], parts)]);
    expect(read).toHaveBeenCalledTimes(1);
  });

  it("is neither joined nor kept when a change was received since it began", async () => {
    const { cache, read, listener } = open();
    const before = cache.read(["a"], parts);
    listener.onChange("a");
    const after = cache.read(["a"], parts);
    expect(read).toHaveBeenCalledTimes(2);
    expect((await cache.read(["a"], parts))[0]).toBe((await after)[0]);
    await before;
  });

  it("fails all who have joined it, and is not kept", async () => {
    const { cache, read } = open();
    const away = new AppError("SERVICE_UNAVAILABLE", "Redis does not answer");
    read.mockRejectedValueOnce(away);
    const both = await Promise.allSettled([cache.read(["a"], parts), cache.read(["a"], parts)]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await cache.read(["a"], parts)).toMatchObject([{ queue: "a" }]);
  });
});

it("reads every time when it is switched off", async () => {
  const { cache, read } = open({}, 0);
  await cache.read(["a"], parts);
  await cache.read(["a"], parts);
  expect(read).toHaveBeenCalledTimes(2);
});

function open(change: Partial<QueueSnapshot> = {}, maxAgeMs = 100) {
  let nowMs = 1_000;
  let isWhole = true;
  let listener: ChangeFeedListener | undefined;
  const feed = {
    isConnected: true,
    listen(added: ChangeFeedListener) {
      listener = added;
    },
  };
  const read = vi.fn(async (queues: readonly string[], _parts: SnapshotParts) =>
    queues.map((queue) => ({ queue, measuredAtMs: nowMs, changesAtMs: null, ...change }) as QueueSnapshot),
  );
  return {
    cache: createSnapshotCache({
      feed,
      read,
      maxAgeMs,
      isWhole: () => isWhole,
      clock: { now: () => nowMs },
    }),
    read,
    listener: listener as unknown as ChangeFeedListener,
    pass(ms: number) {
      nowMs += ms;
    },
    lose(what: "feed" | "node") {
      if (what === "feed") feed.isConnected = false;
      else isWhole = false;
    },
  };
}
