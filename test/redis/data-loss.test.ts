import fc from "fast-check";
import { Redis } from "ioredis";
import { describe, expect, inject, it, vi } from "vitest";
import type { QueueEvent, QueueEventType } from "../../src/core/events.ts";
import { recordingLogger } from "../support/logger.ts";
import { uniquePrefix } from "../support/redis.ts";
import { allParts, openRecorder, openTracker, savePoint, type TestTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const start = 1_790_000_000_000;
const eventWindowMs = 20_000;
const maxWaitMs = 60_000;
const queues = ["q1", "q2"];
type Drawn<A> = A extends fc.Arbitrary<infer T> ? T : never;

function event(type: QueueEventType, jobId: string, queue = "q1"): QueueEvent {
  return { type, queue, jobId, attempt: 0, atMs: null, availableAtMs: null };
}
async function read({ tracker }: TestTracker, queue = "q1") {
  const [snapshot] = await tracker.read([queue], allParts);
  if (snapshot === undefined) throw new Error("one queue was asked for");
  return snapshot;
}

describe("any history", () => {
  const whoArb = fc.nat(1);
  const queueArb = fc.constantFrom(...queues);
  const actArb = fc.record({
    who: whoArb,
    queue: queueArb,
    advanceMs: fc.oneof(fc.constant(0), fc.nat(2_000), fc.nat(30_000)),
    what: fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          record: fc.array(fc.tuple(fc.constantFrom("ENQUEUED", "DEQUEUED", "REMOVED"), fc.nat(3)), {
            minLength: 1,
            maxLength: 3,
          }),
          batch: fc.option(fc.nat(2)),
        }),
      },
      { weight: 1, arbitrary: fc.constantFrom("forget", "remove", "sweep", "read", "trust") },
    ),
  });
  type Act = Drawn<typeof actArb>;

  /** @returns whether Redis has acknowledged a write. */
  async function act(opened: TestTracker, { queue, what }: Act, now: () => number): Promise<boolean> {
    const { tracker } = opened;
    switch (what) {
      case "forget":
        await tracker.forget(queue);
        return true;
      case "remove": {
        const isKnown = (await read(opened, queue)).state !== "MISSING";
        await tracker.remove(queue, [{ jobId: "0", attempt: 0 }]);
        return isKnown;
      }
      case "sweep":
        await openRecorder(opened, { eventWindowMs, maxWaitMs, now }).sweep(queues);
        return false;
      case "read":
        await read(opened, queue);
        return false;
      case "trust":
        await tracker.trust(queue);
        return false;
      default: {
        const events = what.record.map(([type, job]) => event(type as QueueEventType, String(job), queue));
        // Another batch with the same id is refused, and then nothing was acknowledged.
        const batchId = what.batch === null ? null : `${what.batch}`;
        return tracker.record(events, batchId).then(
          () => true,
          () => false,
        );
      }
    }
  }

  async function openTwo(now: () => number, windows: readonly [number, number]) {
    const prefix = uniquePrefix();
    const options = { now, maxWaitMs, prefix };
    const [one, other] = await Promise.all(
      windows.map((window) => openTracker(inject("redisUrl"), { ...options, eventWindowMs: window })),
    );
    if (one === undefined || other === undefined) throw new Error("two were opened");
    return {
      both: [one, other] as const,
      async [Symbol.asyncDispose]() {
        const keys = await one.redis.keys(`${prefix}:*`);
        if (keys.length > 0) await one.redis.del(...keys);
        await one[Symbol.asyncDispose]();
        await other[Symbol.asyncDispose]();
      },
    };
  }

  it("marks no queue while nothing is lost, whatever two servers do, with the same window or not", async () => {
    const windowArb = fc.constantFrom(1_000, 7_000, eventWindowMs, 100_000);
    const actsArb = fc.array(
      fc.tuple(
        actArb,
        // Redis's clock may be set, too.
        fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.integer({ min: -200_000, max: 200_000 })),
      ),
      { maxLength: 40 },
    );
    const property = fc.asyncProperty(fc.tuple(windowArb, windowArb), actsArb, async (windows, acts) => {
      let now = start;
      await using opened = await openTwo(() => now, windows);
      for (const [each, jumpMs] of acts) {
        now += each.advanceMs + jumpMs;
        await act(opened.both[each.who === 0 ? 0 : 1], each, () => now);
        for (const one of opened.both) {
          for (const { state, accuracy } of await one.tracker.read(queues, allParts))
            expect(accuracy).toBe(state === "MISSING" ? "UNKNOWN" : "EXACT");
        }
      }
    });
    await fc.assert(property, { numRuns: 150 });
  });

  it("marks nothing that is written and forgotten at once, in whatever order it is answered", async () => {
    const prefix = uniquePrefix();
    const open = () => openTracker(inject("redisUrl"), { eventWindowMs, maxWaitMs, prefix });
    await using one = await open();
    await using other = await open();
    for (let round = 0; round < 30; round++) {
      await Promise.all(
        [one, other].flatMap(({ tracker }, who) => [
          tracker.record([event("ENQUEUED", `${round} ${who}`), event("DEQUEUED", `${round} ${who}`)], null),
          tracker.record([event("ENQUEUED", `late ${round}`)], `${round}`),
          tracker.forget("q1"),
          tracker.record([event("ENQUEUED", `later ${round}`)], null),
          tracker.read(["q1"], allParts),
        ]),
      );
      for (const each of [one, other]) expect((await read(each)).accuracy).not.toBe("INCOMPLETE");
    }
  });

  it("marks exactly those queues of which a running server had something acknowledged that was lost", async () => {
    const property = fc.asyncProperty(
      fc.array(actArb, { maxLength: 12 }),
      fc.array(actArb, { maxLength: 12 }),
      fc.nat(25_000),
      fc.array(actArb, { maxLength: 5 }),
      async (kept, lost, laterMs, after) => {
        let now = start;
        await using opened = await openTwo(() => now, [eventWindowMs, eventWindowMs]);
        const [one] = opened.both;
        /** By server and queue: what was acknowledged last. */
        const last = new Map<
          string,
          { atMs: number; isLost: boolean; isForget: boolean; isForgotten: boolean }
        >();
        /** By queue and batch id: who sent it first. To send one's own batch again writes nothing. */
        const batches = new Map<string, { atMs: number; who: number }>();
        const isOwnAgain = ({ who, queue, what }: Act) => {
          if (what === "forget") for (const id of [0, 1, 2]) batches.delete(`${queue} ${id}`);
          if (typeof what === "string" || what.batch === null) return false;
          const key = `${queue} ${what.batch}`;
          const first = batches.get(key);
          if (first !== undefined && now - first.atMs < eventWindowMs) return first.who === who;
          batches.set(key, { atMs: now, who });
          return false;
        };
        const doAll = async (acts: readonly Act[], isLost: boolean) => {
          for (const each of acts) {
            now += each.advanceMs;
            const who = opened.both[each.who === 0 ? 0 : 1];
            const isForget = each.what === "forget";
            if ((await act(who, each, () => now)) && !isOwnAgain(each))
              last.set(`${each.who} ${each.queue}`, { atMs: now, isLost, isForget, isForgotten: false });
            const others = last.get(`${1 - each.who} ${each.queue}`);
            if (isForget && others !== undefined) others.isForgotten = true;
          }
        };
        await doAll(kept, false);
        const lose = await savePoint(one);
        const wasKnown = new Map<string, boolean>();
        for (const queue of queues)
          wasKnown.set(queue, (await one.redis.exists(one.keys.state(queue))) === 1);
        await doAll(lost, true);
        await lose();
        now += laterMs;

        const isMissed = (who: number, queue: string) => {
          const write = last.get(`${who} ${queue}`);
          return write?.isLost === true && now - write.atMs < eventWindowMs;
        };
        /** Not whether it is lost that a queue was forgotten: then the loss may be none. */
        const isCertain = (who: number, queue: string) => {
          const write = last.get(`${who} ${queue}`);
          return write?.isForgotten !== true && (write?.isForget !== true || wasKnown.get(queue) === true);
        };
        const servers = [0, 1];
        const isIncomplete = new Map(
          queues.map((queue) => {
            const missing = servers.filter((who) => isMissed(who, queue));
            if (missing.length === 0) return [queue, false];
            return [queue, missing.some((who) => isCertain(who, queue)) ? true : null];
          }),
        );
        // Others go on, and count on from what is left; the clock stands still meanwhile.
        for (const each of after.filter(({ what }) => typeof what === "object" || what === "read")) {
          const isAcknowledged = await act(opened.both[each.who === 0 ? 0 : 1], each, () => now);
          // What is refused for its batch id is not looked at any further.
          if (each.what !== "read" && !isAcknowledged) continue;
          if (!isMissed(each.who, each.queue) || !isCertain(each.who, each.queue)) continue;
          const other = opened.both[each.who === 0 ? 1 : 0];
          expect((await read(other, each.queue)).accuracy).toBe("INCOMPLETE");
        }
        for (const [queue, expected] of isIncomplete) {
          for (const [who, each] of opened.both.entries()) {
            const { accuracy } = await read(each, queue);
            if (isMissed(who, queue) && isCertain(who, queue)) expect(accuracy).toBe("INCOMPLETE");
          }
          if (expected === null) continue;
          for (const each of opened.both)
            expect((await read(each, queue)).accuracy === "INCOMPLETE").toBe(expected);
        }
      },
    );
    await fc.assert(property, { numRuns: 200 });
  });
});

