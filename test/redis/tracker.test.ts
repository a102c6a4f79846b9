import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import { waitBoundsMs } from "../../src/core/snapshot.ts";
import { keysWith, uniquePrefix } from "../support/redis.ts";
import { allParts, openTracker, type TestTracker } from "../support/tracker.ts";

const start = 1_790_000_000_000;
let now = start;
let opened: TestTracker;

beforeEach(async () => {
  now = start;
  opened = await openTracker(inject("redisUrl"), {
    now: () => now,
    eventWindowMs: 300_000,
    maxWaitMs: 86_400_000,
  });
});
afterEach(() => opened[Symbol.asyncDispose]());

function event(type: QueueEventType, jobId: string, rest: Partial<QueueEvent> = {}): QueueEvent {
  return { type, queue: "q", jobId, attempt: 0, atMs: null, availableAtMs: null, ...rest };
}
const record = (events: readonly QueueEvent[], batchId: string | null = null) =>
  opened.tracker.record(events, batchId);
async function snapshot(queue = "q") {
  const [read] = await opened.tracker.read([queue], allParts);
  if (read === undefined) throw new Error("one queue was asked for");
  return read;
}

describe("jobs that were overtaken", () => {
  let jobs = 0;
  /** One job comes and goes each second, and waits for so long. */
  async function serve(seconds: number, waitMs = 1_000): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      now += 1_000;
      const jobId = `served ${jobs++}`;
      await record([event("ENQUEUED", jobId, { atMs: now - waitMs }), event("DEQUEUED", jobId)]);
    }
  }
  /** Whatever a test does after this, a job `orphan` came when a minute had been served, and jobs came and went after it. */
  async function leaveBehind(seconds: number): Promise<void> {
    await serve(61);
    await record([event("ENQUEUED", "orphan")]);
    await serve(seconds);
  }
  const orphanedFor = (seconds: number) => ({ latencyMs: seconds * 1_000, state: "WAITING" });

  it("are those that came before all that were served for a minute or longer", async () => {
    await leaveBehind(130);
    await record([event("ENQUEUED", "next")]);
    now += 4_000;
    expect(await snapshot()).toMatchObject({
      ...orphanedFor(134),
      depth: 2,
      overtaken: 1,
      inOrderSinceMs: now - 4_000,
    });
  });

  it("leave no job that waits in order when they are the only ones", async () => {
    await leaveBehind(130);
    expect(await snapshot()).toMatchObject({ ...orphanedFor(130), overtaken: 1, inOrderSinceMs: null });
  });

  it("stay overtaken through a night without jobs, and in a tracker that starts later", async () => {
    await leaveBehind(130);
    now += 36_000_000;
    expect(await snapshot()).toMatchObject({ overtaken: 1, inOrderSinceMs: null });
    const { prefix } = opened;
    await using later = await openTracker(inject("redisUrl"), {
      now: () => now,
      maxWaitMs: 86_400_000,
      prefix,
    });
    const [read] = await later.tracker.read(["q"], allParts);
    expect(read).toMatchObject({ overtaken: 1, inOrderSinceMs: null });
  });

  it("are counted, and the oldest of the others is the one that is in order", async () => {
    await leaveBehind(20);
    await record([event("ENQUEUED", "second")]);
    await serve(130);
    await record([event("ENQUEUED", "next", { atMs: now - 500 })]);
    expect(await snapshot()).toMatchObject({ ...orphanedFor(150), overtaken: 2, inOrderSinceMs: now - 500 });
  });

  it("are none any more when they left", async () => {
    await leaveBehind(130);
    await record([event("REMOVED", "orphan")]);
    expect(await snapshot()).toMatchObject({ state: "EMPTY", overtaken: 0, inOrderSinceMs: null });
  });

  it.each<[why: string, run: () => Promise<unknown>]>([
    ["less than a minute is no proof: their dequeue may be recorded late", () => leaveBehind(59)],
    [
      "two jobs are no proof, for as long as it takes",
      async () => {
        await record([event("ENQUEUED", "orphan")]);
        for (let i = 0; i < 2; i++) {
          now += 600_000;
          await serve(1);
        }
      },
    ],
    [
      "they are served, if late: behind a backlog each job is older than the jobs that come",
      async () => {
        for (let i = 0; i < 300; i++)
          await record([event("ENQUEUED", `${i}`, { atMs: start - 400_000 + i })]);
        await record([event("ENQUEUED", "last")]);
        for (let i = 0; i < 300; i++) {
          now += 1_000;
          await record([event("DEQUEUED", `${i}`)]);
        }
      },
    ],
    [
      "one batch took all others at once, and nothing has been taken since",
      async () => {
        const others = Array.from({ length: 100 }, (_, i) => `${i}`);
        await record([event("ENQUEUED", "first")]);
        now += 100_000;
        await record(others.flatMap((id) => [event("ENQUEUED", id), event("DEQUEUED", id)]));
        now += 600_000;
      },
    ],
    [
      "a job as old as they are was served in the last minute: they only have a low priority",
      async () => {
        await record([event("ENQUEUED", "low 1", { atMs: start - 10_000 }), event("ENQUEUED", "low 2")]);
        await serve(130);
        await record([event("DEQUEUED", "low 1")]);
        await serve(10);
      },
    ],
    [
      "nothing is known of what was dequeued before it was enqueued",
      async () => {
        await record([event("ENQUEUED", "first")]);
        for (let i = 0; i < 130; i++) {
          now += 1_000;
          await record([event("DEQUEUED", `unknown ${i}`)]);
        }
      },
    ],
    [
      "a scheduled job waits only since it is due",
      async () => {
        await record([event("ENQUEUED", "later", { availableAtMs: start + 129_000 })]);
        await serve(130);
      },
    ],
    [
      "jobs that were removed overtook no other",
      async () => {
        await record([event("ENQUEUED", "first")]);
        for (let i = 0; i < 130; i++) {
          now += 1_000;
          await record([event("ENQUEUED", `${i}`), event("REMOVED", `${i}`)]);
        }
      },
    ],
    [
      "the clock of Redis was set back by an hour: what was served by then proves nothing of a job that comes now",
      async () => {
        await serve(200);
        now -= 3_600_000;
        await record([event("ENQUEUED", "first")]);
        await serve(3);
      },
    ],
  ])("are none, since %s", async (_, run) => {
    await run();
    const read = await snapshot();
    expect(read).toMatchObject({ state: "WAITING", overtaken: 0, inOrderSinceMs: read.oldestSinceMs });
  });

  it("are not known where the head is not", async () => {
    expect(await snapshot()).not.toHaveProperty("overtaken");
  });
});

