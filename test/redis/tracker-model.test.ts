import fc from "fast-check";
import { describe, expect, inject, it } from "vitest";
import { eventTypes, type QueueEvent, type RecordResult } from "../../src/core/events.ts";
import { queueNameProblem } from "../../src/core/queue-name.ts";
import {
  type QueueSnapshot,
  type QueueTotals,
  type WaitingJob,
  waitBoundsMs,
  windows,
} from "../../src/core/snapshot.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { allParts, openRecorder, openTracker, type TestTracker } from "../support/tracker.ts";
import {
  createTrackerModel,
  exactWaitTime,
  type ModelSnapshot,
  type Totals,
  type TrackerModel,
} from "../support/tracker-model.ts";

/** Small, so that histories of some minutes cross them again and again. */
const eventWindowMs = 20_000;
const maxWaitMs = 60_000;
const queues = ["q1", "q2", "q3"];

const startArb = fc.integer({ min: 1_790_000_000_000, max: 1_790_001_000_000 });
const identityArb = fc.record({
  queue: fc.constantFrom(...queues),
  jobId: fc.constantFrom("a", "b", "1:a", "generation", "batch:1"),
  attempt: fc.constantFrom(0, 1),
});
/** One event; its times are relative to when it is sent. */
const specArb = fc.record({
  type: fc.constantFrom(...eventTypes),
  identity: identityArb,
  at: fc.option(relativeArb({ min: -100_000, max: 10_000 })),
  availableAt: fc.option(relativeArb({ min: -100_000, max: 70_000 })),
});
type Spec = Drawn<typeof specArb>;
type Drawn<A> = A extends fc.Arbitrary<infer T> ? T : never;

function eventOf({ type, identity, at, availableAt }: Spec, now: number): QueueEvent {
  const after = (ms: number | null) => (ms === null ? null : now + ms);
  return { type, ...identity, atMs: after(at), availableAtMs: after(availableAt) };
}

