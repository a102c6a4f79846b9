import fc from "fast-check";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { advanceMarks, headAge, type ListMarks } from "../../src/sources/lists/list-marks.ts";
import { type ListMoves, movesBetween } from "../../src/sources/lists/list-moves.ts";
import { marksIn, notesOf } from "../../src/sources/lists/list-notes.ts";
import { createListReader, type ListReply } from "../../src/sources/lists/list-reader.ts";
import type { ListSystem } from "../../src/sources/lists/list-system.ts";
import { listSystems } from "../../src/sources/lists/list-systems.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";

let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
});

afterAll(async () => {
  redis?.disconnect();
  await server?.stop();
});

const exactMs = 3_000;

interface Job {
  readonly text: string;
  /** When it was pushed for the first time. */
  readonly firstMs: number;
  /** When it was put where it is. */
  readonly sinceMs: number;
  /** How often the list had been read then. */
  readonly readings: number;
}

/** A list in Redis, the same list in memory with a clock of its own, and what is read of it. */
function createList(pushedAt: "left" | "right", areDistinct: boolean) {
  const key = "list";
  let nowMs = 1_000_000;
  /** From the head on. */
  let jobs: Job[] = [];
  const popped: Job[] = [];
  let marks: ListMarks | null = null;
  let reply: ListReply | null = null;
  const system: ListSystem = {
    ...{ kind: "huey", title: "test", pushedAt, areDistinct, scoreMs: 1, parameters: [] },
    look: "local function look() return nil end",
    open: () => {
      throw new Error("not opened");
    },
  };
  const reader = createListReader({ system, argument: "", now: () => nowMs });
  const [push, pop, unpop] =
    pushedAt === "left" ? (["lpush", "rpop", "rpush"] as const) : (["rpush", "lpop", "lpush"] as const);
  /** From the first time on. */
  const readAtMs: number[] = [];
  /** Since the last reading: how many were pushed, and which left when. */
  let pushed = 0;
  let left: { readonly job: Job; readonly atMs: number }[] = [];
  let moves: {
    readonly reported: ListMoves | null;
    readonly pushed: number;
    readonly left: typeof left;
  } | null = null;

  const job = (text: string): Job => {
    pushed += 1;
    return { text, firstMs: nowMs, sinceMs: nowMs, readings: readAtMs.length };
  };
  const leaving = (gone: readonly Job[]) => {
    left.push(...gone.map((each) => ({ job: each, atMs: nowMs })));
    return gone;
  };

  return {
    jobs: () => jobs,
    /** What was pushed and what left between the last two readings, as it is reported and as it was. */
    moves: () => moves,
    readings: () => readAtMs.length,
    /** From one reading, by its number from 1, to the next one, in ms. */
    intervalAfter: (readings: number) =>
      (readAtMs[readings] ?? Number.NaN) - (readAtMs[readings - 1] ?? Number.NaN),
    now: () => nowMs,
    wait(ms: number) {
      nowMs += ms;
    },
    /** The clock of the list's Redis. */
    setBack(ms: number) {
      nowMs -= ms;
      jobs = jobs.map((each) => ({ ...each, firstMs: each.firstMs - ms, sinceMs: each.sinceMs - ms }));
    },
    async push(texts: readonly string[]) {
      if (texts.length === 0) return;
      jobs.push(...texts.map(job));
      await redis[push](key, ...texts);
    },
    async pop(count: number) {
      if (count <= 0 || jobs.length === 0) return;
      popped.push(...leaving(jobs.splice(0, count)));
      await redis[pop](key, count);
    },
    /** Pushes at the end from which workers take. */
    async pushAtHead(text: string) {
      jobs.unshift(job(text));
      await redis[unpop](key, text);
    },
    async putBack() {
      const old = popped.pop();
      if (old === undefined) return;
      jobs.unshift({ ...old, sinceMs: nowMs, readings: readAtMs.length });
      pushed += 1;
      await redis[unpop](key, old.text);
    },
    async popNewest() {
      if (leaving(jobs.splice(-1)).length > 0)
        await (pushedAt === "left" ? redis.lpop(key) : redis.rpop(key));
    },
    async remove(isRemoved: (job: Job, place: number) => boolean) {
      const removed = jobs.filter(isRemoved);
      for (const { text } of removed) await redis.lrem(key, pushedAt === "left" ? -1 : 1, text);
      jobs = jobs.filter((each) => !removed.includes(each));
      leaving(removed);
    },
    async purge() {
      leaving(jobs);
      jobs = [];
      await redis.del(key);
    },
    async read() {
      const asked = { keys: { lists: [key], sets: [], pauses: [] }, marks: [marks] };
      const [reading] = await reader.read(redis, [asked]);
      reply = reading?.lists[0] ?? null;
      if (reply?.reading == null) throw new Error("expected a list");
      const before = marks;
      marks = advanceMarks(before, reply.reading, areDistinct);
      moves = { reported: movesBetween(before, marks, reply.reading, exactMs), pushed, left };
      [pushed, left] = [0, []];
      readAtMs.push(nowMs);
      return headAge(marks, exactMs);
    },
    reply: () => reply,
    /** As the next reader does. */
    passOn() {
      if (marks === null) return;
      marks = marksIn(notesOf([marks]), 1)?.[0] ?? null;
      expect(marks).not.toBeNull();
    },
  };
}