describe("a mark of data loss", () => {
  /** A server that has recorded one job, another one, and a way to lose what comes next. */
  async function open(env: { readonly logger?: ReturnType<typeof recordingLogger> } = {}) {
    let now = start;
    const options = { now: () => now, eventWindowMs, maxWaitMs, prefix: uniquePrefix(), ...env };
    const one = await openTracker(inject("redisUrl"), options);
    const other = await openTracker(inject("redisUrl"), options);
    const feed = new Redis(inject("redisUrl"));
    const pushed: string[] = [];
    feed.on("message", (_, queue: string) => pushed.push(queue));
    await feed.subscribe(one.keys.changes);
    return {
      one,
      other,
      options,
      pushed,
      advance(ms: number) {
        now += ms;
      },
      record: (queue: string, ...jobs: string[]) =>
        one.tracker.record(
          jobs.map((job) => event("ENQUEUED", job, queue)),
          null,
        ),
      async [Symbol.asyncDispose]() {
        feed.disconnect();
        for (const queue of [...queues, "q3"]) await one.tracker.forget(queue);
        await one[Symbol.asyncDispose]();
        await other[Symbol.asyncDispose]();
      },
    };
  }
  type Opened = Awaited<ReturnType<typeof open>>;

  /** The dequeue of the only job, and then some, is acknowledged and lost. */
  async function loseDequeue({ one, record }: Opened, queue = "q1"): Promise<void> {
    await record(queue, "a");
    const lose = await savePoint(one);
    await one.tracker.record([event("DEQUEUED", "a", queue)], null);
    expect(await read(one, queue)).toMatchObject({ state: "EMPTY", accuracy: "EXACT" });
    await lose();
  }

  it("is in the first answer after the loss, and in those of other servers, which are notified", async () => {
    await using opened = await open();
    await loseDequeue(opened);
    opened.pushed.length = 0;
    expect(await read(opened.one)).toMatchObject({ state: "WAITING", depth: 1, accuracy: "INCOMPLETE" });
    expect(await read(opened.other)).toMatchObject({ state: "WAITING", depth: 1, accuracy: "INCOMPLETE" });
    await until(() => expect(opened.pushed).toContain("q1"));
  });

  it("is raised by what is recorded next, in the same step", async () => {
    await using opened = await open();
    await loseDequeue(opened);
    await opened.record("q1", "b");
    expect(await read(opened.other)).toMatchObject({ depth: 2, accuracy: "INCOMPLETE" });
  });

  it("is raised also when others have written more since than was lost", async () => {
    await using opened = await open();
    await loseDequeue(opened);
    for (const job of ["b", "c", "d", "e"]) await opened.other.tracker.record([event("ENQUEUED", job)], null);
    expect(await read(opened.one)).toMatchObject({ depth: 5, accuracy: "INCOMPLETE" });
  });

  it("brings back a queue of which nothing is left, which is EMPTY then, but not surely", async () => {
    await using opened = await open();
    await opened.record("q1", "a");
    await opened.one.redis.del(...(await opened.one.redis.keys(`${opened.one.prefix}:*`)));
    const expected = { state: "EMPTY", source: "events", depth: 0, accuracy: "INCOMPLETE" };
    expect(await read(opened.one)).toMatchObject({ ...expected, throughput: { ONE_MINUTE: {} } });
    expect(await read(opened.other)).toMatchObject(expected);
    expect(await opened.other.tracker.list({ limit: 10 })).toEqual(["q1"]);
  });

  it("ends when MAX_WAIT has passed, and says so before", async () => {
    await using opened = await open();
    await opened.one.tracker.record([event("DEQUEUED", "a")], null);
    await opened.one.redis.del(...opened.one.keys.all("q1"));
    const { accuracy, changesAtMs } = await read(opened.one);
    expect([accuracy, changesAtMs]).toEqual(["INCOMPLETE", start + maxWaitMs + 1]);
    opened.advance(maxWaitMs);
    expect(await read(opened.other)).toMatchObject({ accuracy: "INCOMPLETE" });
    opened.advance(1);
    expect(await read(opened.other)).toMatchObject({ accuracy: "EXACT", changesAtMs: null });
    // It is over, so there is none to end.
    expect(await opened.one.tracker.trust("q1")).toBe(false);
  });

  it("ends with trustQueue, and subscribers are pushed that", async () => {
    await using opened = await open();
    await loseDequeue(opened);
    await read(opened.one);
    await until(() => expect(opened.pushed).toContain("q1"));
    opened.pushed.length = 0;
    expect(await opened.other.tracker.trust("q1")).toBe(true);
    expect(await opened.other.tracker.trust("q1")).toBe(false);
    expect(await opened.other.tracker.trust("never seen")).toBe(false);
    await until(() => expect(opened.pushed).toEqual(["q1"]));
    // Who found the loss does not find it again.
    await opened.record("q1", "b");
    for (const each of [opened.one, opened.other])
      expect(await read(each)).toMatchObject({ depth: 2, accuracy: "EXACT" });
    expect(await read(opened.other, "never seen")).toMatchObject({ state: "MISSING" });
  });

  it("ends when the queue is forgotten, whether it had been found or not", async () => {
    await using opened = await open();
    for (const [queue, isFound] of [
      ["q1", true],
      ["q2", false],
    ] as const) {
      await loseDequeue(opened, queue);
      if (isFound) await read(opened.one, queue);
      await opened.other.tracker.forget(queue);
      expect(await read(opened.one, queue)).toMatchObject({ state: "MISSING" });
      await opened.record(queue, "b");
      expect(await read(opened.one, queue)).toMatchObject({ depth: 1, accuracy: "EXACT" });
    }
  });

  it("is raised when it was lost that a queue was forgotten", async () => {
    await using opened = await open();
    await opened.other.tracker.record([event("ENQUEUED", "a")], null);
    const lose = await savePoint(opened.one);
    await opened.one.tracker.forget("q1");
    await lose();
    expect(await read(opened.one)).toMatchObject({ depth: 1, accuracy: "INCOMPLETE" });
    expect(await opened.other.tracker.trust("q1")).toBe(true);
    expect(await read(opened.one)).toMatchObject({ depth: 1, accuracy: "EXACT" });
  });

  it("is not raised when it was lost that a queue was forgotten, and so was the queue", async () => {
    await using opened = await open();
    await opened.record("q1", "a");
    await opened.one.tracker.forget("q1");
    await opened.one.redis.del(...opened.one.keys.all("q1"));
    expect(await read(opened.one)).toMatchObject({ state: "MISSING", accuracy: "UNKNOWN" });
  });

  it("is not raised of a queue that was forgotten after the loss, however often it had been before", async () => {
    await using opened = await open();
    for (let i = 0; i < 3; i++) await opened.one.tracker.forget("q1");
    await opened.record("q1", "a");
    await opened.one.redis.del(...opened.one.keys.all("q1"));
    await opened.one.tracker.forget("q1");
    expect(await read(opened.one)).toMatchObject({ state: "MISSING" });
    await opened.record("q1", "b");
    expect(await read(opened.one)).toMatchObject({ depth: 1, accuracy: "EXACT" });
  });

  it("is raised of a queue that was forgotten and is back, though as much was written to it as is lost", async () => {
    await using opened = await open();
    const { one, other } = opened;
    await opened.record("q1", "a");
    const lose = await savePoint(one);
    await one.tracker.forget("q1");
    await other.tracker.record([event("ENQUEUED", "b")], null);
    opened.advance(eventWindowMs - 1);
    await opened.record("q1", "c");
    opened.advance(1);
    await lose();
    // What it remembers is too old to say that anything is lost, but it knows that the queue was forgotten.
    await other.tracker.record([event("ENQUEUED", "d")], null);
    expect(await read(other)).toMatchObject({ depth: 2, accuracy: "EXACT" });
    expect(await read(one)).toMatchObject({ depth: 2, accuracy: "INCOMPLETE" });
  });

  it("is not raised by a write whose answer was lost, nor when the write is then sent again", async () => {
    await using opened = await open();
    await opened.record("q1", "a");
    const { redis } = opened.one;
    const send = (redis as Redis).sendCommand.bind(redis);
    const cut = vi
      .spyOn(redis as Redis, "sendCommand")
      .mockImplementation(async (...args: Parameters<Redis["sendCommand"]>) => {
        await send(...args);
        throw new Error("Connection is closed.");
      });
    await expect(opened.record("q1", "b")).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
    cut.mockRestore();
    expect(await read(opened.one)).toMatchObject({ depth: 2, accuracy: "EXACT" });
    await opened.record("q1", "b");
    expect(await read(opened.one)).toMatchObject({ depth: 2, accuracy: "EXACT" });
  });

  it("is raised of what a batch wrote by the server that answered its repetition, when its first writer has gone", async () => {
    await using opened = await open();
    await opened.other.tracker.record([event("ENQUEUED", "a")], null);
    const lose = await savePoint(opened.one);
    const batch = [event("DEQUEUED", "a")];
    const dying = await openTracker(inject("redisUrl"), opened.options);
    const answer = await dying.tracker.record(batch, "batch");
    await dying[Symbol.asyncDispose]();
    expect(await opened.other.tracker.record(batch, "batch")).toEqual(answer);
    await lose();
    expect(await read(opened.one)).toMatchObject({ depth: 1, accuracy: "EXACT" });
    expect(await read(opened.other)).toMatchObject({ depth: 1, accuracy: "INCOMPLETE" });
  });

  it("is raised by a server that only remembers when its connection has come back, and logged in one line", async () => {
    const logger = recordingLogger();
    await using opened = await open({ logger });
    const { one, other, record } = opened;
    await one.tracker.start();
    for (const queue of ["q1", "q2", "q3"]) await record(queue, "a");
    // The index is complete from then on, so that no list adds a name.
    await one.tracker.list({ limit: 1 });
    const lose = await savePoint(one);
    for (const queue of ["q1", "q2"]) await one.tracker.record([event("DEQUEUED", "a", queue)], null);
    await lose();
    // The name may be lost where the state is not.
    await other.redis.zrem(one.keys.index, "q3");
    expect(await read(other)).toMatchObject({ accuracy: "EXACT" });
    one.redis.disconnect(true);
    await until(async () => expect(await other.tracker.list({ limit: 10 })).toContain("q3"));
    for (const [queue, accuracy] of [
      ["q1", "INCOMPLETE"],
      ["q2", "INCOMPLETE"],
      ["q3", "EXACT"],
    ])
      expect(await read(other, queue)).toMatchObject({ depth: 1, accuracy });
    // Another server that notices it later reports nothing new.
    await read(one, "q1");
    await record("q2", "b");
    const errors = () => logger.lines.filter(({ level }) => level === "error");
    await until(() => expect(errors()).toHaveLength(1));
    expect(errors()[0]).toMatchObject({
      fields: { queues: 2 },
      message: expect.stringContaining("lost writes"),
    });
    await one.tracker.stop();
    expect(errors()).toHaveLength(1);
  });

  it("is raised of all the others too, as soon as one is found, and logged in one line at a stop", async () => {
    const logger = recordingLogger();
    await using opened = await open({ logger });
    await loseDequeue(opened, "q1");
    await loseDequeue(opened, "q2");
    await opened.record("q1", "b");
    await until(async () => {
      expect(await read(opened.other, "q2")).toMatchObject({ accuracy: "INCOMPLETE" });
    });
    await opened.one.tracker.stop();
    const errors = logger.lines.filter(({ level }) => level === "error");
    expect(errors).toMatchObject([{ fields: { queues: 2 } }]);
  });

  it("is none of a queue that has become a job system's", async () => {
    await using opened = await open();
    const { one } = opened;
    const name = "bullmq/mail";
    await opened.record(name, "a");
    const step = { token: "t", begin: "UNKNOWN", present: [], sweepFrom: null } as const;
    const followed = {
      ...{ source: "bullmq", queue: "mail", fromCursor: null, toCursor: "1", events: [], paused: null },
      ...{ sourceNowMs: start, readAtMs: start, uncertaintyMs: 0, freshForMs: 6_000 },
      ...{ expected: [], missedUntilMs: null, clockSkewMs: null },
      // Keeps the jobs that it has seen where tombstones are kept otherwise.
      repair: { ...step, present: [{ jobId: "b", sinceMs: start, kind: "ESTIMATED" as const }] },
    };
    await one.tracker.follow(followed);
    expect(await read(one, name)).toMatchObject({ source: "bullmq", accuracy: "UNKNOWN" });
    expect(await one.tracker.trust(name)).toBe(false);
    expect(await one.tracker.forget(name)).toBe(true);
  });
});