describe("a queue known from events", () => {
  it("is MISSING and not EXACT before its first event", async () => {
    expect(await snapshot()).toMatchObject({
      state: "MISSING",
      source: null,
      ...{ latencyMs: null, depth: null, scheduled: null },
      accuracy: "UNKNOWN",
    });
  });

  it("reports the age of the head, and how many wait", async () => {
    await record([
      event("ENQUEUED", "a", { atMs: start - 5_000 }),
      event("ENQUEUED", "b", { atMs: start - 2_000 }),
    ]);
    now += 1_000;
    expect(await snapshot()).toMatchObject({
      source: "events",
      state: "WAITING",
      latencyMs: 6_000,
      oldestSinceMs: start - 5_000,
      depth: 2,
      scheduled: 0,
      accuracy: "EXACT",
      measuredAtMs: start + 1_000,
      stale: false,
    });
  });

  it("is EMPTY with latency 0 when its last job was dequeued", async () => {
    await record([event("ENQUEUED", "a"), event("DEQUEUED", "a")]);
    expect(await snapshot()).toMatchObject({ state: "EMPTY", latencyMs: 0, oldestSinceMs: null, depth: 0 });
  });

  it("does not count a scheduled job as waiting before it is claimable", async () => {
    await record([event("ENQUEUED", "a", { availableAtMs: start + 10_000 })]);
    expect(await snapshot()).toMatchObject({
      state: "EMPTY",
      depth: 0,
      scheduled: 1,
      changesAtMs: start + 10_000,
    });
    now += 12_000;
    expect(await snapshot()).toMatchObject({ state: "WAITING", depth: 1, scheduled: 0, latencyMs: 2_000 });
  });

  it("clamps a time in the future to now", async () => {
    await record([event("ENQUEUED", "a", { atMs: start + 60_000 })]);
    expect(await snapshot()).toMatchObject({ state: "WAITING", latencyMs: 0, oldestSinceMs: start });
  });

  it("counts a wait time also when the dequeue arrives before the enqueue", async () => {
    expect(await record([event("DEQUEUED", "a", { atMs: start - 1_000 })])).toEqual({
      accepted: 1,
      duplicates: 0,
      early: 1,
      expired: 0,
    });
    expect(await record([event("ENQUEUED", "a", { atMs: start - 4_000 })])).toMatchObject({
      accepted: 1,
      early: 0,
      expired: 0,
    });
    const read = await snapshot();
    expect(read).toMatchObject({ state: "EMPTY", depth: 0 });
    expect(read.waitTime?.FIVE_MINUTES).toMatchObject({ count: 1, mean: 3, max: 3 });
    expect(read.throughput?.ONE_MINUTE).toEqual({ enqueuedPerSecond: 1 / 60, dequeuedPerSecond: 1 / 60 });
  });

  it("takes a retry for another stay in the queue, and a repeated event for nothing", async () => {
    await record([event("ENQUEUED", "a"), event("DEQUEUED", "a")]);
    expect(await record([event("ENQUEUED", "a"), event("ENQUEUED", "a", { attempt: 1 })])).toEqual({
      accepted: 1,
      duplicates: 1,
      early: 0,
      expired: 0,
    });
    expect(await snapshot()).toMatchObject({ depth: 1 });
  });

  it("distinguishes jobs whose ids look like another job's attempt", async () => {
    await record([
      event("ENQUEUED", "1:a"),
      event("ENQUEUED", "a", { attempt: 1 }),
      event("ENQUEUED", "generation"),
    ]);
    expect(await snapshot()).toMatchObject({ depth: 3 });
  });

  it("drops a tombstone after the event window, so that the same identity may come again", async () => {
    await record([event("ENQUEUED", "a"), event("DEQUEUED", "a")]);
    now += 299_999;
    expect(await record([event("ENQUEUED", "a")])).toMatchObject({ duplicates: 1 });
    now += 2;
    expect(await record([event("ENQUEUED", "a")])).toMatchObject({ accepted: 1 });
  });

  it("drops a job that waited longer than MAX_WAIT, from what is read at once and from what is kept at the next event", async () => {
    await record([event("ENQUEUED", "ghost"), event("ENQUEUED", "b", { atMs: start })]);
    now += 86_400_000;
    expect(await snapshot()).toMatchObject({ state: "WAITING", depth: 2, changesAtMs: now + 1 });
    now += 1;
    expect(await snapshot()).toMatchObject({ state: "EMPTY", depth: 0, latencyMs: 0 });
    await record([event("ENQUEUED", "c")]);
    expect(await opened.redis.zcard(opened.keys.waiting("q"))).toBe(1);
    expect(await opened.redis.hget(opened.keys.state("q"), "lost")).toBe("2");
    // One was not lost after all: its dequeue arrives late, and counts.
    await record([event("DEQUEUED", "ghost")]);
    expect(await opened.redis.hget(opened.keys.state("q"), "lost")).toBe("1");
  });

  it("counts each dequeued job by how long it waited, a wait of just a bound below it, and only when asked", async () => {
    const longest = waitBoundsMs.at(-1)!;
    const waits = [0, ...waitBoundsMs.flatMap((bound) => [bound, bound + 1])].toReversed();
    await record(
      waits.flatMap((waitMs, i) => [
        event("ENQUEUED", `${i}`, { atMs: start - waitMs }),
        event("DEQUEUED", `${i}`),
      ]),
    );
    const [read] = await opened.tracker.read(["q"], { ...allParts, totals: true });
    expect(read?.totals).toEqual({
      ...{ enqueued: waits.length, dequeued: waits.length, removed: 0, lost: 0 },
      waitedMs: waits.reduce((sum, waitMs) => sum + waitMs, 0),
      // 0 and the bound itself; one more than a bound and the next bound; one more than the last.
      waits: [...waitBoundsMs.map(() => 2), 1],
    });
    expect(longest).toBeGreaterThanOrEqual(12 * 3_600_000);
    expect(await snapshot()).not.toHaveProperty("totals");
  });

  it("reports totals that never fall: a job was removed or lost though it turns out to have been dequeued", async () => {
    const totals = async () => {
      const [read] = await opened.tracker.read(["q"], { ...allParts, totals: true });
      return { net: read?.lost, ...read?.totals };
    };
    await record([event("ENQUEUED", "ghost"), event("ENQUEUED", "a"), event("REMOVED", "a")]);
    expect(await totals()).toMatchObject({ enqueued: 2, dequeued: 0, removed: 1, lost: 0 });
    await record([event("DEQUEUED", "a")]);
    expect(await totals()).toMatchObject({ enqueued: 2, dequeued: 1, removed: 1, lost: 0 });
    now += 86_400_001;
    await record([event("ENQUEUED", "b")]);
    expect(await totals()).toMatchObject({ net: 1, enqueued: 3, dequeued: 1, removed: 1, lost: 1 });
    await record([event("DEQUEUED", "ghost")]);
    expect(await totals()).toMatchObject({ net: 0, enqueued: 3, dequeued: 2, removed: 1, lost: 1 });
  });

  it("answers a batch that is sent again as it did first, and changes nothing", async () => {
    const batch = [event("ENQUEUED", "a"), event("DEQUEUED", "b")];
    const first = await record(batch, "batch-1");
    expect(first).toEqual({ accepted: 2, duplicates: 0, early: 1, expired: 0 });
    now += 1_000;
    const before = await snapshot();
    expect(await record(batch, "batch-1")).toEqual(first);
    expect(await snapshot()).toEqual(before);
  });

  it("refuses another batch with the same id, rather than losing it without a word", async () => {
    await record([event("ENQUEUED", "a")], "batch-1");
    await expect(record([event("ENQUEUED", "b")], "batch-1")).rejects.toMatchObject({
      code: "BAD_USER_INPUT",
    });
  });

  it("folds thousands of events of one queue in one call", async () => {
    const many = Array.from({ length: 5_000 }, (_, i) => event("ENQUEUED", `job-${i}`, { atMs: start - i }));
    expect(await record(many)).toEqual({ accepted: 5_000, duplicates: 0, early: 0, expired: 0 });
    expect(await snapshot()).toMatchObject({ depth: 5_000, latencyMs: 4_999 });
    expect(await record(many.map((each) => ({ ...each, type: "DEQUEUED" as const })))).toMatchObject({
      accepted: 5_000,
    });
    expect(await snapshot()).toMatchObject({ depth: 0, state: "EMPTY" });
  });

  it("is MISSING again when it was forgotten, and only how often that was stays, for two days", async () => {
    const { redis, keys, tracker } = opened;
    await record([event("ENQUEUED", "a"), event("DEQUEUED", "b")], "batch");
    expect(await tracker.forget("q")).toBe(true);
    expect(await tracker.forget("q")).toBe(false);
    expect(await snapshot()).toMatchObject({ state: "MISSING" });
    expect(await redis.exists(keys.waiting("q"), keys.state("q"), keys.recent("q"))).toBe(0);
    const [left, ...others] = await keysWith(redis, `${opened.prefix}:`);
    expect(others).toEqual([]);
    expect(keys.departed("q")).toContain(left);
    expect(Object.keys(await redis.hgetall(left!)).sort()).toEqual(["forgotten", "heardUntil"]);
    expect(await redis.pttl(left!)).toBeGreaterThan(86_400_000);
    expect(await tracker.list({ limit: 10 })).toEqual([]);
    // What was recorded before counts no more, neither as a tombstone nor as a batch.
    expect(await record([event("DEQUEUED", "b")], "batch")).toMatchObject({ accepted: 1, early: 1 });
  });

  it.each([
    {
      from: 300_000,
      to: 60_000,
      after: 2_000,
      why: "tombstones that a longer window keeps are still young",
    },
    { from: 1_000, to: 300_000, after: 4_000, why: "the memory of a shorter window must not end too soon" },
  ])("remembers tombstones when EVENT_WINDOW is changed from $from to $to ms: $why", async (row) => {
    const prefix = uniquePrefix();
    const options = { now: () => now, maxWaitMs: 86_400_000, prefix };
    await using before = await openTracker(inject("redisUrl"), { ...options, eventWindowMs: row.from });
    await using after = await openTracker(inject("redisUrl"), { ...options, eventWindowMs: row.to });
    await before.tracker.record([event("DEQUEUED", "a")], null);
    if (row.from < row.to) await after.tracker.record([event("DEQUEUED", "b")], null);
    now += row.after;
    await after.tracker.record([event("ENQUEUED", row.from < row.to ? "b" : "a")], null);
    expect(await after.tracker.read(["q"], allParts)).toMatchObject([{ state: "EMPTY", depth: 0 }]);
    // A key that is about to expire would forget them all the same.
    for (const key of after.keys.departed("q")) {
      const ttl = await after.redis.pttl(key);
      if (ttl > 0) expect(ttl).toBeGreaterThan(row.to);
    }
  });

  it("is listed when it is recorded to while it is forgotten", async () => {
    for (let round = 0; round < 20; round++) {
      await record([event("ENQUEUED", `a${round}`)]);
      await Promise.all([opened.tracker.forget("q"), record([event("ENQUEUED", `b${round}`)])]);
      const { state } = await snapshot();
      expect(await opened.tracker.list({ limit: 10 })).toEqual(state === "MISSING" ? [] : ["q"]);
    }
  });
});