type List = ReturnType<typeof createList>;

/** What is claimed of the head must be true, and never calmer than the truth. */
async function expectTrue(list: List, canRepeat = false): Promise<string> {
  const age = await list.read();
  const jobs = list.jobs();
  if (age === null || jobs.length === 0) {
    expect({ age, jobs }).toEqual({ age: null, jobs: [] });
    return "EMPTY";
  }
  const agesOf = (times: readonly number[]) => list.now() - Math.min(...times);
  const inListMs = agesOf(jobs.map(({ sinceMs }) => sinceMs));
  const sinceFirstMs = agesOf(jobs.map(({ firstMs }) => firstMs));
  if (age.accuracy === "EXACT") {
    expect(age.ageMs + age.uncertaintyMs).toBeGreaterThanOrEqual(inListMs);
    expect(2 * age.uncertaintyMs).toBeLessThanOrEqual(Math.max(exactMs, 0.05 * age.ageMs));
  }
  // Where jobs repeat, new ones may look like those that were there before.
  if (age.accuracy !== "UNKNOWN" && !canRepeat)
    expect(age.ageMs - age.uncertaintyMs).toBeLessThanOrEqual(sinceFirstMs);
  return age.accuracy;
}

/** No more is said to have come and left than has; where all is said to be counted, it is, and each wait is true to the intervals. */
function expectTrueMoves(list: List, isInOrder: boolean): "WHOLE" | "LOWER_BOUND" | null {
  const { reported = null, pushed = 0, left = [] } = list.moves() ?? {};
  expect(reported === null).toBe(list.readings() < 2);
  if (reported === null) return null;
  const reportedLeft = reported.left.reduce((sum, { count }) => sum + count, 0);
  expect(reported.pushed).toBeLessThanOrEqual(pushed);
  expect(reportedLeft).toBeLessThanOrEqual(left.length);
  if (!isInOrder) return reported.isWhole ? "WHOLE" : "LOWER_BOUND";
  if (reported.isWhole) expect([reported.pushed, reportedLeft]).toEqual([pushed, left.length]);
  const waits = reported.left.flatMap(({ count, waitMs }) => Array.from({ length: count }, () => waitMs));
  for (const [i, waitMs] of waits.entries()) {
    const gone = left[i];
    if (waitMs === null || gone === undefined) continue;
    const trueMs = gone.atMs - gone.job.sinceMs;
    // Half of the interval in which it was pushed, and half of that in which it left; old intervals are merged.
    const pushedWithinMs = list.intervalAfter(gone.job.readings);
    const boundMs = (pushedWithinMs + list.intervalAfter(list.readings() - 1)) / 2 + 0.02 * trueMs;
    expect(Math.abs(waitMs - trueMs)).toBeLessThanOrEqual(boundMs + 1);
  }
  return reported.isWhole ? "WHOLE" : "LOWER_BOUND";
}

