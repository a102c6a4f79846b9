import { expect, inject, test } from "vitest";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { openTracker } from "../support/tracker.ts";

/** The app with keys of its own, and what is mostly asked of it. */
async function open(env: Readonly<Record<string, string>> = {}) {
  const prefix = uniquePrefix();
  const app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix, ...env });
  const data = async (query: string, variables: object = {}) => {
    const { body } = await ask(app.url, query, variables);
    expect(body.errors).toBeUndefined();
    return body.data;
  };
  return {
    prefix,
    url: app.url,
    record: async (...events: object[]) =>
      (
        await data(
          `mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted duplicates early } }`,
          { events: events.map((event) => ({ queue: "q", ...event })) },
        )
      ).recordEvents,
    waiting: async (args = `queue: "q"`) =>
      (await data(`{ waitingJobs(${args}) { jobId attempt since waited } }`)).waitingJobs,
    remove: async (jobs: readonly object[], queue = "q"): Promise<number> =>
      (
        await data(
          `mutation ($queue: String!, $jobs: [WaitingJobInput!]!) { removeWaitingJobs(queue: $queue, jobs: $jobs) }`,
          { queue, jobs },
        )
      ).removeWaitingJobs,
    read: async (queue = "q") =>
      (
        await data(
          `{ queueLatency(queues: ["${queue}"]) { state depth scheduled lost waitTime { count max } } }`,
        )
      ).queueLatency[0],
    [Symbol.asyncDispose]: app[Symbol.asyncDispose],
  };
}

const enqueued = (jobId: string, rest: object = {}) => ({ type: "ENQUEUED", jobId, ...rest });
const dequeued = (jobId: string, rest: object = {}) => ({ type: "DEQUEUED", jobId, ...rest });
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();
const ids = (jobs: readonly { readonly jobId: string }[]) => jobs.map(({ jobId }) => jobId);

test("the jobs that have waited longest are listed, oldest first, and nothing else is", async () => {
  await using app = await open();
  const at = inSeconds(-30);
  await app.record(
    enqueued("young", { at: inSeconds(-5) }),
    enqueued("old", { at, attempt: 3 }),
    enqueued("2:odd", { at: inSeconds(-10) }),
    enqueued("later", { availableAt: inSeconds(60) }),
    enqueued("gone"),
    dequeued("gone"),
  );
  const [first, ...others] = await app.waiting();
  expect(first).toMatchObject({ jobId: "old", attempt: 3, since: at });
  expect(first.waited).toBeGreaterThanOrEqual(30);
  expect(first.waited).toBeLessThan(60);
  expect(ids(others)).toEqual(["2:odd", "young"]);
  expect(ids(await app.waiting('queue: "q", first: 2'))).toEqual(["old", "2:odd"]);
  expect(await app.waiting('queue: "q", first: 0')).toEqual([]);
  expect(await app.waiting('queue: "never seen"')).toEqual([]);
});

test("what is listed can be removed, once, and what happens to it later still counts", async () => {
  await using app = await open();
  const events = [
    enqueued("a", { at: inSeconds(-20) }),
    enqueued("b", { at: inSeconds(-10) }),
    enqueued("b", { attempt: 1 }),
    enqueued("later", { availableAt: inSeconds(60) }),
  ];
  await app.record(...events);
  const jobs = [
    ...(await app.waiting('queue: "q", first: 2')),
    { jobId: "later" },
    { jobId: "not enqueued" },
  ];
  const named = jobs.map(({ jobId, attempt }) => ({ jobId, attempt }));
  expect(await app.remove([...named, ...named])).toBe(3);
  expect(await app.remove(named)).toBe(0);
  expect(await app.read()).toMatchObject({ state: "WAITING", depth: 1, scheduled: 0 });
  expect(await app.waiting()).toMatchObject([{ jobId: "b", attempt: 1 }]);
  // Neither a repetition nor an enqueue that comes late brings them back.
  expect(await app.record(...events)).toMatchObject({ accepted: 0 });
  expect(await app.record(enqueued("not enqueued"))).toMatchObject({ accepted: 1 });
  expect(await app.read()).toMatchObject({ depth: 1 });
  // It was no ghost after all.
  expect(await app.record(dequeued("a"))).toEqual({ accepted: 1, duplicates: 0, early: 0 });
  const { waitTime } = await app.read();
  expect(waitTime.count).toBe(1);
  expect(waitTime.max).toBeGreaterThanOrEqual(20);
});

