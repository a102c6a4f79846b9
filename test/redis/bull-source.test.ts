import Bull from "bull";
import { Queue } from "bullmq-5";
import { expect, onTestFinished, test } from "vitest";
import { createBullSource } from "../../src/sources/bull.ts";
import { createBullmqSource } from "../../src/sources/bullmq.ts";
import { callsOf, clockOffset, sourceRedis } from "../support/source-redis.ts";
import { eventually, type WatchedSource, watchSource } from "../support/watched-source.ts";

const hourMs = 3_600_000;

function watch(url: string, intervalMs = 20): Promise<WatchedSource> {
  return watchSource((wiring) => createBullSource({ url, intervalMs, ...wiring }));
}

/** Bull's own queue, with a prefix of its own where one is given; it ends with the test. */
function bullQueue(url: string, name: string, prefix?: string): Bull.Queue {
  const queue = new Bull(name, url.replace(/\/$/, ""), {
    ...(prefix === undefined ? {} : { prefix }),
    settings: { stalledInterval: 100, guardInterval: 50, lockDuration: 300, retryProcessDelay: 20 },
  });
  queue.on("error", () => {});
  onTestFinished(() => queue.close(true));
  return queue;
}

/** Works that many jobs in this process, and says when it began each. */
async function work(queue: Bull.Queue, jobs: number): Promise<readonly number[]> {
  const times: number[] = [];
  const done = Promise.withResolvers<void>();
  const workOne = (job: Bull.Job<{ fail?: boolean }>, next: Bull.DoneCallback): void => {
    times.push(Date.now());
    const end = () => next(job.data.fail ? new Error("meant to fail") : null);
    if (times.length < jobs) end();
    else queue.pause(true, true).then(done.resolve).then(end, end);
  };
  // It resolves when the queue is closed.
  queue.process(workOne).catch(() => {});
  await done.promise;
  await queue.whenCurrentJobsFinished();
  return times;
}

