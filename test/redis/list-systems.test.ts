import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listSystems } from "../../src/sources/lists/list-systems.ts";
import { expectSince, timed } from "../support/elapsed.ts";
import { countedOf, eventually, expectWait, watchLists } from "../support/list-source.ts";
import { type Releases, skipUnlessInstalled, startPython, whyNoPythonLists } from "../support/python-jobs.ts";
import { startDatabases, type TestDatabases } from "../support/source-redis.ts";

let databases: TestDatabases;

beforeAll(async () => {
  databases = await startDatabases(120);
});

afterAll(() => databases?.stop());

interface PushOptions {
  /** In seconds. */
  readonly delay?: number;
  readonly atFront?: boolean;
  readonly priority?: number;
}

/** The real producer and worker of a job system, with a database of its own. */
function startJobs(program: string, releases: Releases = "current", storage = "list") {
  const { url, redis } = databases.own();
  const jobs = startPython(program, { JOBS_REDIS: url, JOBS_STORAGE: storage }, releases);
  const ask = (question: object) => jobs.ask<{ readonly worked: readonly string[] }>(question);
  return {
    url,
    redis,
    push: (queue: string, names: readonly string[], options: PushOptions = {}) =>
      timed(() => ask({ do: "push", queue, names, ...options })),
    work: (queue: string, count: number) => ask({ do: "work", queue, jobs: count }),
    purge: (queue: string) => ask({ do: "purge", queue }),
    ask,
    pause: () => ask({ do: "pause", queue: "any" }),
    resume: () => ask({ do: "resume", queue: "any" }),
  };
}

/** What happens to their jobs is in job-lifecycles.test.ts. */
const systems = [
  { title: "RQ 2", system: listSystems.rq, program: "rq_jobs.py", backlog: "ESTIMATED" },
  { title: "Dramatiq", system: listSystems.dramatiq, program: "dramatiq_jobs.py", backlog: "ESTIMATED" },
  { title: "Huey", system: listSystems.huey, program: "huey_jobs.py", backlog: "LOWER_BOUND" },
] as const;
const isSkipped = whyNoPythonLists !== null;

describe.skipIf(isSkipped).each(systems)(`a real $title${whyNoPythonLists ?? ""}`, (one) => {
  const { system, program, backlog } = one;

  test("has queues that are found, with jobs of before that are only as sure as they can be", async () => {
    const { url, push } = startJobs(program);
    const pushed = await push("before", ["a", "b"]);
    const watched = await watchLists({ system, url });
    const seen = await watched.until("before", { depth: 2, accuracy: backlog });
    const sinceMs = seen.readAtMs - (seen.headAgeMs ?? Number.NaN);
    expect(sinceMs).toBeGreaterThanOrEqual(pushed[0] - seen.uncertaintyMs - 2);
    await push("later", ["a"]);
    await watched.until("later", { depth: 1 });
    expect((await watched.next()).queues.map(({ queue }) => queue).sort()).toEqual(["before", "later"]);
  });
});