const fifo = [
  fc.record({ op: fc.constant("push" as const), count: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ op: fc.constant("pop" as const), count: fc.integer({ min: 1, max: 60 }) }),
  fc.record({ op: fc.constant("purge" as const), count: fc.constant(0) }),
  fc.record({ op: fc.constant("passOn" as const), count: fc.constant(0) }),
];
const popsOfFew = fc.record({ op: fc.constant("pop" as const), count: fc.integer({ min: 1, max: 4 }) });
const atTheHead = fc.record({ op: fc.constantFrom("pushAtHead", "putBack"), count: fc.constant(0) });
const removals = [
  fc.record({ op: fc.constant("popNewest" as const), count: fc.constant(0) }),
  fc.record({ op: fc.constant("remove" as const), count: fc.integer({ min: 2, max: 12 }) }),
];
type Op = { readonly op: string; readonly count: number };
const waits = fc.integer({ min: 0, max: 400 });
const rounds = (ops: readonly fc.Arbitrary<Op>[]) =>
  fc.array(fc.array(fc.tuple(fc.oneof(...ops), waits), { maxLength: 4 }), { minLength: 5, maxLength: 20 });

/** As many as are known of the head's end leave at most between two readings, when some leave otherwise than from the head. */
const maxLeaving = 12;

async function play(
  list: List,
  history: readonly (readonly (readonly [Op, number])[])[],
  textOf: (n: number) => string,
  {
    isDisturbed = false,
    canRepeat = false,
  }: { readonly isDisturbed?: boolean; readonly canRepeat?: boolean },
  onRead: (accuracy: string) => void = () => {},
): Promise<void> {
  let pushed = 0;
  for (const ops of history) {
    let left = maxLeaving;
    for (const [{ op, count }, waitMs] of ops) {
      list.wait(waitMs);
      const leaving = Math.min(left, count);
      if (op === "push") await list.push(Array.from({ length: count }, () => textOf(pushed++)));
      else if (op === "pop") await list.pop(isDisturbed ? leaving : count);
      else if (op === "purge") await list.purge();
      else if (op === "passOn") list.passOn();
      else if (op === "pushAtHead") await list.pushAtHead(textOf(pushed++));
      else if (op === "putBack") await list.putBack();
      else if (op === "popNewest" && left > 0) await list.popNewest();
      else if (op === "remove") {
        let removed = 0;
        await list.remove((_, place) => place % count === 1 && removed++ < left);
        left -= Math.min(left, removed);
      }
      if (op === "pop") left -= leaving;
      if (op === "popNewest") left -= 1;
    }
    list.wait(1 + (history.length % 7));
    onRead(await expectTrue(list, canRepeat));
  }
}

