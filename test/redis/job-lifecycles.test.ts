import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createAsynqSource } from "../../src/sources/asynq.ts";
import { createBullSource } from "../../src/sources/bull.ts";
import { listSystems } from "../../src/sources/lists/list-systems.ts";
import { createStreamsSource } from "../../src/sources/streams.ts";
import { startAsynq, whyNoAsynq } from "../support/asynq.ts";
import { type Elapsed, expectSince, timed } from "../support/elapsed.ts";
import { laravelJobs, whyNoLaravel } from "../support/laravel.ts";
import { countedOf, expectWait, watchLists } from "../support/list-source.ts";
import { startProgram } from "../support/program.ts";
import { type Releases, startPython, whyNoOlderLists, whyNoPythonLists } from "../support/python-jobs.ts";
import { clockOffset, startDatabases, type TestDatabases } from "../support/source-redis.ts";
import { type WatchedSource, watchSource } from "../support/watched-source.ts";

let databases: TestDatabases;

beforeAll(async () => {
  databases = await startDatabases(128);
});

afterAll(() => databases?.stop());

const hour = 3_600;
const never: Elapsed = [Number.NaN, Number.NaN];

interface PushOptions {
  /** In seconds. */
  readonly delay?: number;
  readonly priority?: number;
  readonly atFront?: boolean;
  /** Fields that a later version writes into each payload. */
  readonly payload?: object;
}

/** The real producer and worker of a job system, with a database of its own. "fail" fails once; "die" kills its worker. */
interface Jobs {
  push(names: readonly string[], options?: PushOptions): Promise<Elapsed>;
  work(count: number): Promise<unknown>;
  purge(): Promise<unknown>;
  pause(): Promise<unknown>;
  resume(): Promise<unknown>;
  /** Gives up workers that are dead, as another worker does. */
  recover?(): Promise<unknown>;
}

const queue = "mail";
const support = (file: string) => join(import.meta.dirname, "../support", file);

interface Noted {
  readonly times: readonly Elapsed[];
}

function startJobs(program: string, args: readonly string[], url: string) {
  const started = startProgram(program, args, { env: { JOBS_REDIS: url } });
  onTestFinished(started.stop);
  return jobsOf(started);
}

function jobsOf({ ask }: Pick<ReturnType<typeof startProgram>, "ask">) {
  const act = (what: string, options: object = {}) => ask<Noted>({ do: what, queue, ...options });
  return {
    /** Between which two times each job was pushed, or begun, by the clock of the program. */
    note: async (what: "push" | "work", options: object) => (await act(what, options)).times,
    push: (names: readonly string[], options: PushOptions = {}) =>
      timed(() => act("push", { names, ...options })),
    work: (jobs: number) => act("work", { jobs }),
    purge: () => act("purge"),
    pause: () => act("pause"),
    resume: () => act("resume"),
    recover: () => act("recover"),
  };
}

const startLaravel = (url: string) => startJobs("php", [laravelJobs], url);
const startResque = (url: string) => startJobs(process.execPath, [support("resque-program.ts")], url);
const startBull = (url: string) => startJobs(process.execPath, [support("bull-program.ts")], url);

const startRq = (releases: Releases) => (url: string) =>
  jobsOf(startPython("rq_jobs.py", { JOBS_REDIS: url }, releases));
const startDramatiq = (url: string) => jobsOf(startPython("dramatiq_jobs.py", { JOBS_REDIS: url }));
const startArq = (url: string) => jobsOf(startPython("arq_jobs.py", { JOBS_REDIS: url }));

function startHuey(storage: "list" | "priorities") {
  return (url: string) => {
    const jobs = jobsOf(startPython("huey_jobs.py", { JOBS_REDIS: url, JOBS_STORAGE: storage }));
    const push: Jobs["push"] = async (names, options = {}) => {
      const pushed = await jobs.push(names, options);
      // It lies among the others until a consumer has looked at it.
      if (options.delay !== undefined) await jobs.work(names.length);
      return pushed;
    };
    return { ...jobs, push };
  };
}

