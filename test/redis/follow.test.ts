import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import { LeaseLostError } from "../../src/core/lease.ts";
import type { FollowedEvent, FollowedKind, FollowedQueue, RepairStep } from "../../src/core/log-following.ts";
import { waitBoundsMs } from "../../src/core/snapshot.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { allParts, openTracker, type TestTracker } from "../support/tracker.ts";

const start = 1_790_000_000_000;
/** The job system's clock is behind Redis's by this much. */
const behindMs = 7_000;
let elapsed = 0;
let opened: TestTracker;

beforeEach(async () => {
  elapsed = 0;
  vi.spyOn(monotonicClock, "now").mockImplementation(() => 5_000_000 + elapsed);
  opened = await openTracker(inject("redisUrl"), { now: () => start + elapsed });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await opened[Symbol.asyncDispose]();
});

const sourceNow = () => start + elapsed - behindMs;
/** What happened `agoMs` ago; scheduled for as long from now, unless said otherwise. */
const event = (kind: FollowedKind, jobId: string, agoMs = 0, inMs = agoMs): FollowedEvent => ({
  kind,
  jobId,
  atMs: sourceNow() - agoMs,
  availableAtMs: kind === "SCHEDULED" ? sourceNow() + inMs : null,
});
function followedQueue(from: string | null, to: string, rest: Partial<FollowedQueue> = {}): FollowedQueue {
  return {
    source: "bullmq",
    queue: "mail",
    fromCursor: from,
    toCursor: to,
    events: [],
    paused: null,
    sourceNowMs: sourceNow(),
    readAtMs: monotonicClock.now(),
    uncertaintyMs: 0,
    freshForMs: 6_000,
    repair: null,
    expected: [],
    missedUntilMs: null,
    clockSkewMs: null,
    ...rest,
  };
}
const step = (rest: Partial<RepairStep> = {}): RepairStep => {
  return { token: "t", begin: null, present: [], sweepFrom: null, ...rest };
};
async function totals() {
  const [read] = await opened.tracker.read(["bullmq/mail"], { ...allParts, totals: true });
  return read?.totals;
}
const follow = (...args: Parameters<typeof followedQueue>) => opened.tracker.follow(followedQueue(...args));
async function snapshot() {
  const [read] = await opened.tracker.read(["bullmq/mail"], allParts);
  if (read === undefined) throw new Error("one queue was asked for");
  return read;
}