const releasesOfRq = [
  { version: 2, releases: "current" },
  { version: 1, releases: "older" },
] as const;
describe.skipIf(isSkipped).each(releasesOfRq)(
  `a real RQ $version${whyNoPythonLists ?? ""}`,
  ({ releases }) => {
    skipUnlessInstalled(releases);
    const system = listSystems.rq;

    test("a job at the front does not hide the one behind it", async () => {
      const { url, push, work } = startJobs("rq_jobs.py", releases);
      const watched = await watchLists({ system, url: `${url}?queues=mail` });
      await watched.until("mail", { depth: 0 });
      const old = await push("mail", ["a", "b", "c"]);
      await watched.until("mail", { depth: 3, accuracy: "EXACT" });
      await push("mail", ["urgent"], { atFront: true });
      expectSince(await watched.until("mail", { depth: 4, accuracy: "LOWER_BOUND" }), old);
      expect((await work("mail", 1)).worked).toEqual(["urgent"]);
      expectSince(await watched.until("mail", { depth: 3, accuracy: "EXACT" }), old);
    });

    test.each([
      { again: ["a"], others: [], why: "the list looks as it did" },
      { again: ["a"], others: ["b"], why: "it is behind one that came later" },
      { again: ["a", "b", "c"], others: [], why: "the list looks as it did" },
    ])(
      "$again waits anew when it is pushed again between two readings, before $others: $why",
      async (one) => {
        const { again, others } = one;
        const { url, redis, push } = startJobs("rq_jobs.py", releases);
        const watched = await watchLists({ system, url: `${url}?queues=mail` });
        await watched.until("mail", { depth: 0 });
        const names = [...again, ...others];
        const first = await push("mail", names);
        await watched.until("mail", { depth: names.length, accuracy: "EXACT" });
        const ids = await redis.lrange("rq:queue:mail", 0, again.length - 1);
        // As a worker and its retry do, so that no reading comes between them.
        const times = ids.map((id) => ["hset", `rq:job:${id}`, "enqueued_at", new Date().toISOString()]);
        const moves = [
          ["lpop", "rq:queue:mail", again.length],
          ["rpush", "rq:queue:mail", ...ids],
        ];
        const pushedAgain = await timed(() => redis.multi([...times, ...moves]).exec());
        const since = others.length > 0 ? first : pushedAgain;
        expectSince(await watched.until("mail", { depth: names.length, accuracy: "EXACT" }), since);
        const { enqueued, waits, intervalMs } = countedOf(watched, "mail");
        expect([enqueued, waits.length]).toEqual([names.length + again.length, again.length]);
        for (const wait of waits) expectWait(wait, first, pushedAgain, intervalMs);
        if (others.length === 0) return;
        await redis.lpop("rq:queue:mail", others.length);
        expectSince(await watched.until("mail", { depth: again.length, accuracy: "EXACT" }), pushedAgain);
      },
    );

    // More of them than are looked at by default, and more than are looked at: then the old ones are not seen.
    test.each([
      { atFront: 1, isOldSeen: true },
      { atFront: 5, isOldSeen: true },
      { atFront: 20, isOldSeen: false },
    ])(
      "$atFront jobs at the front, before the first reading, are a lower bound",
      async ({ atFront, isOldSeen }) => {
        const { url, push } = startJobs("rq_jobs.py", releases);
        const old = await push("mail", ["a", "b", "c"]);
        const names = Array.from({ length: atFront }, (_, n) => `urgent-${n}`);
        const urgent = await push("mail", names, { atFront: true });
        const watched = await watchLists({ system, url: `${url}?queues=mail` });
        const seen = await watched.until("mail", { depth: 3 + atFront, accuracy: "LOWER_BOUND" });
        expectSince(seen, isOldSeen ? old : urgent);
      },
    );

    test("is paused while workers are suspended, and a job that is due waits though no scheduler moves it", async () => {
      const { url, push, pause, resume } = startJobs("rq_jobs.py", releases);
      const watched = await watchLists({ system, url: `${url}?queues=mail` });
      await pause();
      await watched.until("mail", { paused: true });
      await resume();
      await push("mail", ["due"], { delay: 0 });
      await watched.until("mail", { paused: false, depth: 1, scheduled: 0, accuracy: "ESTIMATED" });
    });
  },
);