describe.each(["left", "right"] as const)("a list that is pushed at the %s", (pushedAt) => {
  const fresh = async (areDistinct = true) => {
    await redis.flushdb();
    return createList(pushedAt, areDistinct);
  };

  test("is EXACT or empty after any pushes, pops and purges, once it was seen empty", async () => {
    await fc.assert(
      fc.asyncProperty(rounds(fifo), async (history) => {
        const list = await fresh();
        expect(await expectTrue(list)).toBe("EMPTY");
        let before = "EMPTY";
        let newest: Job | undefined;
        await play(
          list,
          history,
          (n) => `job-${n}`,
          {},
          (accuracy) => {
            // Where all that was known has left at once, it is not known whether others stayed.
            const { newHit = null, oldHit = null } = list.reply()?.reading ?? {};
            const isKnown = before !== "LOWER_BOUND" && (newHit !== null || oldHit !== null);
            if (isKnown && accuracy !== "EMPTY") expect(accuracy).toBe("EXACT");
            before = accuracy;
            const isNewestThere = newest !== undefined && list.jobs().includes(newest);
            expect(expectTrueMoves(list, true)).toBe(isNewestThere ? "WHOLE" : "LOWER_BOUND");
            newest = list.jobs().at(-1);
          },
        );
      }),
      { numRuns: 40 },
    );
  });

  test.each([
    { what: "pushed at the wrong end", ops: [popsOfFew, atTheHead], canRepeat: false },
    { what: "removed", ops: [popsOfFew, ...removals], canRepeat: false },
    // Then one at the wrong end may seem to be an old one that was removed: that is older than it is.
    {
      what: "pushed at the wrong end and removed",
      ops: [popsOfFew, atTheHead, ...removals],
      canRepeat: true,
    },
  ])("is never calmer than the truth, whatever is $what", async ({ ops, canRepeat }) => {
    await fc.assert(
      fc.asyncProperty(rounds([...fifo, ...ops]), fc.nat(30), async (history, before) => {
        const list = await fresh();
        await list.push(Array.from({ length: before }, (_, n) => `before-${n}`));
        const isDisturbed = true;
        await play(
          list,
          history,
          (n) => `job-${n}`,
          { isDisturbed, canRepeat },
          (accuracy) => {
            expect(accuracy).not.toBe("UNKNOWN");
            expectTrueMoves(list, false);
          },
        );
      }),
      { numRuns: 40 },
    );
  });

  test("is never calmer than the truth where elements are equal", async () => {
    await fc.assert(
      fc.asyncProperty(rounds(fifo), fc.integer({ min: 1, max: 30 }), async (history, different) => {
        const list = await fresh(false);
        await play(list, history, (n) => `job-${n % different}`, { canRepeat: true });
      }),
      { numRuns: 40 },
    );
  });

  const texts = (prefix: string, count: number) => Array.from({ length: count }, (_, n) => `${prefix}-${n}`);
  /** An empty list, then old jobs, then young ones, a reading after each. */
  const withBacklog = async () => {
    const list = await fresh();
    await list.read();
    await list.push(texts("old", 40));
    list.wait(1_000);
    await list.read();
    list.wait(60_000);
    await list.read();
    await list.push(texts("young", 40));
    list.wait(1_000);
    await list.read();
    return list;
  };

  const cases: readonly {
    readonly what: string;
    readonly change: (list: List) => Promise<void>;
    readonly accuracy: "EXACT" | "LOWER_BOUND";
    /** From when on the head waits, in ms ago, within a second. */
    readonly agoMs: number;
    readonly why: string;
  }[] = [
    { what: "nothing", change: async () => {}, accuracy: "EXACT", agoMs: 62_000, why: "the head stays" },
    {
      what: "ten pops",
      change: (list) => list.pop(10),
      accuracy: "EXACT",
      agoMs: 62_000,
      why: "an old one is the head",
    },
    {
      what: "all old ones popped",
      change: (list) => list.pop(40),
      accuracy: "EXACT",
      agoMs: 1_000,
      why: "a young one is the head",
    },
    {
      what: "a job at the wrong end",
      change: (list) => list.pushAtHead("urgent"),
      accuracy: "LOWER_BOUND",
      agoMs: 62_000,
      why: "the next one is old, and of the first nothing is known",
    },
    {
      what: "a job that was put back",
      change: async (list) => {
        await list.pop(3);
        await list.read();
        await list.putBack();
      },
      accuracy: "LOWER_BOUND",
      agoMs: 62_000,
      why: "it may have waited before",
    },
    {
      what: "every other young job removed",
      change: (list) => list.remove(({ text }) => /young-\d*[02468]$/.test(text)),
      accuracy: "EXACT",
      agoMs: 62_000,
      why: "the head stays, though the list is shorter",
    },
    {
      what: "every other old job removed, and two popped",
      change: async (list) => {
        await list.remove(({ text }) => /old-\d*[02468]$/.test(text));
        await list.pop(2);
      },
      accuracy: "EXACT",
      agoMs: 62_000,
      why: "old ones are left, however few",
    },
    {
      what: "the newest jobs removed",
      change: async (list) => {
        for (let n = 0; n < 5; n++) await list.popNewest();
      },
      accuracy: "EXACT",
      agoMs: 62_000,
      why: "the head stays",
    },
    {
      what: "a purge and new jobs",
      change: async (list) => {
        await list.purge();
        await list.push(texts("new", 5));
      },
      accuracy: "LOWER_BOUND",
      agoMs: 0,
      why: "of 80 jobs not all were known: others than these may have stayed",
    },
    {
      what: "another reader",
      change: async (list) => list.passOn(),
      accuracy: "EXACT",
      agoMs: 62_000,
      why: "it goes on from the marks",
    },
    {
      what: "a clock that is set back by an hour",
      change: async (list) => list.setBack(3_600_000),
      accuracy: "EXACT",
      agoMs: 62_000,
      why: "what was measured by it is set back, too",
    },
    {
      what: "6,000 pushes at once, and ten pops",
      change: async (list) => {
        await list.push(texts("burst", 6_000));
        await list.pop(10);
      },
      accuracy: "EXACT",
      agoMs: 62_000,
      why: "the head is known from its own end",
    },
  ];
  test.each(cases)("$what: $accuracy, for $why", async ({ change, accuracy, agoMs }) => {
    const list = await withBacklog();
    await change(list);
    expect(await expectTrue(list)).toBe(accuracy);
    const age = await list.read();
    expect(age?.accuracy).toBe(accuracy);
    expect(Math.abs((age?.ageMs ?? Number.NaN) - agoMs)).toBeLessThanOrEqual(1_000);
  });

  test.each([
    { before: 100, leaving: 0, pushed: 0, left: 100, why: "workers may have taken as many" },
    { before: 101, leaving: 0, pushed: 0, left: 0, why: "no job had left before" },
    { before: 5_000, leaving: 0, pushed: 3, left: 0, why: "others came since" },
    { before: 200, leaving: 20, pushed: 0, left: 200, why: "workers were about as fast before" },
    { before: 201, leaving: 20, pushed: 0, left: 0, why: "workers took a tenth of it before" },
  ])("of $before jobs that are gone at once, $left count as dequeued: $why", async (one) => {
    const { before, leaving, pushed, left } = one;
    const list = await fresh();
    await list.read();
    await list.push(texts("job", before + leaving));
    list.wait(1_000);
    await list.read();
    await list.pop(leaving);
    list.wait(1_000);
    await list.read();
    await list.purge();
    await list.push(texts("new", pushed));
    list.wait(1_000);
    await list.read();
    const { reported } = list.moves() ?? {};
    expect(reported?.left.reduce((sum, { count }) => sum + count, 0)).toBe(left);
    // Others may have come and left.
    expect(reported?.isWhole).toBe(false);
  });

  test("a list that was not looked through is not purged: as many count as dequeued as it is shorter", async () => {
    const list = await fresh();
    await list.read();
    await list.push(texts("job", 20_000));
    list.wait(1_000);
    await list.read();
    // From neither end a known job is near enough.
    await list.push(texts("new", 6_000));
    await list.pop(8_000);
    list.wait(1_000);
    await list.read();
    expect(list.moves()?.reported).toMatchObject({ left: [{ count: 2_000, waitMs: null }], isWhole: false });
  });

  test("marks that were noted by other digests are not gone on from", () => {
    expect(marksIn('{"version":1,"lists":[]}', 0)).toBeNull();
  });

  test("the jobs of before the first reading are LOWER_BOUND, until they have left", async () => {
    const list = await fresh();
    await list.push(texts("before", 100));
    expect(await list.read()).toMatchObject({ accuracy: "LOWER_BOUND", ageMs: 0 });
    list.wait(5_000);
    await list.push(texts("after", 10));
    await list.pop(99);
    expect(await list.read()).toMatchObject({ accuracy: "LOWER_BOUND", ageMs: 5_000 });
    await list.pop(1);
    list.wait(100);
    expect(await list.read()).toMatchObject({ accuracy: "LOWER_BOUND", ageMs: 100 });
    list.wait(1_000);
    await list.push(["last"]);
    await list.pop(10);
    list.wait(500);
    expect(await list.read()).toMatchObject({ accuracy: "EXACT" });
  });

  test("a job at the wrong end is a lower bound only until it has left", async () => {
    const list = await withBacklog();
    await list.pushAtHead("urgent");
    expect(await expectTrue(list)).toBe("LOWER_BOUND");
    await list.pop(1);
    expect(await expectTrue(list)).toBe("EXACT");
  });

  test("equal jobs alone are UNKNOWN, also while nothing moves, until the list was empty", async () => {
    const list = await fresh(false);
    await list.read();
    await list.push(["tick", "tick", "tick"]);
    list.wait(1_000);
    await list.read();
    list.wait(1_000);
    expect(await list.read()).toMatchObject({ accuracy: "UNKNOWN" });
    await list.push(["tick"]);
    await list.pop(1);
    expect(await list.read()).toMatchObject({ accuracy: "UNKNOWN" });
    await list.purge();
    expect(await list.read()).toBeNull();
  });
});