describe("a queue whose log is followed", () => {
  it("is counted by its source's clock, as it is read by Redis's", async () => {
    await follow(null, "1", { events: [event("ENQUEUED", "a", 3_000), event("SCHEDULED", "b", 0, 2_000)] });
    expect(await snapshot()).toMatchObject({
      source: "bullmq",
      state: "WAITING",
      accuracy: "EXACT",
      oldestSinceMs: start - 3_000,
      latencyMs: 3_000,
      depth: 1,
      scheduled: 1,
      changesAtMs: start + 2_000,
    });
    await follow("1", "2", { events: [event("DEQUEUED", "a", 1_000)], paused: true });
    const read = await snapshot();
    expect(read).toMatchObject({ state: "PAUSED", depth: 0, oldestSinceMs: null });
    expect(read.waitTime?.FIVE_MINUTES).toMatchObject({ count: 1, mean: 2, max: 2 });
    expect(await opened.tracker.list({ limit: 10 })).toEqual(["bullmq/mail"]);
    expect(await opened.tracker.cursors("bullmq")).toEqual(
      new Map([["mail", { cursor: "2", repairing: false }]]),
    );
  });

  it("is counted since it is known, each entry of the log once", async () => {
    const first = followedQueue(null, "1", {
      events: [event("ENQUEUED", "a", 3_000), event("ENQUEUED", "b", 0)],
    });
    await opened.tracker.follow(first);
    await opened.tracker.follow(first);
    await follow("1", "2", { events: [event("DEQUEUED", "a", 1_000), event("REMOVED", "b")] });
    const counted = { enqueued: 2, dequeued: 1, removed: 1, lost: null, waitedMs: 2_000 };
    expect(await totals()).toMatchObject(counted);
    expect((await totals())?.waits).toEqual([...waitBoundsMs, 0].map((ms) => Number(ms === 2_500)));
  });

  it("changes nothing when it is reported again, or from elsewhere", async () => {
    const again = followedQueue(null, "5", { events: [event("ENQUEUED", "a"), event("DEQUEUED", "b")] });
    expect(await opened.tracker.follow(again)).toMatchObject({
      applied: true,
      cursor: "5",
      jobs: 1,
      head: "a",
    });
    for (const other of [again, followedQueue("4", "6", { events: again.events })])
      expect(await opened.tracker.follow(other)).toMatchObject({ applied: false, cursor: "5" });
    expect((await snapshot()).throughput?.ONE_MINUTE).toEqual({
      enqueuedPerSecond: 1 / 60,
      dequeuedPerSecond: 1 / 60,
    });
  });

  it("has overtaken jobs when jobs that came later were served for a minute", async () => {
    await follow(null, "0", { events: [event("ENQUEUED", "orphan")] });
    for (let i = 1; i <= 130; i++) {
      elapsed += 1_000;
      const came = event("ENQUEUED", `${i}`, 500);
      await follow(`${i - 1}`, `${i}`, { events: [came, event("DEQUEUED", `${i}`)] });
    }
    await follow("130", "131", { events: [event("ENQUEUED", "next", 200)] });
    const inOrderSinceMs = start + elapsed - 200;
    expect(await snapshot()).toMatchObject({ latencyMs: 130_000, depth: 2, overtaken: 1, inOrderSinceMs });
  });

  it("refuses a report with an older fence", async () => {
    await opened.tracker.follow(followedQueue(null, "1"), 7);
    await expect(opened.tracker.follow(followedQueue("1", "2"), 6)).rejects.toThrow(LeaseLostError);
    expect(await opened.tracker.follow(followedQueue("1", "2"), 8)).toMatchObject({ applied: true });
  });

  it("keeps the difference of two events exact while the clocks seem to jitter, and follows a clock that was set", async () => {
    await follow(null, "1", { events: [event("ENQUEUED", "a", 10_000)] });
    elapsed = 1_000;
    const late = event("DEQUEUED", "a");
    // The answer was 40 ms on its way.
    await follow("1", "2", { events: [late], sourceNowMs: sourceNow() - 40, uncertaintyMs: 5 });
    expect((await snapshot()).waitTime?.FIVE_MINUTES?.max).toBe(11);
    const set = sourceNow() - 60_000;
    await follow("2", "3", {
      events: [{ kind: "ENQUEUED", jobId: "b", atMs: set - 500, availableAtMs: null }],
      sourceNowMs: set,
    });
    expect(await snapshot()).toMatchObject({ latencyMs: 500 });
  });

  it("is stale with its last reading when it is not followed any more, and keeps what is older than MAX_WAIT", async () => {
    await follow(null, "1", {
      events: [event("ENQUEUED", "a", 30 * 86_400_000), event("SCHEDULED", "b", 0, 9_000)],
    });
    elapsed = 6_001;
    expect(await snapshot()).toMatchObject({ stale: true, measuredAtMs: start, latencyMs: 30 * 86_400_000 });
    elapsed = 10_000;
    expect(await snapshot()).toMatchObject({ stale: true, depth: 1, scheduled: 1, changesAtMs: null });
    await follow("1", "2");
    expect(await snapshot()).toMatchObject({ stale: false, depth: 2, scheduled: 0 });
  });

  it("puts the real lists in place, step by step, while events go on", async () => {
    await follow(null, "1", {
      events: ["kept", "ghost", "leaves"].map((job) => event("ENQUEUED", job, 1_000)),
    });
    await follow("1", "2", { repair: step({ begin: "UNKNOWN" }) });
    expect(await snapshot()).toMatchObject({ accuracy: "UNKNOWN", depth: 3 });
    const older = { jobId: "older", sinceMs: sourceNow() - 5_000, kind: "ESTIMATED" as const };
    const later = { jobId: "later", sinceMs: sourceNow() + 5_000, kind: "SCHEDULED" as const };
    const kept = { jobId: "kept", sinceMs: sourceNow() - 9_000, kind: "ESTIMATED" as const };
    await follow("2", "3", { repair: step({ present: [older, later] }) });
    await follow("3", "4", { events: [event("ENQUEUED", "new"), event("DEQUEUED", "leaves")] });
    const other = step({ token: "other", begin: "LOWER_BOUND" });
    expect(await follow("4", "5", { repair: other })).toMatchObject({ applied: false, cursor: "4" });
    await follow("4", "5", { repair: step({ present: [kept, older] }) });
    const last = await follow("5", "6", { repair: step({ sweepFrom: "0" }), expected: ["kept", "new"] });
    expect(last).toMatchObject({ sweepFrom: null, repairing: false, jobs: 4, lacksExpected: false });
    expect(await snapshot()).toMatchObject({
      accuracy: "ESTIMATED",
      depth: 3,
      scheduled: 1,
      oldestSinceMs: start - 5_000,
    });
    await follow("6", "7", { events: [event("DEQUEUED", "older")], expected: ["older"] });
    expect(await snapshot()).toMatchObject({ accuracy: "EXACT", oldestSinceMs: start - 1_000, depth: 2 });
  });

  it("is a lower bound for as long as there is a job that may have been claimable for longer", async () => {
    const present = [
      { jobId: "older", sinceMs: sourceNow() - 5_000, kind: "ESTIMATED" as const },
      { jobId: "put back", sinceMs: sourceNow() - 1_000, kind: "AT_LEAST" as const },
      { jobId: "swept", sinceMs: null, kind: "AT_LEAST" as const },
      { jobId: "enqueued again", sinceMs: null, kind: "AT_LEAST" as const },
    ];
    await follow(null, "1", { repair: step({ begin: "LOWER_BOUND", present, sweepFrom: "0" }) });
    expect(await snapshot()).toMatchObject({
      accuracy: "LOWER_BOUND",
      depth: 4,
      oldestSinceMs: start - 5_000,
    });
    await follow("1", "2", { events: [event("ENQUEUED", "enqueued again")] });
    const kept = present.filter(({ jobId }) => jobId !== "swept");
    await follow("2", "3", { repair: step({ token: "2", begin: "UNKNOWN", present: kept, sweepFrom: "0" }) });
    expect(await snapshot()).toMatchObject({ accuracy: "LOWER_BOUND", depth: 3 });
    await follow("3", "4", { events: [event("DEQUEUED", "put back")] });
    expect(await snapshot()).toMatchObject({ accuracy: "ESTIMATED", depth: 2 });
    // For how long it had waited is not known.
    expect((await snapshot()).waitTime?.FIVE_MINUTES?.count).toBe(0);
  });

  it("has no counts of windows in which events were missed", async () => {
    await follow(null, "1", { events: [event("ENQUEUED", "a", 1_000), event("DEQUEUED", "a")] });
    expect((await snapshot()).throughput?.ONE_MINUTE).toMatchObject({ dequeuedPerSecond: 1 / 60 });
    await follow("1", "2", { missedUntilMs: sourceNow() });
    expect(await snapshot()).toMatchObject({ throughput: null, waitTime: null });
    expect((await totals()) ?? null).toBeNull();
    elapsed = 70_000;
    await follow("2", "3");
    expect(await snapshot()).toMatchObject({
      throughput: { ONE_MINUTE: { dequeuedPerSecond: 0 }, FIVE_MINUTES: null },
      waitTime: { ONE_MINUTE: { count: 0 }, FIVE_MINUTES: null, FIFTEEN_MINUTES: null },
    });
    elapsed = 1_000_000;
    await follow("3", "4");
    expect((await snapshot()).waitTime?.FIFTEEN_MINUTES).toMatchObject({ count: 0 });
    expect(await totals()).toMatchObject({ dequeued: 1 });
  });

  it("lets another repair begin when one stands still", async () => {
    await follow(null, "1", { repair: step({ begin: "LOWER_BOUND" }) });
    elapsed = 3_001;
    expect(await opened.tracker.cursors("bullmq", ["mail", "unknown"])).toEqual(
      new Map([["mail", { cursor: "1", repairing: true }]]),
    );
    const other = step({ token: "other", begin: "UNKNOWN" });
    expect(await follow("1", "1", { repair: other })).toMatchObject({ applied: true });
    expect(await follow("1", "1", { repair: step() })).toMatchObject({ applied: false });
  });

  it("sweeps a large queue in bounded steps", async () => {
    for (let n = 0; n < 4; n++) {
      const events = Array.from({ length: 500 }, (_, i) => event("ENQUEUED", `job-${n}-${i}`));
      await follow(n === 0 ? null : `${n}`, `${n + 1}`, { events });
    }
    await follow("4", "4", { repair: step({ begin: "UNKNOWN" }) });
    await follow("4", "4", {
      repair: step({ present: [{ jobId: "job-2-7", sinceMs: null, kind: "ESTIMATED" as const }] }),
    });
    let from: string | null = "0";
    let steps = 0;
    for (; from !== null; steps++)
      from = (await follow("4", "4", { repair: step({ sweepFrom: from }) })).sweepFrom;
    expect(steps).toBeGreaterThan(2);
    expect(await snapshot()).toMatchObject({ depth: 1, accuracy: "EXACT" });
  });

  it("is gone when its job system says so, and free for another source of the same name", async () => {
    await follow(null, "1", { events: [event("ENQUEUED", "a")] });
    await opened.tracker.gone("bullmq", "mail");
    expect(await snapshot()).toMatchObject({ state: "MISSING" });
    expect(await opened.tracker.list({ limit: 10 })).toEqual([]);
    expect(await follow(null, "9")).toMatchObject({ applied: true, jobs: 0 });
  });

  it("agrees with a model under random logs, cut anywhere and reported twice", async () => {
    const lineArb = fc.record({
      kind: fc.constantFrom<FollowedKind>("ENQUEUED", "PROMOTED", "SCHEDULED", "DEQUEUED", "REMOVED"),
      jobId: fc.constantFrom("a", "b", "c"),
      agoMs: fc.nat(20_000),
      inMs: fc.integer({ min: -5_000, max: 5_000 }),
    });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(lineArb, { maxLength: 6 }), { maxLength: 6 }), async (batches) => {
        const queue = `q${run++}`;
        const model = new Map<string, number>();
        const waits: number[] = [];
        let [enqueued, dequeued, cursor] = [0, 0, null as string | null];
        for (const [n, batch] of [[], ...batches].entries()) {
          const events = batch.map(({ kind, jobId, agoMs, inMs }) => event(kind, jobId, agoMs, inMs));
          const next = followedQueue(cursor, `${n}`, { queue, events });
          for (let again = 0; again < 2; again++) await opened.tracker.follow(next);
          cursor = `${n}`;
          for (const { kind, jobId, atMs, availableAtMs } of events) {
            const known = model.get(jobId);
            if (kind === "DEQUEUED" || kind === "REMOVED") {
              model.delete(jobId);
              if (kind === "DEQUEUED") dequeued += 1;
              if (kind === "DEQUEUED" && known !== undefined) waits.push(Math.max(0, atMs - known));
            } else {
              if (known === undefined) enqueued += 1;
              const since = kind === "PROMOTED" ? Math.min(known ?? atMs, atMs) : (availableAtMs ?? atMs);
              model.set(jobId, since);
            }
          }
        }
        const [read] = await opened.tracker.read([`bullmq/${queue}`], allParts);
        const claimable = [...model.values()].filter((since) => since <= sourceNow());
        expect(read).toMatchObject({
          depth: claimable.length,
          scheduled: model.size - claimable.length,
          oldestSinceMs: claimable.length === 0 ? null : Math.min(...claimable) + behindMs,
        });
        expect(Math.round((read?.throughput?.FIVE_MINUTES?.enqueuedPerSecond ?? 0) * 300)).toBe(enqueued);
        expect(Math.round((read?.throughput?.FIVE_MINUTES?.dequeuedPerSecond ?? 0) * 300)).toBe(dequeued);
        expect(read?.waitTime?.FIVE_MINUTES).toMatchObject({
          count: waits.length,
          max: Math.max(0, ...waits) / 1000,
        });
      }),
      { numRuns: 200 },
    );
  });
});