describe("compared with the model", () => {
  const settingsArb = fc.record({
    eventWindowMs: fc.constantFrom(eventWindowMs, 5_000, 100_000),
    maxWaitMs: fc.constantFrom(maxWaitMs, 10_000, 300_000),
  });
  const stepArb = fc.record({
    advanceMs: fc.oneof(
      fc.constant(0),
      fc.nat(1_000),
      fc.nat(30_000),
      fc.nat(240_000),
      // In each window, this much later falls into the place of the slot that it is kept in now.
      fc.constantFrom(63_000, 315_000, 945_000),
    ),
    send: fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          events: fc.array(fc.oneof(specArb, specArb, specArb, fc.record({ repeats: fc.nat() })), {
            maxLength: 8,
          }),
          batch: fc.constantFrom("none", "new", "new", "taken"),
        }),
      },
      { weight: 1, arbitrary: fc.record({ replays: fc.nat() }) },
    ),
    /** What an admin does before. */
    admin: fc.option(
      fc.oneof(
        fc.record({ forget: fc.constantFrom(...queues) }),
        fc.record({ remove: fc.array(identityArb, { maxLength: 8 }), from: fc.constantFrom(...queues) }),
      ),
      { freq: 2 },
    ),
    /** Which of two servers is asked. */
    server: fc.nat(1),
  });
  type Send = Drawn<typeof stepArb>["send"];

  /** Turns what was drawn into batches; it remembers what was sent, so that it can be sent again. */
  function createSender() {
    const sent: QueueEvent[] = [];
    const batches: { events: readonly QueueEvent[]; batchId: string }[] = [];
    return (send: Send, now: number): { events: readonly QueueEvent[]; batchId: string | null } => {
      if ("replays" in send) return batches[send.replays % batches.length] ?? { events: [], batchId: null };
      const events = send.events.flatMap((spec) => {
        if (!("repeats" in spec)) return eventOf(spec, now);
        return sent[spec.repeats % sent.length] ?? [];
      });
      sent.push(...events);
      if (send.batch === "none") return { events, batchId: null };
      if (send.batch === "taken") return { events, batchId: batches.at(-1)?.batchId ?? null };
      const batch = { events, batchId: `batch ${batches.length}` };
      batches.push(batch);
      return batch;
    };
  }

  /** An admin's doing, to a tracker and to the model. */
  async function administer(
    { tracker }: TestTracker,
    model: TrackerModel,
    admin: Drawn<typeof stepArb>["admin"],
    now: number,
  ): Promise<void> {
    if (admin === null) return;
    if ("forget" in admin) {
      expect(await tracker.forget(admin.forget)).toBe(model.forget(admin.forget));
    } else {
      const jobs = admin.remove.map(({ jobId, attempt }) => ({ jobId, attempt }));
      expect(await tracker.remove(admin.from, jobs)).toBe(model.remove(admin.from, jobs, now));
    }
  }

  it("reports the same of every queue after every batch of a random history, on both servers", async () => {
    const historyArb = fc.array(stepArb, { minLength: 1, maxLength: 25 });
    await fc.assert(
      fc.asyncProperty(startArb, settingsArb, historyArb, async (start, settings, history) => {
        let now = start;
        await using one = await openTracker(inject("redisUrl"), { now: () => now, ...settings });
        const { prefix } = one;
        await using other = await openTracker(inject("redisUrl"), { now: () => now, ...settings, prefix });
        const model = createTrackerModel(settings);
        const batchOf = createSender();
        const totals = new Map<string, QueueTotals>();
        for (const { advanceMs, send, admin, server } of history) {
          now += advanceMs;
          if (admin !== null && "forget" in admin) totals.delete(admin.forget);
          const [opened, notAsked] = server === 0 ? [one, other] : [other, one];
          await administer(notAsked, model, admin, now);
          const { events, batchId } = batchOf(send, now);
          const expected = model.record(events, batchId, now);
          expect(await recordOrRefused(opened, events, batchId)).toEqual(expected);
          if (expected !== "REFUSED") expect(expected.accepted + expected.duplicates).toBe(events.length);

          const snapshots = await opened.tracker.read(queues, { ...allParts, totals: true });
          for (const snapshot of snapshots) {
            expectTotals(snapshot, model, totals);
            expectAsModelled(snapshot, model.snapshot(snapshot.queue, now));
            expect(await totalsOf(opened, snapshot.queue)).toEqual(model.totals(snapshot.queue));
            await expectWaiting(opened, snapshot, model.waiting(snapshot.queue, now));
          }
          const sentAt = now;
          for (const { queue, changesAtMs } of snapshots) {
            for (now of changesAtMs === null ? [] : [changesAtMs - 1, changesAtMs]) {
              const [later] = await opened.tracker.read([queue], allParts);
              expectAsModelled(later!, model.snapshot(queue, now));
            }
          }
          now = sentAt;
        }
        await forgetAll(one, queues);
      }),
      { numRuns: 300 },
    );
  });

  it("reports the same overtaken jobs when workers take some jobs in order and leave others", async () => {
    const stepArb = fc.record({
      advanceMs: fc.oneof(fc.nat(5_000), fc.integer({ min: 20_000, max: 70_000 })),
      /** How old each of these jobs is when its event comes. */
      come: fc.array(fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.nat(200_000)), {
        minLength: 1,
        maxLength: 4,
      }),
      /** Which of the waiting jobs go: mostly the oldest but for two. */
      go: fc.array(fc.oneof({ weight: 9, arbitrary: fc.integer({ min: 2, max: 5 }) }, fc.nat(1)), {
        minLength: 1,
        maxLength: 4,
      }),
    });
    let overtaken = 0;
    await fc.assert(
      fc.asyncProperty(startArb, fc.array(stepArb, { minLength: 5, maxLength: 30 }), async (start, steps) => {
        const settings = { eventWindowMs, maxWaitMs: 600_000 };
        let now = start;
        let jobs = 0;
        await using opened = await openTracker(inject("redisUrl"), { now: () => now, ...settings });
        const model = createTrackerModel(settings);
        const eventOfJob = (type: QueueEvent["type"], jobId: string, ageMs = 0): QueueEvent => {
          return { type, queue: "q1", jobId, attempt: 0, atMs: now - ageMs, availableAtMs: null };
        };
        for (const { advanceMs, come, go } of steps) {
          now += advanceMs;
          const waiting = model.waiting("q1", now);
          const events = [
            ...come.map((ageMs) => eventOfJob("ENQUEUED", String(jobs++), ageMs)),
            ...go
              .flatMap((at) => waiting.slice(at, at + 1))
              .map(({ jobId }) => eventOfJob("DEQUEUED", jobId)),
          ];
          await opened.tracker.record(events, null);
          model.record(events, null, now);
          const [snapshot] = await opened.tracker.read(["q1"], allParts);
          expectAsModelled(snapshot!, model.snapshot("q1", now));
          overtaken += snapshot!.overtaken ?? 0;
        }
        await forgetAll(opened, ["q1"]);
      }),
      { numRuns: 100 },
    );
    expect(overtaken).toBeGreaterThan(100);
  });

  it("says when a snapshot will change with no event, and it does not change before", async () => {
    const shareArb = fc.double({ min: 0, max: 1, noNaN: true });
    await fc.assert(
      fc.asyncProperty(
        startArb,
        fc.array(specArb, { maxLength: 12 }),
        shareArb,
        async (start, specs, share) => {
          let now = start;
          await using opened = await openTracker(inject("redisUrl"), {
            now: () => now,
            eventWindowMs,
            maxWaitMs,
          });
          await opened.tracker.record(
            specs.map((spec) => ({ ...eventOf(spec, now), queue: "q1" })),
            null,
          );
          const standing = async () => {
            const [read] = await opened.tracker.read(["q1"], allParts);
            const { state, oldestSinceMs, depth, scheduled, changesAtMs } = read!;
            return { state, oldestSinceMs, depth, scheduled, changesAtMs };
          };
          let before = await standing();
          while (before.changesAtMs !== null) {
            expect(before.changesAtMs).toBeGreaterThan(now);
            now += Math.floor((before.changesAtMs - 1 - now) * share);
            expect(await standing()).toEqual(before);
            now = before.changesAtMs;
            const after = await standing();
            expect(after).not.toEqual(before);
            before = after;
          }
          now += 1_000_000_000;
          expect(await standing()).toEqual(before);
          await forgetAll(opened, ["q1"]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("stays sane when Redis's clock is set back and forth", async () => {
    const jumpArb = fc.record({
      advanceMs: fc.integer({ min: -120_000, max: 120_000 }),
      specs: fc.array(specArb, { maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(startArb, fc.array(jumpArb, { maxLength: 12 }), async (start, jumps) => {
        let now = start;
        await using opened = await openTracker(inject("redisUrl"), {
          now: () => now,
          eventWindowMs,
          maxWaitMs,
        });
        for (const { advanceMs, specs } of jumps) {
          now += advanceMs;
          const events = specs.map((spec) => eventOf(spec, now));
          const { accepted, duplicates } = await opened.tracker.record(events, null);
          expect(accepted + duplicates).toBe(events.length);
          for (const read of await opened.tracker.read(queues, allParts)) {
            expect(read.measuredAtMs).toBe(now);
            const ageMs = read.oldestSinceMs === null ? 0 : now - read.oldestSinceMs;
            expect(read.latencyMs).toBe(read.state === "MISSING" ? null : ageMs);
            expect(read.state === "WAITING").toBe((read.depth ?? 0) > 0);
            for (const number of numbersIn(read)) expect(number).toBeGreaterThanOrEqual(0);
          }
        }
        await forgetAll(opened, queues);
      }),
      { numRuns: 60 },
    );
  });

  it("does not gather ghosts where jobs come in large batches and none is ever dequeued", async () => {
    let now = 1_790_000_000_000;
    await using opened = await openTracker(inject("redisUrl"), { now: () => now, eventWindowMs, maxWaitMs });
    for (let batch = 0; batch < 10; batch++) {
      const jobs = Array.from({ length: 500 }, (_, i): QueueEvent => {
        const jobId = `${batch}-${i}`;
        return { type: "ENQUEUED", queue: "q1", jobId, attempt: 0, atMs: null, availableAtMs: null };
      });
      await opened.tracker.record(jobs, null);
      expect(await opened.redis.zcard(opened.keys.waiting("q1"))).toBeLessThanOrEqual(2 * jobs.length);
      now += maxWaitMs + 1;
    }
    await forgetAll(opened, ["q1"]);
  });
});

describe("ghosts", () => {
  it("are not there to be removed, also when there are more than are dropped at once", async () => {
    let now = 1_790_000_000_000;
    await using opened = await openTracker(inject("redisUrl"), { now: () => now, eventWindowMs, maxWaitMs });
    const jobs = Array.from({ length: 300 }, (_, i): QueueEvent => {
      const rest = { attempt: 0, atMs: null, availableAtMs: null };
      return { type: "ENQUEUED", queue: "q1", jobId: `${i}`, ...rest };
    });
    await opened.tracker.record(jobs, null);
    now += maxWaitMs + 1;
    expect(await opened.tracker.remove("q1", [{ jobId: "299", attempt: 0 }])).toBe(0);
    expect(await opened.redis.zcard(opened.keys.waiting("q1"))).toBeGreaterThan(0);
    expect(await opened.tracker.read(["q1"], allParts)).toMatchObject([{ depth: 0, lost: 299 }]);
    await forgetAll(opened, ["q1"]);
  });
});

describe("the order of events", () => {
  /** One job's stay: what happened to it, each at a time of its own that does not depend on when it is received. */
  const stayArb = fc.record({
    identity: identityArb,
    enqueued: fc.option(
      fc.record({ at: relativeArb(), availableAt: fc.option(relativeArb({ max: 40_000 })) }),
    ),
    dequeued: fc.option(relativeArb()),
    removed: fc.option(relativeArb(), { freq: 1 }),
  });
  type Stay = Drawn<typeof stayArb>;
  const staysArb = fc.uniqueArray(stayArb, {
    selector: ({ identity }) => JSON.stringify(identity),
    minLength: 1,
    maxLength: 12,
  });

  function eventsOf({ identity, enqueued, dequeued, removed }: Stay, start: number): QueueEvent[] {
    const event = (type: QueueEvent["type"], at: number, availableAt: number | null = null): QueueEvent => {
      const availableAtMs = availableAt === null ? null : start + availableAt;
      return { type, ...identity, atMs: start + at, availableAtMs };
    };
    return [
      ...(enqueued === null ? [] : [event("ENQUEUED", enqueued.at, enqueued.availableAt)]),
      ...(dequeued === null ? [] : [event("DEQUEUED", dequeued)]),
      ...(removed === null ? [] : [event("REMOVED", removed)]),
    ];
  }

  /** An order of all events, in which each comes one to three times, and how they are cut into batches. */
  function deliveryArb(events: readonly QueueEvent[]) {
    return fc
      .array(fc.integer({ min: 1, max: 3 }), { minLength: events.length, maxLength: events.length })
      .chain((copies) => {
        const all = events.flatMap((event, i) => Array.from({ length: copies[i]! }, () => event));
        return fc.record({
          events: fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length }),
          batches: fc.array(
            fc.record({
              size: fc.integer({ min: 1, max: 6 }),
              waits: fc.nat(eventWindowMs - 1),
              id: fc.boolean(),
              times: fc.constantFrom(1, 1, 2),
            }),
            { minLength: 1, maxLength: 10 },
          ),
        });
      });
  }
  type Delivery = Drawn<ReturnType<typeof deliveryArb>>;
  const caseArb = fc.tuple(startArb, staysArb).chain(([start, stays]) => {
    const events = stays.flatMap((stay) => eventsOf(stay, start));
    return fc.tuple(fc.constant(start), deliveryArb(events), deliveryArb(events));
  });

  /** All that is known of the queues when everything has been received. */
  async function outcome(start: number, { events, batches }: Delivery) {
    let now = start;
    await using opened = await openTracker(inject("redisUrl"), { now: () => now, eventWindowMs, maxWaitMs });
    const arrivals = batches.map(({ waits }) => waits).sort((a, b) => a - b);
    let from = 0;
    for (let i = 0; from < events.length; i++) {
      const isLast = i >= batches.length - 1;
      const { size, id, times } = batches[Math.min(i, batches.length - 1)]!;
      now = start + arrivals[Math.min(i, batches.length - 1)]!;
      const batch = events.slice(from, isLast ? undefined : from + size);
      from += batch.length;
      for (let time = 0; time < times; time++) await opened.tracker.record(batch, id ? `batch ${i}` : null);
    }
    now = start + eventWindowMs;
    // Which ghosts have been dropped already is no part of the promise, only that they are all dropped in the end.
    const recorder = openRecorder(opened, { eventWindowMs, maxWaitMs, now: () => now });
    await recorder.sweep(queues);
    const result = {
      snapshots: await opened.tracker.read(queues, allParts),
      totals: await Promise.all(queues.map((queue) => totalsOf(opened, queue))),
      waiting: await Promise.all(
        queues.map((queue) => opened.redis.zrange(opened.keys.waiting(queue), "0", "-1", "WITHSCORES")),
      ),
    };
    await forgetAll(opened, queues);
    return result;
  }

  it("makes no difference, nor do repetitions and how they are cut into batches", async () => {
    await fc.assert(
      fc.asyncProperty(caseArb, async ([start, one, other]) => {
        expect(await outcome(start, other)).toEqual(await outcome(start, one));
      }),
      { numRuns: 150 },
    );
  });
});

describe("a batch that is sent again", () => {
  const specsArb = fc.array(specArb, { maxLength: 20 });

  it("gets the first answer, and not a byte changes", async () => {
    const property = fc.asyncProperty(
      startArb,
      specsArb,
      specsArb,
      fc.nat(eventWindowMs - 1),
      async (start, before, specs, waits) => {
        let now = start;
        await using opened = await openTracker(inject("redisUrl"), {
          now: () => now,
          eventWindowMs,
          maxWaitMs,
        });
        const { tracker } = opened;
        await tracker.record(
          before.map((spec) => eventOf(spec, start)),
          "the one before",
        );
        const batch = specs.map((spec) => eventOf(spec, start));
        const first = await tracker.record(batch, "the batch");
        expect(first.accepted + first.duplicates).toBe(batch.length);
        expect(first.early).toBeLessThanOrEqual(first.accepted);
        const content = await contentOf(opened);
        now += waits;
        expect(await tracker.record(batch, "the batch")).toEqual(first);
        expect(await contentOf(opened)).toEqual(content);
        await forgetAll(opened, queues);
      },
    );
    await fc.assert(property, { numRuns: 100 });
  });
});

describe("wait times", () => {
  const sevenDaysMs = 7 * 86_400_000;
  const logUniformArb = fc
    .double({ min: 0, max: Math.log(sevenDaysMs + 1), noNaN: true })
    .map((log) => Math.min(sevenDaysMs, Math.floor(Math.exp(log)) - 1));
  const samplesArb = fc.oneof(
    fc.array(logUniformArb, { minLength: 1, maxLength: 2000, size: "max" }),
    fc.array(logUniformArb, { minLength: 1, maxLength: 30 }),
    fc
      .tuple(logUniformArb, fc.integer({ min: 1, max: 2000 }))
      .map(([waitMs, count]) => Array<number>(count).fill(waitMs)),
    fc
      .tuple(
        logUniformArb,
        logUniformArb,
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 1000 }),
      )
      .map(([low, high, lows, highs]) => [
        ...Array<number>(lows).fill(low),
        ...Array<number>(highs).fill(high),
      ]),
  );

  /** What is read after jobs with these waits were dequeued, one after the other within a minute. */
  async function read(start: number, waitsMs: readonly number[], dequeuesFirst: boolean) {
    await using opened = await openTracker(inject("redisUrl"), { now: () => start });
    const pairs = waitsMs.map((waitMs, i): [QueueEvent, QueueEvent] => {
      const atMs = start - ((i * 997) % 60_000);
      const job = { queue: "q", jobId: `${i}`, attempt: 0, availableAtMs: null };
      return [
        { type: "ENQUEUED", ...job, atMs: atMs - waitMs },
        { type: "DEQUEUED", ...job, atMs },
      ];
    });
    const events = pairs.flatMap((pair) => (dequeuesFirst ? pair.toReversed() : pair));
    await opened.tracker.record(events, null);
    const [snapshot] = await opened.tracker.read(["q"], allParts);
    await forgetAll(opened, ["q"]);
    return snapshot?.waitTime?.ONE_MINUTE ?? undefined;
  }

  it("have quantiles within 2 % of the true ones, and an exact count, mean and maximum", async () => {
    await fc.assert(
      fc.asyncProperty(startArb, samplesArb, fc.boolean(), async (start, waitsMs, dequeuesFirst) => {
        expectWaitTime(await read(start, waitsMs, dequeuesFirst), waitsMs, 0.02);
      }),
      { numRuns: 60 },
    );
  });

  it("are within 2 % for every wait of up to 200 ms, where a millisecond is much", async () => {
    for (let waitMs = 0; waitMs <= 200; waitMs++) {
      const waitsMs = [waitMs, waitMs, 10_000];
      expectWaitTime(await read(1_790_000_000_000, waitsMs, false), waitsMs, 0.02);
    }
  });
});

describe("the names of queues", () => {
  const fragments = "a b { } % 7b %7b %25 : waiting state recent departed:0".split(" ");
  const oddNames = "__proto__ constructor queues changes sweep {} }{ é e\u0301 🚀 日本".split(" ");
  const nameArb = fc
    .oneof(
      fc.array(fc.constantFrom(...fragments), { minLength: 1, maxLength: 6 }).map((parts) => parts.join("")),
      fc.constantFrom(" ", ...oddNames),
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }),
    )
    .filter((name) => queueNameProblem(name) === null);
  /** What a sloppy escape or comparison would take for the same name. */
  const doubleArb = fc.tuple(
    nameArb,
    fc.constantFrom(
      (name: string) => name.replace(/[%{}]/g, (char) => `%${char.charCodeAt(0).toString(16)}`),
      (name: string) => name.replace(/[{}]/g, (char) => `%${char.charCodeAt(0).toString(16)}`),
      (name: string) => decodeURIComponent(name.replace(/%(?!7b|7d|25)/g, "%25")),
      (name: string) => name.replace(/[{}]/g, ""),
      (name: string) => name.toUpperCase(),
      (name: string) => name.normalize("NFD"),
      (name: string) => `${name} `,
      (name: string) => `{${name}}`,
      (name: string) => `${name}}:waiting`,
    ),
  );
  const pairArb = fc
    .oneof(
      fc.tuple(nameArb, nameArb),
      doubleArb.map(([name, change]): [string, string] => [name, change(name)]),
    )
    .filter(([one, other]) => one !== other && queueNameProblem(other) === null);

  it("never share a key, and keep all keys of one queue on one hash tag", () => {
    fc.assert(
      fc.property(pairArb, ([one, other]) => {
        const keys = createKeys("ql");
        const shared = [keys.index, keys.changes, keys.sweepLease, keys.throttle(one), keys.throttle(other)];
        const all = [...keys.all(one), ...keys.all(other), ...shared];
        expect(new Set(all).size).toBe(all.length);
        for (const name of [one, other]) {
          const tags = new Set(keys.all(name).map(hashTagOf));
          expect(tags.size).toBe(1);
          expect([...tags][0]).not.toBe("");
        }
        expect(hashTagOf(keys.waiting(one))).not.toBe(hashTagOf(keys.waiting(other)));
      }),
      { numRuns: 2_000 },
    );
  });

  it("keep apart what happens to one queue from the other, whatever they contain", async () => {
    const start = 1_790_000_000_000;
    await fc.assert(
      fc.asyncProperty(pairArb, async ([one, other]) => {
        await using opened = await openTracker(inject("redisUrl"), { now: () => start });
        const { tracker } = opened;
        const enqueued = (queue: string, ...jobIds: string[]) =>
          jobIds.map((jobId): QueueEvent => {
            return { type: "ENQUEUED", queue, jobId, attempt: 0, atMs: null, availableAtMs: null };
          });
        const depths = async () => (await tracker.read([one, other], allParts)).map(({ depth }) => depth);

        await tracker.record(enqueued(one, "a", "b"), null);
        expect(await tracker.read([other], allParts)).toMatchObject([
          { queue: other, state: "MISSING", depth: null },
        ]);
        await tracker.record([...enqueued(other, "a"), ...enqueued(one, "c")], "batch");
        expect(await depths()).toEqual([3, 1]);
        await tracker.record([{ ...enqueued(other, "a")[0]!, type: "DEQUEUED" }], null);
        expect(await depths()).toEqual([3, 0]);
        const byBytes = [one, other].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
        expect(await tracker.list({ limit: 10 })).toEqual(byBytes);
        expect(await tracker.list({ limit: 10, after: byBytes[0]! })).toEqual([byBytes[1]]);
        expect(await tracker.list({ limit: 10, prefix: one })).toContain(one);
        expect(await tracker.forget(other)).toBe(true);
        expect(await tracker.read([one, other], allParts)).toMatchObject([
          { depth: 3 },
          { state: "MISSING" },
        ]);
        expect(await tracker.list({ limit: 10 })).toEqual([one]);
        await tracker.forget(one);
      }),
      { numRuns: 100 },
    );
  });
});

/** A span in ms, often short, and often just at an edge. */
function relativeArb({ min = -90_000, max = 0 } = {}): fc.Arbitrary<number> {
  return fc.oneof(
    fc.integer({ min: Math.max(min, -5_000), max: Math.min(max, 5_000) }),
    fc.integer({ min, max }),
    fc.constantFrom(
      ...[-maxWaitMs - 1, -maxWaitMs, -maxWaitMs + 1, 0, 1].filter((ms) => ms >= min && ms <= max),
    ),
  );
}

async function recordOrRefused(
  { tracker }: TestTracker,
  events: readonly QueueEvent[],
  batchId: string | null,
): Promise<RecordResult | "REFUSED"> {
  try {
    return await tracker.record(events, batchId);
  } catch (error) {
    expect(error).toMatchObject({ code: "BAD_USER_INPUT" });
    return "REFUSED";
  }
}

function expectAsModelled(snapshot: QueueSnapshot, expected: ModelSnapshot): void {
  const { throughput, waitTime, totals: _, ...rest } = snapshot;
  const { throughput: expectedThroughput, waitsMs, ...expectedRest } = expected;
  expect(rest).toEqual(expectedRest);
  if (expectedThroughput === null || waitsMs === null) {
    expect([throughput, waitTime]).toEqual([null, null]);
    return;
  }
  for (const window of windows) {
    const rates = expectedThroughput[window]!;
    expect(throughput?.[window]?.enqueuedPerSecond, window).toBeCloseTo(rates.enqueuedPerSecond, 7);
    expect(throughput?.[window]?.dequeuedPerSecond, window).toBeCloseTo(rates.dequeuedPerSecond, 7);
    expectWaitTime(waitTime?.[window] ?? undefined, waitsMs[window], 0.05);
  }
}

/** All that was counted is as modelled, and nothing is less than it was before. */
function expectTotals(
  { queue, state, totals }: QueueSnapshot,
  model: TrackerModel,
  before: Map<string, QueueTotals>,
): void {
  if (state === "MISSING") {
    expect(totals).toBeUndefined();
    return;
  }
  const { enqueued, dequeued, removed, lost } = model.totals(queue);
  expect(totals).toMatchObject({ enqueued, dequeued });
  expect(totals?.removed).toBeGreaterThanOrEqual(removed);
  expect(totals?.lost).toBeGreaterThanOrEqual(lost);
  const waits = model.waits(queue);
  expect(totals?.waitedMs).toBe(waits.reduce((sum, waitMs) => sum + waitMs, 0));
  expect(totals?.waits).toEqual(
    [...waitBoundsMs, Number.POSITIVE_INFINITY].map((bound, i, bounds) => {
      const above = bounds[i - 1] ?? Number.NEGATIVE_INFINITY;
      return waits.filter((waitMs) => waitMs > above && waitMs <= bound).length;
    }),
  );
  const least = before.get(queue);
  if (least !== undefined) {
    const fell = numbersIn(totals).map((count, i) => count < numbersIn(least)[i]!);
    expect(fell).not.toContain(true);
  }
  before.set(queue, totals!);
}

/** Of jobs that became claimable at once, any order. */
async function expectWaiting(
  { tracker }: TestTracker,
  { queue, depth }: QueueSnapshot,
  expected: readonly WaitingJob[],
): Promise<void> {
  const inOrder = (jobs: readonly WaitingJob[]) => jobs.map(({ sinceMs }) => sinceMs);
  const byId = (jobs: readonly WaitingJob[]) =>
    jobs.map((job) => JSON.stringify(Object.entries(job).sort())).sort();
  const all = await tracker.waiting(queue, (depth ?? 0) + 1);
  expect(byId(all)).toEqual(byId(expected));
  expect(inOrder(all)).toEqual(inOrder(expected));
  expect(await tracker.waiting(queue, 1)).toEqual(all.slice(0, 1));
}

function expectWaitTime(
  waitTime: ReturnType<typeof exactWaitTime> | undefined,
  waitsMs: readonly number[],
  tolerance: number,
): void {
  const exact = exactWaitTime(waitsMs);
  expect(waitTime).toMatchObject({ count: exact.count, max: exact.max });
  expect(Math.abs(waitTime!.mean - exact.mean)).toBeLessThanOrEqual(1e-9 * exact.mean);
  for (const quantile of ["p50", "p95", "p99"] as const) {
    const deviation = Math.abs(waitTime![quantile] - exact[quantile]);
    const message = `${quantile} is ${exact[quantile]} s, was reported as ${waitTime![quantile]} s`;
    expect(deviation, message).toBeLessThanOrEqual(tolerance * exact[quantile]);
  }
}

async function totalsOf({ redis, keys }: TestTracker, queue: string): Promise<Totals> {
  const names = ["enqueued", "dequeued", "removed", "lost"] as const;
  const counts = await redis.hmget(keys.state(queue), ...names);
  return Object.fromEntries(names.map((name, i) => [name, Number(counts[i] ?? 0)])) as unknown as Totals;
}

/** Everything that is stored of the queues, byte by byte. */
async function contentOf({ redis, keys }: TestTracker) {
  const contents: [key: string, content: string[]][] = [];
  for (const queue of queues) {
    for (const key of keys.all(queue)) {
      const isSet = key === keys.waiting(queue);
      const reply: unknown = isSet
        ? await redis.callBuffer("ZRANGE", key, "0", "-1", "WITHSCORES")
        : await redis.callBuffer("HGETALL", key);
      contents.push([key, flat(reply).sort()]);
    }
  }
  return contents;
}

/** Pairs may come as a map, as pairs, or one after the other: here each is one text of hexadecimal digits. */
function flat(reply: unknown): string[] {
  if (Buffer.isBuffer(reply)) return [reply.toString("hex")];
  if (reply instanceof Map) return [...reply].map((pair) => flat(pair).join("="));
  if (Array.isArray(reply)) return reply.flatMap((item) => flat(item));
  if (typeof reply === "object" && reply !== null)
    return Object.entries(reply).map((pair) => flat(pair).join("="));
  return [String(reply)];
}

function numbersIn(value: unknown): number[] {
  if (typeof value === "number") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(numbersIn) : [];
}

function hashTagOf(key: string): string {
  const from = key.indexOf("{") + 1;
  return key.slice(from, key.indexOf("}", from));
}

async function forgetAll({ tracker }: TestTracker, names: readonly string[]): Promise<void> {
  for (const name of names) await tracker.forget(name);
}