function startAsynqJobs(url: string): Jobs {
  const asynq = startAsynq(url);
  return {
    push: (names, options) =>
      timed(async () => {
        for (const name of names)
          await asynq.push(queue, { ...options, payload: name === "fail" || name === "die" ? name : "work" });
      }),
    work: (count) => asynq.work(queue, count),
    purge: () => asynq.purge(queue),
    pause: () => asynq.pause(queue),
    resume: () => asynq.resume(queue),
  };
}

/** A consumer of a stream is what it is in Redis, dead or alive. */
function startConsumers(url: string): Jobs {
  const redis = new Redis(url);
  onTestFinished(() => redis.disconnect());
  const isCreated = redis.xgroup("CREATE", queue, "workers", "0", "MKSTREAM");
  const refuse = async () => expect.unreachable("a stream has no such thing");
  return {
    push: async (names) => {
      await isCreated;
      return await timed(async () => {
        for (const name of names) await redis.xadd(queue, "*", "name", name);
      });
    },
    async work(count) {
      const reply = await redis.xreadgroup("GROUP", "workers", "one", "COUNT", count, "STREAMS", queue, ">");
      const [[, entries]] = reply as [[string, [id: string, fields: string[]][]]];
      expect(entries).toHaveLength(count);
      const isDone = ([, [, name]]: (typeof entries)[number]) => name !== "fail" && name !== "die";
      for (const entry of entries) if (isDone(entry)) await redis.xack(queue, "workers", entry[0]);
      if (entries.some(([, [, name]]) => name === "die")) throw new Error("the consumer is killed");
    },
    purge: () => redis.xgroup("SETID", queue, "workers", "$"),
    pause: refuse,
    resume: refuse,
  };
}

const ofLists =
  (system: (typeof listSystems)[Exclude<keyof typeof listSystems, "celery">]) => (url: string) =>
    watchLists({ system, url: `${url}?queues=${queue}` });

const notWaiting = { depth: 0, headAgeMs: null, accuracy: "EXACT" };

/** What is to be seen of each system. */
interface System {
  readonly title: string;
  readonly whyNot: string | null;
  readonly start: (url: string) => Jobs;
  readonly watch: (url: string) => Promise<Pick<WatchedSource, "until">>;
  /** As its source names it. @default "mail" */
  readonly seenAs?: string;
  /** Of a head that came while it was watched. */
  readonly accuracy: "EXACT" | "ESTIMATED";
  /** Of one job with a delay; null: it has no delays. */
  readonly delayed: object | null;
  /** Of one job that has failed and is to be tried again. */
  readonly failed: object;
  /** By how much the time of a job that has failed may be too early, in ms. @default 0 */
  readonly releaseRoundingMs?: number;
  /** Of two jobs of which one was taken by a worker that was killed. */
  readonly killed: object;
  /** When that worker is given up, by another one where it takes one, and what is seen then. */
  readonly givenUp: {
    readonly by: (redis: Redis, startAnother: () => Jobs) => Promise<unknown>;
    readonly seen: object;
  } | null;
  readonly hasPause: boolean;
}

const ofPython = { whyNot: whyNoPythonLists, hasPause: false } as const;
const ofRq = {
  ...ofPython,
  watch: ofLists(listSystems.rq),
  accuracy: "EXACT",
  delayed: { ...notWaiting, scheduled: 1, inFlight: 0 },
  // It is pushed again at once.
  failed: { depth: 1, scheduled: 0, inFlight: 0, accuracy: "EXACT" },
  killed: { depth: 1, scheduled: 0, inFlight: 1, accuracy: "EXACT" },
  givenUp: {
    // After its time limit. A worker that starts pushes it again, and works the other one.
    by: async (redis: Redis, startAnother: () => Jobs) => {
      await addTo(redis, `rq:wip:${queue}`, -2 * hour);
      await startAnother().work(1);
    },
    seen: { depth: 1, scheduled: 0, inFlight: 0, accuracy: "EXACT" },
  },
  hasPause: true,
} as const;
const ofHuey = {
  ...ofPython,
  watch: ofLists(listSystems.huey),
  delayed: { ...notWaiting, scheduled: 1, inFlight: null },
  // It is lost.
  givenUp: null,
} as const;

