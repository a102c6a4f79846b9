import { afterEach, expect, test, vi } from "vitest";
import { monotonicClock } from "../../src/runtime/clock.ts";
import type { Row } from "../../src/sources/postgres/connection.ts";
import { createOvertakenJobs } from "../../src/sources/postgres/overtaken-jobs.ts";
import { countLimit, type FoundSystem } from "../../src/sources/postgres/system.ts";
import { postgresSystems } from "../../src/sources/postgres/systems.ts";

/** This process's clock; the database's is that much ahead. */
let nowMs = 1_000_000;
const offsetMs = 1_790_000_000_000;
const found: FoundSystem = { table: (name) => name, type: (name) => name, hasIndex: () => true };

afterEach(() => {
  vi.restoreAllMocks();
});

/** A database that answers with `taken` and `waiting`. Heads wait since an hour, and the next ones are served. */
function open(queues: readonly string[]) {
  nowMs = 1_000_000;
  vi.spyOn(monotonicClock, "now").mockImplementation(() => nowMs);
  const jobs = createOvertakenJobs(postgresSystems.oban, 5_000);
  const takenAgo = { taken: [] as readonly Row[], read: 0 };
  const asked: string[][] = [];
  const statements: string[] = [];
  let waiting: (queue: string) => Row | null = () => null;
  const head = () => ({ headAgeMs: 3_600_000, readAtMs: nowMs });
  const known = () => new Map(queues.map((queue) => [queue, { head: head() }]));
  return {
    jobs,
    asked,
    statements,
    head,
    answer(taken: readonly Row[], answerOf: (queue: string) => Row | null = () => null, read = taken.length) {
      Object.assign(takenAgo, { taken, read });
      waiting = answerOf;
    },
    read: () =>
      jobs.read(found, known(), async (statement) => {
        statements.push(statement);
        const ms = nowMs + offsetMs;
        const at = { queue: null, jobs: takenAgo.read, ms, until: "now", until_ms: ms - 2_000 };
        if (statement.includes("taken AS MATERIALIZED"))
          return { rows: [...takenAgo.taken, at], columns: [], isStandby: false, tookMs: 1 };
        const names = [...statement.matchAll(/\('([^']+)', to_timestamp/g)].map(([, name = ""]) => name);
        asked.push(names);
        return {
          rows: names.map(waiting).filter((row) => row !== null),
          columns: [],
          isStandby: false,
          tookMs: 1,
        };
      }),
    of: (queue: string, depth: number | null = null) => jobs.of(queue, head(), depth),
  };
}

/** Of two periods, in which jobs were served that came up to four minutes ago; those that were taken were read until a while ago. */
const note = (untilAgoMs = 3_000) =>
  `${nowMs + offsetMs - 70_000} 3 ${nowMs + offsetMs - 60_000} ${nowMs + offsetMs - 240_000} ${nowMs + offsetMs - untilAgoMs}`;
const oneBehind = (queue: string): Row => ({ queue, jobs: 1, in_order_age_ms: 4_000 });

test("goes on from a note, and only asks about queues whose head is older than all jobs that were taken", async () => {
  const { jobs, answer, read, of, asked } = open(["old", "other"]);
  jobs.restore(new Map([["old", note()]]));
  answer([], oneBehind);
  await read();
  expect(asked).toEqual([["old"]]);
  expect(of("old")).toEqual({ count: 1, inOrderAgeMs: 4_000 });
  expect(of("other")).toEqual({ count: 0, inOrderAgeMs: null });
});

test.each(["", "-", "x", "1 2", "1 2 x 3", "1 2 3 x", "1 2 3 4", "1 2 3 4 x"])(
  "ignores the note %j",
  async (text) => {
    const { jobs, answer, read, of, asked } = open(["old"]);
    jobs.restore(new Map([["old", text]]));
    answer([], oneBehind);
    await read();
    expect(asked).toEqual([]);
    expect(of("old")).toEqual({ count: 0, inOrderAgeMs: null });
  },
);

test("no job was left behind once one as old was taken", async () => {
  const { jobs, answer, read, of } = open(["old"]);
  jobs.restore(new Map([["old", note()]]));
  answer([{ queue: "old", jobs: 1, ms: nowMs + offsetMs - 7_200_000 }], oneBehind);
  await read();
  expect(of("old")).toEqual({ count: 0, inOrderAgeMs: null });
});

test("what was known proves nothing when more jobs were taken than are read: the oldest may not be among them", async () => {
  const { jobs, answer, read, of } = open(["old"]);
  jobs.restore(new Map([["old", note()]]));
  answer([{ queue: "old", jobs: countLimit, ms: nowMs + offsetMs - 1_000 }], oneBehind, countLimit);
  await read();
  expect(of("old")).toEqual({ count: 0, inOrderAgeMs: null });
});

test.each([
  { agoMs: 3_000, isBelieved: true, why: "no more is missing than is read now" },
  { agoMs: 59_000, isBelieved: true, why: "what was taken since is still there" },
  { agoMs: 61_000, isBelieved: false, why: "what was taken since may be deleted" },
])("goes on where a note ends that is $agoMs ms old, or begins anew: $why", async ({ agoMs, isBelieved }) => {
  const { jobs, answer, read, of, statements } = open(["old"]);
  jobs.restore(new Map([["old", note(agoMs)]]));
  answer([], oneBehind);
  await read();
  expect(statements[0]).toContain(`to_timestamp(${nowMs + offsetMs - agoMs}::float8 / 1000)`);
  expect(of("old")?.count).toBe(isBelieved ? 1 : 0);
});

test("asks about ten queues at once, those next that it asked about longest ago; one that it has not asked about is not known", async () => {
  const queues = Array.from({ length: 15 }, (_, n) => `q${n}`);
  const { jobs, answer, read, of, asked } = open(queues);
  jobs.restore(new Map(queues.map((queue) => [queue, note()])));
  answer([], oneBehind);
  await read();
  expect(asked[0]).toHaveLength(10);
  const isKnown = (queue: string) => of(queue) !== null;
  expect(queues.filter(isKnown)).toEqual(asked[0]);
  nowMs += 1_000;
  await read();
  expect(queues.filter(isKnown)).toHaveLength(15);
});

test("asks about the others next when an answer did not come, and forgets what it knew of the first", async () => {
  const queues = Array.from({ length: 20 }, (_, n) => `q${n}`);
  const { jobs, answer, read, of, asked } = open(queues);
  jobs.restore(new Map(queues.map((queue) => [queue, note()])));
  answer([], oneBehind);
  await read();
  nowMs += 1_000;
  await read();
  answer([], () => {
    throw new Error("canceled");
  });
  nowMs += 1_000;
  await expect(read()).rejects.toThrow("canceled");
  expect(asked[2]).toEqual(asked[0]);
  expect(queues.filter((queue) => of(queue) === null)).toEqual(asked[0]);
  nowMs += 1_000;
  await expect(read()).rejects.toThrow("canceled");
  expect(asked[3]).toEqual(asked[1]);
});

test("is not known two minutes after the last answer", async () => {
  const { jobs, answer, read, of } = open(["old", "other"]);
  jobs.restore(new Map([["old", note()]]));
  answer([], oneBehind);
  await read();
  nowMs += 120_000;
  expect([of("old")?.count, of("other")?.count]).toEqual([1, 0]);
  nowMs += 1;
  expect([of("old"), of("other")]).toEqual([null, null]);
});

test("is not known, and not 0, while the database does not say how many there are", async () => {
  const { jobs, answer, read, of } = open(["old"]);
  jobs.restore(new Map([["old", note()]]));
  answer([], () => {
    throw new Error("canceled");
  });
  await expect(read()).rejects.toThrow("canceled");
  expect(of("old")).toBeNull();
});

test.each([
  { age: 4_000, later: 9_000, why: "the oldest in order waits on" },
  { age: null, later: 5_000, why: "one may have come right after the last reading" },
  { age: null, later: 5_000, depth: 2, why: "one has come since" },
  { age: null, later: null, depth: 1, why: "all that wait were overtaken" },
])("does not seem younger while it is not asked anew: $why", async ({ age, later, depth = null }) => {
  const { jobs, answer, read, of } = open(["old"]);
  jobs.restore(new Map([["old", note()]]));
  answer([], (queue) => ({ queue, jobs: 1, in_order_age_ms: age }));
  await read();
  expect(of("old")).toEqual({ count: 1, inOrderAgeMs: age });
  nowMs += 5_000;
  expect(of("old", depth)).toEqual({ count: 1, inOrderAgeMs: later });
});

test("what was taken before the database's clock was set back proves nothing", async () => {
  const { jobs, answer, read, of } = open(["old"]);
  jobs.restore(new Map([["old", note()]]));
  answer([{ queue: "old", jobs: 3, ms: nowMs + offsetMs - 1_000 }], oneBehind);
  nowMs -= 600_000;
  await read();
  expect(of("old")).toEqual({ count: 0, inOrderAgeMs: null });
});

test("has a note for the next reader until one is stored", async () => {
  const { jobs, answer, read } = open(["old"]);
  answer([{ queue: "old", jobs: 2, ms: nowMs + offsetMs - 1_000 }]);
  await read();
  const first = jobs.noteOf("old");
  expect(first).toBe(`${nowMs + offsetMs} 2 ${nowMs + offsetMs - 1_000}  ${nowMs + offsetMs - 2_000}`);
  expect(jobs.noteOf("old")).toBe(first);
  jobs.noted();
  expect(jobs.noteOf("old")).toBeUndefined();
});

test("notes of each queue that nothing is known once jobs were taken that were not read", async () => {
  const { jobs, answer, read } = open(["old"]);
  jobs.restore(new Map([["old", note()]]));
  answer([], oneBehind, countLimit);
  await read();
  expect(jobs.noteOf("old")).toBe("-");
});

test("one note at least says until when the taken jobs were read, also when none was taken", async () => {
  const { jobs, answer, read } = open(["old"]);
  jobs.restore(new Map([["old", note()]]));
  answer([], oneBehind);
  await read();
  jobs.noted();
  nowMs += 10_000;
  await read();
  expect(jobs.noteOf("old")).toMatch(new RegExp(` ${nowMs + offsetMs - 2_000}$`));
});