test("to remove jobs from a queue that is not known does not make it known", async () => {
  await using app = await open();
  expect(await app.remove([{ jobId: "a" }])).toBe(0);
  expect(await app.read()).toMatchObject({ state: "MISSING", lost: null });
  const { body } = await ask(app.url, "{ queues { edges { cursor } } }");
  expect(body.data.queues.edges).toEqual([]);
});

test("jobs that waited longer than MAX_WAIT are counted as lost, at once, until their dequeue comes after all", async () => {
  await using app = await open({ MAX_WAIT: "1m" });
  await app.record(enqueued("a"));
  expect(await app.read()).toMatchObject({ depth: 1, lost: 0 });
  await app.record(enqueued("ghost", { at: inSeconds(-61) }), enqueued("lost", { at: inSeconds(-90) }));
  expect(await app.read()).toMatchObject({ depth: 1, lost: 2 });
  expect(ids(await app.waiting())).toEqual(["a"]);
  await app.record(dequeued("ghost"));
  expect(await app.read()).toMatchObject({ depth: 1, lost: 1 });
});

test("of the queues of a job system the jobs are listed where we know them, and never removed", async () => {
  await using app = await open();
  await using reader = await openTracker(inject("redisUrl"), { prefix: app.prefix });
  const now = Date.now();
  const seen = { uncertaintyMs: 0, scheduled: 0, paused: false, accuracy: "EXACT", readAtMs: now } as const;
  await reader.tracker.observe({
    source: "faktory",
    queues: [{ queue: "default", headAgeMs: 5_000, depth: 2, ...seen }],
    freshForMs: 60_000,
  });
  const event = { kind: "ENQUEUED", jobId: "17", atMs: now - 9_000, availableAtMs: null } as const;
  await reader.tracker.follow({
    ...{ source: "bullmq", queue: "mail", fromCursor: null, toCursor: "1", events: [event], paused: null },
    ...{ sourceNowMs: now, readAtMs: now, uncertaintyMs: 0, freshForMs: 60_000, repair: null, expected: [] },
    missedUntilMs: null,
    clockSkewMs: null,
  });
  const listed = await app.waiting('queue: "bullmq/mail"');
  expect(listed).toMatchObject([{ jobId: "17", attempt: 0 }]);
  expect(listed[0].waited).toBeGreaterThanOrEqual(8.5);
  expect((await app.read("bullmq/mail")).lost).toBeNull();
  expect((await app.read("faktory/default")).lost).toBeNull();

  const remove = (queue: string) =>
    `mutation { removeWaitingJobs(queue: "${queue}", jobs: [{ jobId: 17 }]) }`;
  for (const [query, source] of [
    ['{ waitingJobs(queue: "faktory/default") { jobId } }', "faktory"],
    [remove("faktory/default"), "faktory"],
    [remove("bullmq/mail"), "bullmq"],
  ] as const) {
    const { status, body } = await ask(app.url, query);
    expect({ status, code: body.errors?.[0]?.extensions.code }).toEqual({
      status: 400,
      code: "BAD_USER_INPUT",
    });
    expect(body.errors?.[0]?.message).toContain(source);
  }
  expect(await app.waiting('queue: "bullmq/mail"')).toHaveLength(1);
});

test("it costs a point for each ten jobs that are asked for, and a bad request names what is wrong", async () => {
  await using app = await open({ MAX_EVENTS: "2" });
  const costOf = async (query: string) =>
    (await ask(app.url, query)).body.extensions?.cost?.requestedQueryCost;
  expect(await costOf('{ waitingJobs(queue: "q", first: 61) { jobId } }')).toBe(7);
  expect(await costOf('mutation { removeWaitingJobs(queue: "q", jobs: []) trustQueue(queue: "q") }')).toBe(2);
  const job = { jobId: "a" };
  for (const [jobs, message] of [
    [[job, { jobId: "" }], /^jobs\[1\]\.jobId: /],
    [[{ jobId: "a", attempt: -1 }], /^jobs\[0\]\.attempt: /],
    [[job, job, job], /^jobs: expected at most 2 jobs, got 3$/],
  ] as const) {
    const { body } = await ask(
      app.url,
      'mutation ($jobs: [WaitingJobInput!]!) { removeWaitingJobs(queue: "q", jobs: $jobs) }',
      { jobs },
    );
    expect(body.errors?.[0]).toMatchObject({ message: expect.stringMatching(message) });
    expect(body.errors?.[0]?.extensions.code).toBe("BAD_USER_INPUT");
  }
});