describe("a followed queue of which Redis has evicted", () => {
  const evict = (part: string) =>
    opened.redis
      .del(opened.keys.state("bullmq/mail").replace(/state$/, part))
      .then((gone) => expect(gone).toBe(1));
  const present = (jobId: string) => ({ jobId, sinceMs: sourceNow() - 9_000, kind: "ESTIMATED" as const });

  it("the jobs is UNKNOWN at once, and until a repair has put the real lists in place", async () => {
    await follow(null, "1", { events: [event("ENQUEUED", "a", 1_000), event("ENQUEUED", "b", 500)] });
    await evict("waiting");
    expect(await snapshot()).toMatchObject({ accuracy: "UNKNOWN", latencyMs: null });
    const more = await follow("1", "2", { events: [event("ENQUEUED", "c")] });
    expect(more).toMatchObject({ applied: true, lacksExpected: true, jobs: 1 });
    expect(await follow("2", "3")).toMatchObject({ lacksExpected: true });
    expect(await snapshot()).toMatchObject({ accuracy: "UNKNOWN", latencyMs: null });
    await follow("3", "4", { repair: step({ begin: "UNKNOWN" }) });
    await follow("4", "5", { repair: step({ present: ["a", "b", "c"].map(present) }) });
    expect(await snapshot()).toMatchObject({ accuracy: "UNKNOWN" });
    const last = await follow("5", "6", { repair: step({ sweepFrom: "0" }) });
    expect(last).toMatchObject({ repairing: false, lacksExpected: false, jobs: 3 });
    expect(await snapshot()).toMatchObject({ accuracy: "ESTIMATED", depth: 3 });
  });

  it("what its running repair has seen keeps its jobs, and is UNKNOWN until the next repair", async () => {
    await follow(null, "1", { events: [event("ENQUEUED", "a", 1_000), event("ENQUEUED", "b", 500)] });
    await follow("1", "2", { repair: step({ begin: "UNKNOWN" }) });
    await follow("2", "3", { repair: step({ present: [present("a"), present("b")] }) });
    await evict("departed:0");
    const swept = await follow("3", "4", { repair: step({ sweepFrom: "0" }) });
    expect(swept).toMatchObject({ jobs: 2, sweepFrom: null, repairing: false, lacksExpected: true });
    expect(await snapshot()).toMatchObject({ accuracy: "UNKNOWN", depth: 2 });
  });

  it("what was counted is INCOMPLETE while a window reaches back to that", async () => {
    const freshForMs = 1_000_000_000;
    await follow(null, "1", { events: [event("ENQUEUED", "a"), event("DEQUEUED", "a")], freshForMs });
    await evict("recent");
    expect(await snapshot()).toMatchObject({ accuracy: "INCOMPLETE", depth: 0 });
    await follow("1", "2", { events: [event("ENQUEUED", "b")], freshForMs });
    expect(await snapshot()).toMatchObject({
      accuracy: "INCOMPLETE",
      changesAtMs: start + 900_001,
      latencyMs: 0,
    });
    elapsed = 900_001;
    expect(await snapshot()).toMatchObject({ accuracy: "EXACT", latencyMs: 900_001 });
  });

  it("its state is not EXACT, and is followed from the start within two readings", async () => {
    await follow(null, "1", { events: [event("ENQUEUED", "a", 1_000)] });
    await evict("state");
    expect((await snapshot()).accuracy).not.toBe("EXACT");
    expect(await follow("1", "2")).toMatchObject({ applied: false, cursor: null });
    await follow(null, "2", { repair: step({ begin: "LOWER_BOUND", present: [present("a")] }) });
    expect(await snapshot()).toMatchObject({ source: "bullmq", depth: 1, accuracy: "LOWER_BOUND" });
  });
});