const systems: readonly System[] = [
  { ...ofRq, title: "RQ 2", start: startRq("current") },
  { ...ofRq, title: "RQ 1", whyNot: whyNoOlderLists, start: startRq("older") },
  {
    ...ofPython,
    title: "Dramatiq",
    start: startDramatiq,
    watch: ofLists(listSystems.dramatiq),
    accuracy: "EXACT",
    delayed: { ...notWaiting, scheduled: null, inFlight: null },
    // It is delayed.
    failed: notWaiting,
    // It had both in its memory.
    killed: notWaiting,
    givenUp: {
      // Once it has sent no heartbeat for a minute, any other process pushes again what it had.
      by: async (redis, startAnother) => {
        await addTo(redis, "dramatiq:__heartbeats__", -hour * 1_000);
        await startAnother().push(["c"]);
      },
      seen: { depth: 3, accuracy: "EXACT" },
    },
  },
  {
    ...ofHuey,
    title: "Huey",
    start: startHuey("list"),
    accuracy: "EXACT",
    failed: { depth: 1, scheduled: 0, accuracy: "EXACT" },
    killed: { depth: 1, inFlight: null, accuracy: "EXACT" },
  },
  {
    ...ofHuey,
    title: "Huey with priorities",
    start: startHuey("priorities"),
    accuracy: "ESTIMATED",
    failed: { depth: 1, scheduled: 0, accuracy: "ESTIMATED" },
    killed: { depth: 1, inFlight: null, accuracy: "ESTIMATED" },
  },
  {
    ...ofPython,
    title: "arq",
    start: startArq,
    watch: ofLists(listSystems.arq),
    accuracy: "ESTIMATED",
    delayed: { ...notWaiting, scheduled: 1, inFlight: 0 },
    // In an hour.
    failed: { ...notWaiting, scheduled: 1, inFlight: 0 },
    killed: { depth: 1, scheduled: 0, inFlight: 1, accuracy: "ESTIMATED" },
    givenUp: {
      // After a time limit.
      by: async (redis) => redis.del(await redis.keys("arq:in-progress:*")),
      seen: { depth: 2, inFlight: 0, accuracy: "ESTIMATED" },
    },
  },
  {
    title: "Laravel",
    whyNot: whyNoLaravel,
    start: startLaravel,
    watch: ofLists(listSystems.laravel),
    accuracy: "EXACT",
    delayed: { ...notWaiting, scheduled: 1, inFlight: 0 },
    // It is released, with no delay: it waits in a sorted set, by a clock of whole seconds.
    failed: { depth: 1, scheduled: 0, inFlight: 0, accuracy: "ESTIMATED" },
    releaseRoundingMs: 1_000,
    killed: { depth: 1, scheduled: 0, inFlight: 1, accuracy: "EXACT" },
    givenUp: {
      // After an hour.
      by: (redis) => addTo(redis, `laravel_database_queues:${queue}:reserved`, -2 * hour),
      seen: { depth: 2, inFlight: 0, accuracy: "ESTIMATED", headAgeMs: expect.closeTo(hour * 1_000, -5) },
    },
    hasPause: false,
  },
  {
    title: "Resque",
    whyNot: null,
    start: startResque,
    watch: ofLists(listSystems.resque),
    accuracy: "EXACT",
    delayed: { ...notWaiting, scheduled: null, inFlight: null },
    // resque-retry has scheduled it.
    failed: notWaiting,
    killed: { depth: 1, inFlight: null, accuracy: "EXACT" },
    // It is in the failed ones, or nowhere.
    givenUp: null,
    hasPause: false,
  },
  {
    title: "Bull",
    whyNot: null,
    start: startBull,
    watch: (url) => watchSource((wiring) => createBullSource({ url, intervalMs: 50, ...wiring })),
    accuracy: "ESTIMATED",
    delayed: { ...notWaiting, scheduled: 1, inFlight: 0 },
    failed: { depth: 1, scheduled: 0, inFlight: 0, accuracy: "LOWER_BOUND" },
    killed: { depth: 1, inFlight: 1, accuracy: "ESTIMATED" },
    givenUp: {
      by: (_, startAnother) => startAnother().recover?.() ?? expect.unreachable(),
      seen: { depth: 2, inFlight: 0, accuracy: "LOWER_BOUND" },
    },
    hasPause: true,
  },
  {
    title: "asynq",
    whyNot: whyNoAsynq,
    start: startAsynqJobs,
    watch: (url) => watchSource((wiring) => createAsynqSource({ url, intervalMs: 50, ...wiring })),
    accuracy: "ESTIMATED",
    delayed: { ...notWaiting, scheduled: 1, inFlight: 0 },
    // In an hour.
    failed: { ...notWaiting, scheduled: 1, inFlight: 0 },
    killed: { depth: 1, scheduled: 0, inFlight: 1, accuracy: "ESTIMATED" },
    givenUp: {
      // Its lease ends after half a minute. A server that starts schedules the task again, in an hour, and works the other one.
      by: async (redis, startAnother) => {
        await addTo(redis, `asynq:{${queue}}:lease`, -hour);
        await startAnother().work(1);
      },
      seen: { ...notWaiting, scheduled: 1, inFlight: 0 },
    },
    hasPause: true,
  },
  {
    title: "Redis Streams",
    whyNot: null,
    start: startConsumers,
    watch: (url) =>
      watchSource((wiring) =>
        createStreamsSource({ url: `${url}?streams=${queue}`, intervalMs: 50, countEveryMs: 50, ...wiring }),
      ),
    seenAs: `${queue}/workers`,
    accuracy: "EXACT",
    delayed: null,
    // It stays with the consumer that has not acknowledged it.
    failed: { ...notWaiting, inFlight: 1 },
    killed: { depth: 1, inFlight: 1, accuracy: "EXACT" },
    givenUp: {
      by: (redis) => redis.xautoclaim(queue, "workers", "two", 0, "0"),
      seen: { depth: 1, inFlight: 1, accuracy: "EXACT" },
    },
    hasPause: false,
  },
];