test("a queue has the latency that its producer and its worker measure", async () => {
  const { url, at } = await sourceRedis();
  const queue = bullQueue(url, "mail");
  const watched = await watch(url);
  const pushedAtMs: number[] = [];
  for (let i = 0; i < 5; i++) {
    pushedAtMs.push(Date.now());
    await queue.add({});
  }
  await watched.until("mail", { depth: 5, accuracy: "ESTIMATED", scheduled: 0, inFlight: 0, paused: false });
  expect(await work(queue, 3)).toHaveLength(3);
  const seen = await watched.until("mail", { depth: 2, accuracy: "ESTIMATED", inFlight: 0 });
  const offset = await clockOffset(at);
  const since = seen.readAtMs + offset.ms - (seen.headAgeMs ?? Number.NaN);
  const uncertainMs = seen.uncertaintyMs + offset.uncertaintyMs + 2;
  expect(since).toBeGreaterThanOrEqual((pushedAtMs[3] ?? Number.NaN) - uncertainMs);
  expect(since).toBeLessThanOrEqual((pushedAtMs[4] ?? Number.NaN) + uncertainMs);
  await queue.empty();
  await watched.until("mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  await queue.obliterate({ force: true });
  await watched.untilGone("mail");
});

test("more queues than the limit are not read, with one warning", async () => {
  const { url, at } = await sourceRedis();
  for (const name of ["a", "b"]) await at.set(`bull:${name}:id`, "1");
  const watched = await watchSource((wiring) =>
    createBullSource({ url, intervalMs: 20, maxQueues: 2, ...wiring }),
  );
  await watched.until("a", { depth: 0 });
  await watched.until("b", { depth: 0 });
  await at.set("bull:c:id", "1");
  const { fields } = await watched.logged("skipped queues beyond the limit");
  expect(fields).toMatchObject({ read: 2 });
  expect((await watched.next()).queues).toHaveLength(2);
  expect(watched.log.filter(({ level }) => level === "warn")).toHaveLength(1);
});

test("delayed jobs wait once they are due, whether a worker has moved them or not", async () => {
  const { url, at } = await sourceRedis();
  const queue = bullQueue(url, "later");
  const watched = await watch(url);
  const job = await queue.add({}, { delay: hourMs });
  await watched.until("later", { depth: 0, headAgeMs: null, scheduled: 1, accuracy: "EXACT" });
  await at.zadd("bull:later:delayed", (Date.now() - 60_000) * 4096, String(job.id));
  const { headAgeMs } = await watched.until("later", { depth: 1, scheduled: 0, accuracy: "ESTIMATED" });
  expect(headAgeMs).toBeGreaterThanOrEqual(60_000 - 2);
  expect(headAgeMs).toBeLessThan(hourMs);

  // Promoted before it is due: it waits, for how long nothing says.
  const soon = await queue.add({}, { delay: hourMs });
  await soon.promote();
  await at.zrem("bull:later:delayed", String(job.id));
  const promoted = await watched.until("later", { depth: 1, scheduled: 0, accuracy: "LOWER_BOUND" });
  expect(promoted.headAgeMs).toBeLessThan(60_000);
});

test("a retried job waits since it was seen first, not since it was made", async () => {
  const { url } = await sourceRedis();
  const queue = bullQueue(url, "fails");
  const watched = await watch(url);
  const job = await queue.add({ fail: true }, { attempts: 2, ...madeAt(Date.now() - hourMs) });
  const first = await watched.until("fails", { depth: 1, accuracy: "ESTIMATED" });
  expect(first.headAgeMs).toBeGreaterThanOrEqual(hourMs - 1000);
  await work(queue, 1);
  const seen = await watched.until("fails", { depth: 1, accuracy: "LOWER_BOUND" });
  expect(seen.headAgeMs).toBeLessThan(hourMs / 2);
  await watched.until("fails", { headAgeMs: expect.toSatisfy((age) => age > (seen.headAgeMs ?? 0)) });
  await job.remove();
  await watched.until("fails", { depth: 0, headAgeMs: null });
});

test("a job of a killed worker is put back by another, and waits again", async () => {
  const { url, at } = await sourceRedis();
  const queue = bullQueue(url, "stalls");
  await queue.add({});
  const watched = await watch(url);
  await watched.until("stalls", { depth: 1 });
  // As a worker does that dies before it has worked the job.
  await at.rpoplpush("bull:stalls:wait", "bull:stalls:active");
  await at.hset("bull:stalls:1", "processedOn", String(Date.now()));
  await watched.until("stalls", { depth: 0, headAgeMs: null, inFlight: 1 });
  await at.rpoplpush("bull:stalls:active", "bull:stalls:wait");
  await watched.until("stalls", { depth: 1, inFlight: 0, accuracy: "LOWER_BOUND" });
});

test("a paused queue is PAUSED, and its jobs wait", async () => {
  const { url } = await sourceRedis();
  const queue = bullQueue(url, "stops");
  await queue.add({});
  const watched = await watch(url);
  await queue.pause();
  await queue.add({});
  await watched.until("stops", { depth: 2, paused: true, accuracy: "ESTIMATED" });
  await queue.resume();
  await watched.until("stops", { depth: 2, paused: false });
});

/** An option that Bull has and its types lack. */
function madeAt(timestamp: number): Bull.JobOptions {
  return { timestamp } as Bull.JobOptions;
}

interface Order {
  readonly why: string;
  /** In the order of adding; minutes ago. */
  readonly jobs: readonly { readonly minutes: number; readonly priority?: number; readonly lifo?: boolean }[];
  readonly accuracy: string;
}

const many = (count: number, minutes: number) => Array.from({ length: count }, () => ({ minutes }));
const orders: readonly Order[] = [
  { why: "a long list in order", jobs: [{ minutes: 60 }, ...many(150, 1)], accuracy: "ESTIMATED" },
  {
    why: "a short list in any order",
    jobs: [{ minutes: 1 }, { minutes: 60, lifo: true }, { minutes: 2 }],
    accuracy: "ESTIMATED",
  },
  {
    why: "the oldest has no priority, and stands behind many that have",
    jobs: [
      { minutes: 60 },
      ...Array.from({ length: 150 }, (_, i) => ({ minutes: 2, priority: 1 + (i % 3) })),
    ],
    accuracy: "ESTIMATED",
  },
  {
    why: "the oldest has the lowest of several priorities",
    jobs: [
      { minutes: 60, priority: 9 },
      ...Array.from({ length: 150 }, (_, i) => ({ minutes: 2, priority: 1 + (i % 3) })),
      ...many(20, 1),
    ],
    accuracy: "ESTIMATED",
  },
  {
    why: "a long list whose ends are not in order",
    jobs: [...many(150, 10), { minutes: 60 }],
    accuracy: "LOWER_BOUND",
  },
];

test.each(orders)("$why: the oldest job is found", async ({ jobs, accuracy }) => {
  const { url } = await sourceRedis();
  const queue = bullQueue(url, "q");
  for (const { minutes, ...options } of jobs)
    await queue.add({}, { ...options, ...madeAt(Date.now() - minutes * 60_000) });
  const watched = await watch(url);
  const { headAgeMs } = await watched.until("q", { depth: jobs.length, accuracy });
  expect(headAgeMs).toBeGreaterThanOrEqual(60 * 60_000 - 2);
});

test("more priorities than are looked at make the age a lower bound", async () => {
  const { url } = await sourceRedis();
  const queue = bullQueue(url, "q");
  for (let i = 0; i < 120; i++) await queue.add({}, { priority: 1 + (i % 30) });
  const watched = await watch(url);
  await watched.until("q", { depth: 120, accuracy: "LOWER_BOUND" });
});

test("queues of Bull and of BullMQ under the same prefix are distinguished", async () => {
  const { url } = await sourceRedis();
  const bull = bullQueue(url, "of-bull");
  await bull.add({});
  // Then it has a key that BullMQ's queues have, too.
  await bull.pause();
  const bullmq = new Queue("of-bullmq", { connection: { url } });
  onTestFinished(() => bullmq.close());
  await bullmq.add("job", {});
  const watched = await watch(url);
  await watched.until("of-bull", { depth: 1 });
  expect((await watched.next()).queues.map(({ queue }) => queue)).toEqual(["of-bull"]);
});

test("either says which setting reads the other's queues, when there are no others", async () => {
  const [one, other] = [await sourceRedis(), await sourceRedis()];
  const bullmq = new Queue("of-bullmq", { connection: { url: one.url } });
  onTestFinished(() => bullmq.close());
  await bullmq.add("job", {});
  const watched = await watch(one.url);
  expect((await watched.logged("no queues found")).fields.err).toBe(
    "its 1 queues are BullMQ's: set BULLMQ_URL",
  );

  await bullQueue(other.url, "of-bull").add({});
  const lines = (
    await watchSource(({ sink, logger }) => {
      const follow = {
        ...sink,
        cursors: async () => new Map(),
        notes: async () => new Map(),
        follow: async () => Promise.reject(),
        gone: async () => {},
      };
      return createBullmqSource({ url: other.url, reconcileMs: 1000, sink: follow, logger });
    })
  ).log;
  await eventually(() =>
    expect(lines.find(({ message }) => message === "no queues found")?.fields.err).toContain("BULL_URL"),
  );
});

test("another prefix, and queues that are named, are read and no others", async () => {
  const { url } = await sourceRedis();
  await bullQueue(url, "a", "{app}").add({});
  await bullQueue(url, "b", "{app}").add({});
  await bullQueue(url, "c").add({});
  const found = await watch(`${url}?prefix=%7Bapp%7D`);
  await found.until("a", { depth: 1 });
  await found.until("b", { depth: 1 });
  expect(found.latest("c")).toBeUndefined();
  const named = await watch(`${url}?queues=c,missing`);
  await named.until("c", { depth: 1 });
  expect((await named.next()).queues).toHaveLength(1);
});

test("100 queues of 1,000 jobs are read by a few scripts that look at few jobs", async () => {
  const { url, at } = await sourceRedis();
  const fill = `for q = 1, 100 do
    local base = 'bull:q' .. q .. ':'
    redis.call('SET', base .. 'id', '1000')
    for i = 1, 1000 do
      redis.call('LPUSH', base .. 'wait', i)
      redis.call('HSET', base .. i, 'timestamp', '1700000000000', 'opts', '{}', 'delay', '0')
    end
  end`;
  await at.eval(fill, 0);
  const named = Array.from({ length: 100 }, (_, i) => `q${i + 1}`).join();
  await at.config("RESETSTAT");
  const watched = await watch(`${url}?queues=${named}`, 60_000);
  const { queues } = await watched.next();
  expect(queues).toHaveLength(100);
  expect(queues.every(({ depth, accuracy }) => depth === 1000 && accuracy === "ESTIMATED")).toBe(true);
  expect(await callsOf(at)).toMatchObject({ evalsha_ro: 5, eval_ro: 1, hmget: 600, lindex: 600 });
});