/** How many scripts the Redis has run since its statistics were reset. */
async function scriptsRun(): Promise<number> {
  const stats = await redis.info("commandstats");
  const sent = [...stats.matchAll(/^cmdstat_eval(?:sha)?_ro:calls=(\d+).*?failed_calls=(\d+)/gm)];
  return sent.reduce((sum, [, done, failed]) => sum + Number(done) - Number(failed), 0);
}

describe("what it costs", () => {
  test("a million jobs are read by some hundred bytes, at any rate of pushes and pops", async () => {
    await redis.flushdb();
    const list = createList("left", true);
    await list.read();
    await list.push(["first"]);
    list.wait(1_000);
    await list.read();
    for (let n = 0; n < 100; n++)
      await redis.lpush("list", ...Array.from({ length: 10_000 }, (_, i) => `many-${n}-${i}`));
    const cost = async () => {
      const stats = await redis.info("stats");
      return Number(/^total_net_output_bytes:(\d+)/m.exec(stats)?.[1]);
    };
    for (const popped of [0, 1, 3_000, 3_000, 0]) {
      if (popped > 0) await redis.rpop("list", popped);
      const before = await cost();
      list.wait(1_000);
      expect(await list.read()).toMatchObject({ accuracy: "EXACT" });
      // Of it, what INFO itself takes.
      expect((await cost()) - before).toBeLessThan(12_000);
      expect(list.reply()?.reading?.length).toBeGreaterThan(990_000);
    }
  });

  test.each([
    { kind: "huey", readings: "the first", pushes: 6_000, calls: 1 },
    { kind: "huey", readings: "a later", pushes: 30, calls: 1 },
    // From both ends 5,000 jobs of each, and of RQ 1,000: their times are read, too.
    { kind: "huey", readings: "a later", pushes: 6_000, calls: 5 },
    { kind: "rq", readings: "a later", pushes: 6_000, calls: 5 },
  ] as const)(
    "$readings reading after $pushes pushes and pops of each of five queues of $kind takes $calls scripts",
    async ({ kind, readings, pushes, calls }) => {
      await redis.flushdb();
      const system = listSystems[kind];
      const opened = system.open(new URLSearchParams());
      const lists = ["a", "b", "c", "d", "e"].map((name) => opened.keysOf(name));
      const [push, pop] = system.pushedAt === "left" ? ["lpush", "rpop"] : ["rpush", "lpop"];
      const fill = (text: string, popped: number) =>
        Promise.all(
          lists.map(async (keys) => {
            const jobs = Array.from({ length: pushes }, (_, n) => `${text}-${n}`);
            await redis.call(push, keys.lists[0] ?? "", ...jobs);
            if (popped > 0) await redis.call(pop, keys.lists[0] ?? "", popped);
          }),
        );
      await fill("a", 0);
      const reader = createListReader({ system, argument: opened.argument });
      let marks: readonly (ListMarks | null)[] = lists.map(() => null);
      const read = async () => {
        const replies = await reader.read(
          redis,
          lists.map((keys, i) => ({ keys, marks: [marks[i] ?? null] })),
        );
        marks = replies.map(({ lists: [list] }, i) =>
          list?.reading ? advanceMarks(marks[i] ?? null, list.reading, true) : null,
        );
      };
      if (readings === "a later") {
        await read();
        await fill("b", pushes);
      }
      await redis.config("RESETSTAT");
      await read();
      expect(await scriptsRun()).toBe(calls);
    },
  );

  test("nine sorted sets of Huey with a task of 1.1 MB each take three scripts", async () => {
    await redis.flushdb();
    const system = listSystems.huey;
    const { argument, keysOf } = system.open(new URLSearchParams());
    const asked = Array.from({ length: 9 }, (_, n) => ({ keys: keysOf(`${n}`), marks: [null] }));
    for (const { keys } of asked) await redis.zadd(keys.lists[0] ?? "", 0, Buffer.alloc(1_100_000, 1));
    await redis.config("RESETSTAT");
    const replies = await createListReader({ system, argument }).read(redis, asked);
    expect(replies.map(({ lists: [list] }) => list?.sorted?.count)).toEqual(asked.map(() => 1));
    expect(await scriptsRun()).toBe(3);
  });

  test("jobs of 1 MB stay where they are", async () => {
    await redis.flushdb();
    const list = createList("left", true);
    await list.read();
    const large = (n: number) => `${n}${"x".repeat(1_000_000)}${n}`;
    await list.push([1, 2, 3].map(large));
    list.wait(1_000);
    expect(await expectTrue(list)).toBe("EXACT");
    await list.push([4, 5].map(large));
    await list.pop(1);
    list.wait(1_000);
    expect(await expectTrue(list)).toBe("EXACT");
    await redis.config("RESETSTAT");
    await list.read();
    const stats = await redis.info("stats");
    expect(Number(/^total_net_output_bytes:(\d+)/m.exec(stats)?.[1])).toBeLessThan(2_000);
  });
});