/** Moves the time of the only job in a sorted set. */
async function addTo(redis: Redis, key: string, seconds: number): Promise<void> {
  const [job = ""] = await redis.zrange(key, "0", "-1");
  await redis.zincrby(key, seconds, job);
}

const names = (count: number) => Array.from({ length: count }, (_, n) => `job-${n}`);

describe.each(systems)("$title", (system) => {
  const isSkipped = system.whyNot !== null;
  const {
    start,
    watch,
    seenAs = queue,
    accuracy,
    delayed,
    failed,
    releaseRoundingMs = 0,
    killed,
    givenUp,
  } = system;

  async function begin() {
    const { url, redis } = databases.own();
    const jobs = start(url);
    // Most systems know a queue by its first job only.
    await jobs.push(["first"]);
    await jobs.work(1);
    const watched = await watch(url);
    const until = (expected: object) => watched.until(seenAs, expected);
    await until(notWaiting);
    return { url, redis, jobs, until };
  }

  test.skipIf(isSkipped)("a burst, the work on it and a purge move the head", async () => {
    const { jobs, until } = await begin();
    const first = await jobs.push(["a"]);
    expectSince(await until({ depth: 1, accuracy }), first);
    const burst = await jobs.push(names(40));
    expectSince(await until({ depth: 41, accuracy }), first);
    await jobs.work(11);
    expectSince(await until({ depth: 30, accuracy }), burst);
    await jobs.purge();
    await until(notWaiting);
    const last = await jobs.push(["z"]);
    expectSince(await until({ depth: 1, accuracy }), last);
  });

  if (delayed !== null)
    test.skipIf(isSkipped)("a job with a delay does not wait", async () => {
      const { jobs, until } = await begin();
      await jobs.push(["later"], { delay: hour });
      await until(delayed);
      const now = await jobs.push(["now"]);
      expectSince(await until({ depth: 1, accuracy }), now);
    });

  test.skipIf(isSkipped)("a job that has failed does not wait since it was pushed", async () => {
    const { jobs, until } = await begin();
    await jobs.push(["fail"]);
    // So that the time of the push is not taken for that of the failure.
    const headAgeMs = expect.toSatisfy((age) => age > releaseRoundingMs + 500);
    await until({ depth: 1, accuracy, headAgeMs });
    const worked = await timed(() => jobs.work(1));
    const seen = await until(failed);
    if (seen.headAgeMs === null) return;
    const sinceMs = seen.readAtMs - seen.headAgeMs;
    expect(sinceMs).toBeGreaterThan(worked[0] - releaseRoundingMs - seen.uncertaintyMs - 2);
  });

  test.skipIf(isSkipped)("a job of a killed worker does not wait until it is given up", async () => {
    const { url, redis, jobs, until } = await begin();
    const pushed = await jobs.push(["die", "b"]);
    await until({ depth: 2, accuracy });
    await expect(jobs.work(1)).rejects.toThrow();
    const left = await until(killed);
    if (left.headAgeMs !== null) expectSince(left, pushed);
    if (givenUp === null) return;
    await givenUp.by(redis, () => start(url));
    await until(givenUp.seen);
  });

  if (system.hasPause)
    test.skipIf(isSkipped)("jobs of a paused queue wait", async () => {
      const { jobs, until } = await begin();
      const first = await jobs.push(["a"]);
      await jobs.pause();
      await jobs.push(["b"]);
      expectSince(await until({ depth: 2, paused: true, accuracy }), first);
      await jobs.resume();
      expectSince(await until({ depth: 2, paused: false, accuracy }), first);
    });
});