describe.skipIf(isSkipped)(`a real Huey with priorities${whyNoPythonLists ?? ""}`, () => {
  const system = listSystems.huey;
  const start = () => startJobs("huey_jobs.py", "current", "priorities");

  test("has its oldest task of any priority for its head, and is not counted", async () => {
    const { url, push, work, purge } = start();
    const old = await push("mail", ["a"]);
    const watched = await watchLists({ system, url });
    await watched.until("mail", { depth: 1, accuracy: "ESTIMATED", paused: false });
    await push("mail", ["urgent"], { priority: 5 });
    const lowest = await push("mail", ["b"], { priority: -1 });
    expectSince(await watched.until("mail", { depth: 3, accuracy: "ESTIMATED" }), old);
    expect((await work("mail", 2)).worked).toEqual(["urgent", "a"]);
    expectSince(await watched.until("mail", { depth: 1, accuracy: "ESTIMATED" }), lowest);
    await purge("mail");
    const empty = await watched.until("mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    expect(empty.counts).toBeNull();
    expect(countedOf(watched, "mail").counts).toEqual([]);
  });

  test("a task with a delay counts as scheduled once a consumer has looked at it, and one to retry waits anew", async () => {
    const { url, push, work } = start();
    const watched = await watchLists({ system, url: `${url}?queues=mail` });
    await push("mail", ["later"], { delay: 3600 });
    await watched.until("mail", { depth: 1, scheduled: 0 });
    await work("mail", 1);
    await watched.until("mail", { depth: 0, scheduled: 1, headAgeMs: null });
    await push("mail", ["fail"]);
    const again = await timed(() => work("mail", 1));
    expectSince(await watched.until("mail", { depth: 1, scheduled: 1, accuracy: "ESTIMATED" }), again);
  });

  // How many priorities, and how long a member may be, is bounded.
  const cases = [
    { what: "100 priorities", members: 100, bytes: 10, accuracy: "ESTIMATED" },
    { what: "101 priorities", members: 101, bytes: 10, accuracy: "LOWER_BOUND" },
    { what: "a task of 2 MB before others", members: 2, bytes: 2_000_000, accuracy: "LOWER_BOUND" },
    { what: "a member without a time", members: 1, bytes: -8, accuracy: "UNKNOWN" },
  ];
  test.each(cases)("$what: $accuracy", async ({ members, bytes, accuracy }) => {
    const { url, redis } = databases.own();
    const at = Buffer.alloc(8);
    at.writeBigUInt64BE(BigInt(Date.now() - hourMs) * 1000n);
    const member = Buffer.concat([at, Buffer.alloc(Math.max(0, bytes))]).subarray(0, 8 + bytes);
    for (let n = 0; n < members; n++)
      await redis.zadd("huey.redis.mail", n, Buffer.concat([member, Buffer.from(bytes < 0 ? "" : `${n}`)]));
    const watched = await watchLists({ system, url });
    const seen = await watched.until("mail", { depth: members, accuracy });
    if (accuracy !== "UNKNOWN") expect(seen.headAgeMs).toBeGreaterThanOrEqual(hourMs);
  });
});

describe.skipIf(isSkipped)(`a real arq${whyNoPythonLists ?? ""}`, () => {
  const system = listSystems.arq;
  const queue = "arq:queue";

  test("a job waits from when it is to run until a worker has it, though it stays in the set", async () => {
    const { url, push, work, ask } = startJobs("arq_jobs.py");
    const pushed = await push(queue, ["slow", "b"]);
    const watched = await watchLists({ system, url });
    const waiting = { depth: 2, scheduled: 0, inFlight: 0, accuracy: "ESTIMATED", paused: false };
    const first = await watched.until(queue, waiting);
    expectSince(first, pushed);
    expect(first).not.toHaveProperty("counts");
    await ask({ do: "start", queue, jobs: 1, name: "slow" });
    expectSince(await watched.until(queue, { depth: 1, inFlight: 1, accuracy: "ESTIMATED" }), pushed);
    await ask({ do: "finish", queue });
    await watched.until(queue, { depth: 1, inFlight: 0 });
    expect((await work(queue, 1)).worked).toEqual(["slow", "b"]);
    await watched.until(queue, { depth: 0, inFlight: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("other queues are found by their workers' health checks, and the head behind jobs that run", async () => {
    const { url, redis, push, work } = startJobs("arq_jobs.py");
    await push("mail", ["a"]);
    await work("mail", 1);
    const watched = await watchLists({ system, url });
    await watched.until("mail", { depth: 0, headAgeMs: null });
    const old = Date.now() - 2 * hourMs;
    const running = Array.from({ length: 120 }, (_, n) => `running-${n}`);
    await redis.zadd("mail", ...running.flatMap((id) => [old, id]), old + hourMs, "waiting");
    await redis.mset(running.flatMap((id) => [`arq:in-progress:${id}`, "1"]));
    const seen = await watched.until("mail", { depth: 1, inFlight: 120, accuracy: "ESTIMATED" });
    expect(seen.headAgeMs).toBeGreaterThanOrEqual(hourMs);
    expect(seen.headAgeMs).toBeLessThan(2 * hourMs);
    // More of them than are looked at: whether one waits is not known.
    const more = Array.from({ length: 1_000 }, (_, n) => `more-${n}`);
    await redis.zadd("mail", ...more.flatMap((id) => [old, id]));
    await redis.mset(more.flatMap((id) => [`arq:in-progress:${id}`, "1"]));
    await watched.until("mail", { accuracy: "UNKNOWN" });
  });
});

const hourMs = 3_600_000;
const secondsAgo = (ms: number) => Math.floor((Date.now() - ms) / 1000);

describe("Laravel", () => {
  const system = listSystems.laravel;
  const payload = (fields: object) =>
    JSON.stringify({ uuid: crypto.randomUUID(), job: "Job", data: {}, id: "x", attempts: 0, ...fields });

  /** As Laravel and Horizon write them. Since when the head waits, in hours ago; null: only marks say it. */
  const payloads: readonly {
    readonly what: string;
    readonly fields: object;
    readonly hours: number | null;
  }[] = [
    { what: "Horizon", fields: { pushedAt: `${secondsAgo(2 * hourMs)}.25` }, hours: 2 },
    { what: "12.11", fields: { createdAt: secondsAgo(2 * hourMs), delay: null }, hours: 2 },
    { what: "12.11, with a delay", fields: { createdAt: secondsAgo(2 * hourMs), delay: 3600 }, hours: 1 },
    {
      what: "12.11, tried before",
      fields: { createdAt: secondsAgo(2 * hourMs), attempts: 1 },
      hours: null,
    },
    { what: "8", fields: {}, hours: null },
    { what: "no JSON's time", fields: { createdAt: "yesterday" }, hours: null },
  ];
  test.each(payloads)("a payload of $what", async ({ fields, hours }) => {
    const { url, redis } = databases.own();
    await redis.rpush("laravel_database_queues:mail", payload(fields));
    const watched = await watchLists({ system, url });
    const accuracy = hours === null ? "LOWER_BOUND" : "ESTIMATED";
    const seen = await watched.until("mail", { depth: 1, accuracy });
    const roundingMs = 1_000;
    expect(seen.headAgeMs).toBeGreaterThanOrEqual((hours ?? 0) * hourMs - roundingMs);
    expect(seen.headAgeMs).toBeLessThan((hours ?? 0) * hourMs + 600_000);
  });

  test("jobs that are due or whose worker died wait, though no worker has moved them; others do not", async () => {
    const { url, redis } = databases.own();
    const key = "app-database-queues:mail";
    await redis.zadd(`${key}:delayed`, secondsAgo(-hourMs), payload({}), secondsAgo(-hourMs), payload({}));
    await redis.zadd(`${key}:reserved`, secondsAgo(-60_000), payload({ attempts: 1 }));
    const watched = await watchLists({ system, url: `${url}?prefix=app-database-` });
    await watched.until("mail", {
      ...{ depth: 0, scheduled: 2, inFlight: 1, headAgeMs: null, accuracy: "EXACT" },
    });
    await redis.zadd(`${key}:delayed`, secondsAgo(60_000), payload({}));
    await watched.until("mail", { depth: 1, scheduled: 2, accuracy: "ESTIMATED" });
    await redis.zadd(`${key}:reserved`, secondsAgo(hourMs), payload({ attempts: 2 }));
    const seen = await watched.until("mail", { depth: 2, scheduled: 2, accuracy: "ESTIMATED" });
    expect(seen.headAgeMs).toBeGreaterThanOrEqual(hourMs);
  });

  test("a job that was released is exact, by marks", async () => {
    const { url, redis } = databases.own();
    const watched = await watchLists({ system, url: `${url}?queues=mail` });
    await watched.until("mail", { depth: 0 });
    const fields = { createdAt: secondsAgo(2 * hourMs), attempts: 1 };
    const pushed = await timed(() => redis.rpush("laravel_database_queues:mail", payload(fields)));
    expectSince(await watched.until("mail", { depth: 1, accuracy: "EXACT" }), pushed);
  });
});

describe("Resque", () => {
  const system = listSystems.resque;

  test("is exact for jobs that differ, and says when it cannot distinguish them", async () => {
    const { url, redis } = databases.own();
    await redis.sadd("resque:queues", "mail", "ticks");
    const watched = await watchLists({ system, url });
    await watched.until("mail", { depth: 0, accuracy: "EXACT" });
    const job = (args: readonly unknown[]) => JSON.stringify({ class: "Job", args });
    const pushed = await timed(() => redis.rpush("resque:queue:mail", job([1]), job([2]), job([3])));
    expectSince(await watched.until("mail", { depth: 3, accuracy: "EXACT" }), pushed);
    await redis.rpush("resque:queue:ticks", job([]), job([]));
    const unknown = await watched.until("ticks", { depth: 2, accuracy: "UNKNOWN" });
    await eventually(() =>
      expect(watched.latest("ticks")?.headAgeMs).toBeGreaterThan(unknown.headAgeMs ?? 0),
    );
    await redis.del("resque:queue:ticks");
    await watched.until("ticks", { depth: 0, accuracy: "EXACT" });
  });

  test("has ActiveJob's times, in its namespace, and is paused when all workers are", async () => {
    const { url, redis } = databases.own();
    await redis.sadd("app:queues", "mail");
    const enqueuedAt = new Date(Date.now() - hourMs).toISOString();
    const job = { job_class: "Mail", job_id: "1", enqueued_at: enqueuedAt };
    const active = { class: "ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper", args: [job] };
    await redis.rpush("app:queue:mail", JSON.stringify(active));
    await redis.set("app:pause-all-workers", "true");
    const watched = await watchLists({ system, url: `${url}?namespace=app` });
    const seen = await watched.until("mail", { depth: 1, accuracy: "ESTIMATED", paused: true });
    expect(seen.headAgeMs).toBeGreaterThanOrEqual(hourMs - 10);
  });
});

describe("Celery", () => {
  test("an old task is seen beside tasks of another priority that are not due", async () => {
    const { url, redis } = databases.own();
    const message = (headers: object) =>
      JSON.stringify({ headers, properties: { delivery_tag: crypto.randomUUID() } });
    const eta = new Date(Date.now() + 24 * hourMs).toISOString();
    // More than are looked at: whether one of them waits is not known.
    const later = Array.from({ length: 20 }, () => message({ eta }));
    await redis.lpush("mail\x06\x163", ...later);
    await redis.lpush("mail", message({ "sentry-task-enqueued-time": secondsAgo(hourMs) }));
    const watched = await watchLists({ system: listSystems.celery, url: `${url}?queues=mail` });
    const seen = await watched.until("mail", { accuracy: "LOWER_BOUND" });
    expect(seen.headAgeMs).toBeGreaterThanOrEqual(hourMs);
  });
});

describe("keys that cannot be read", () => {
  const laravelKey = "laravel_database_queues:mail";
  const cases = [
    { system: listSystems.laravel, key: laravelKey, depth: null },
    { system: listSystems.laravel, key: `${laravelKey}:delayed`, depth: null },
    { system: listSystems.laravel, key: `${laravelKey}:reserved`, depth: null },
    { system: listSystems.rq, key: "rq:scheduled:mail", depth: null },
    // The id of the job is in the list all the same.
    { system: listSystems.rq, key: "rq:job:1", depth: 1 },
    { system: listSystems.dramatiq, key: "dramatiq:mail.msgs", depth: 1 },
  ];
  test.each(cases)(
    "$key of another type hides no other queue of $system.title, and empties none",
    async ({ system, key, depth }) => {
      const { url, redis } = databases.own();
      const lists = system.open(new URLSearchParams()).keysOf("mail").lists;
      for (const list of lists) await redis.rpush(list, "1");
      await redis.set(key, "text");
      const watched = await watchLists({ system, url: `${url}?queues=mail,other` });
      const accuracy = depth === null ? "UNKNOWN" : "LOWER_BOUND";
      await watched.until("mail", { depth, accuracy });
      await watched.until("other", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    },
  );

  test.each(["llen", "zcount"])(
    "a user who may not %s gets no reading, rather than an empty queue",
    async (command) => {
      const { url, redis } = databases.own();
      await redis.zadd(`${laravelKey}:delayed`, secondsAgo(hourMs), "due");
      await redis.acl("SETUSER", `no-${command}`, "on", ">secret", "~*", "+@all", `-${command}`);
      const watched = await watchLists({
        system: listSystems.laravel,
        url: `${url.replace("//", `//no-${command}:secret@`)}?queues=mail`,
      });
      const { fields } = await watched.logged("source unavailable");
      expect(String(fields.err)).toMatch(/permission|can't run/);
      expect(watched.seen).toEqual([]);
    },
  );
});
