import { expect, it, vi } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { QueueSnapshot, SnapshotParts } from "../../src/core/snapshot.ts";
import { createSharedCounts } from "../../src/live/shared-counts.ts";

const parts = { throughput: new Set(["ONE_MINUTE"] as const), waitTime: new Set([]) };

it("reads once for all who are pushed the same state of a queue, whichever snapshot of it", async () => {
  const { shared, read } = open();
  const pushed = Array.from({ length: 100 }, (_, i) => snapshot("q", { depth: 1, latencyMs: i }));
  const answers = await Promise.all(pushed.map((each) => shared.withCounts([each], parts, 500)));
  expect(read).toHaveBeenCalledTimes(1);
  // What is counted is shared; how long the head has waited is each push's own.
  expect(answers).toEqual(pushed.map((each) => [{ ...each, throughput: counts(1), waitTime: null }]));
});

it.each<[why: string, change: Partial<QueueSnapshot>, partsThen: typeof parts | object, afterMs: number]>([
  ["jobs came", { depth: 2 }, parts, 0],
  ["the head is another one", { oldestSinceMs: 5 }, parts, 0],
  ["it was forgotten", { state: "MISSING" }, parts, 0],
  ["a job was lost", { lost: 1 }, parts, 0],
  ["it was read that long ago", {}, parts, 500],
  ["a change of it was received since", { changedAtMs: 1 }, parts, 2],
  ["another window is asked for", {}, { ...parts, waitTime: new Set(["ONE_MINUTE"]) }, 0],
])("reads again when %s", async (_why, change, partsThen, afterMs) => {
  const { shared, read, clock } = open();
  const first = snapshot("q", { depth: 1 });
  await shared.withCounts([first], parts, 500);
  clock.ms += afterMs;
  const [again] = await shared.withCounts([{ ...first, ...change }], partsThen as typeof parts, 500);
  expect(read).toHaveBeenCalledTimes(2);
  expect(again?.throughput).toEqual(counts(2));
});

it("reads nothing for a stale snapshot", async () => {
  const { shared, read } = open();
  const last = snapshot("q", { stale: true });
  expect(await shared.withCounts([last], parts, 500)).toEqual([
    { ...last, throughput: null, waitTime: null },
  ]);
  expect(read).not.toHaveBeenCalled();
});

it("does not keep a failure, and does not pass it off as a queue whose source reports no counts", async () => {
  const { shared, read, onUnavailable } = open();
  read.mockRejectedValueOnce(new AppError("SERVICE_UNAVAILABLE", "away"));
  const failed = await shared.withCounts([snapshot("q"), snapshot("other")], parts, 500);
  expect(failed).toMatchObject([{ throughput: {}, waitTime: {} }, { throughput: counts(2) }]);
  expect(failed[0]?.throughput).toEqual({});
  expect(onUnavailable.mock.calls).toEqual([["q"]]);
  expect(await shared.withCounts([snapshot("q")], parts, 500)).toMatchObject([{ throughput: counts(3) }]);
});

/** Each read counts more than the one before. */
function open() {
  const clock = { ms: 0, now: () => clock.ms };
  let reads = 0;
  const read = vi.fn(async (queues: readonly string[], _parts: SnapshotParts) => {
    reads = read.mock.calls.length;
    return queues.map((queue) => snapshot(queue, { throughput: counts(reads), waitTime: null }));
  });
  const onUnavailable = vi.fn();
  return { shared: createSharedCounts({ read, onUnavailable, clock }), read, clock, onUnavailable };
}

function counts(perSecond: number) {
  return { ONE_MINUTE: { enqueuedPerSecond: perSecond, dequeuedPerSecond: 0 } };
}

function snapshot(queue: string, rest: Partial<QueueSnapshot> = {}): QueueSnapshot {
  return {
    queue,
    source: "events",
    state: "WAITING",
    oldestSinceMs: 0,
    latencyMs: 0,
    depth: 0,
    scheduled: 0,
    lost: 0,
    accuracy: "EXACT",
    measuredAtMs: 0,
    stale: false,
    changesAtMs: null,
    clockSkewMs: null,
    throughput: {},
    waitTime: {},
    ...rest,
  };
}