const marked = [
  { title: "Laravel", system: listSystems.laravel, start: startLaravel, whyNot: whyNoLaravel },
  { title: "Resque", system: listSystems.resque, start: startResque, whyNot: null },
  { title: "RQ 2", system: listSystems.rq, start: startRq("current"), whyNot: whyNoPythonLists },
  { title: "RQ 1", system: listSystems.rq, start: startRq("older"), whyNot: whyNoOlderLists },
  {
    title: "Dramatiq",
    system: listSystems.dramatiq,
    start: startDramatiq,
    whyNot: whyNoPythonLists,
    // A worker takes all of them into its memory.
    taken: 3,
  },
  { title: "Huey", system: listSystems.huey, start: startHuey("list"), whyNot: whyNoPythonLists },
];

describe.each(marked)("$title", ({ system, start, whyNot, taken = 2 }) => {
  test.skipIf(whyNot !== null)("has the waits that its producer and its worker note", async () => {
    const { url } = databases.own();
    const jobs = start(url);
    const watched = await watchLists({ system, url: `${url}?queues=${queue}` });
    await watched.until(queue, notWaiting);
    const pushed: Elapsed[] = [];
    for (const name of names(3)) {
      pushed.push(...(await jobs.note("push", { names: [name] })));
      await watched.until(queue, { depth: pushed.length, accuracy: "EXACT" });
    }
    const begun = await jobs.note("work", { jobs: taken });
    await watched.until(queue, { depth: 3 - taken });
    const { enqueued, waits, intervalMs } = countedOf(watched, queue);
    expect(enqueued).toBe(3);
    expect(waits).toHaveLength(taken);
    for (const [i, wait] of waits.entries())
      expectWait(wait, pushed[i] ?? never, begun[i] ?? never, intervalMs);
  });
});

/** What Horizon, or Laravel from 12.11 on, writes into a payload that the real Laravel 8 pushes. */
const payloads = [
  { version: "Horizon", payload: { pushedAt: true } },
  { version: "12.11", payload: { createdAt: true } },
];

describe.skipIf(whyNoLaravel !== null)("Laravel", () => {
  test.each(payloads)(
    "a job from before has the time of $version, and another one once it is released",
    async (row) => {
      const { url, redis } = databases.own();
      const jobs = startLaravel(url);
      const [pushed = never] = await jobs.note("push", { names: ["fail", "b"], payload: row.payload });
      const watched = await watchLists({ system: listSystems.laravel, url });
      const seen = await watched.until(queue, { depth: 2, accuracy: "ESTIMATED" });
      const offset = await clockOffset(redis);
      const sinceMs = seen.readAtMs + offset.ms - (seen.headAgeMs ?? Number.NaN);
      const uncertainMs = seen.uncertaintyMs + offset.uncertaintyMs + 2;
      // Its seconds may be whole ones.
      expect(sinceMs).toBeGreaterThanOrEqual(pushed[0] - 1_000 - uncertainMs);
      expect(sinceMs).toBeLessThanOrEqual(pushed[1] + uncertainMs);
      await jobs.work(1);
      await watched.next();
      // A worker first moves the released one back to the list, and then takes the other one.
      const moved = await timed(() => jobs.work(1));
      expectSince(await watched.until(queue, { depth: 1, accuracy: "EXACT" }), moved);
    },
  );
});
