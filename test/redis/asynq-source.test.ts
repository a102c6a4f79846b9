import { Cluster } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { createAsynqSource } from "../../src/sources/asynq.ts";
import { startAsynq, whyNoAsynq } from "../support/asynq.ts";
import { startCluster } from "../support/cluster.ts";
import { callsOf, clockOffset, sourceRedis } from "../support/source-redis.ts";
import { type WatchedSource, watchSource } from "../support/watched-source.ts";

function watch(url: string, intervalMs = 20): Promise<WatchedSource> {
  return watchSource((wiring) => createAsynqSource({ url, intervalMs, ...wiring }));
}

const title = whyNoAsynq === null ? "a real asynq" : `a real asynq (${whyNoAsynq})`;

describe.skipIf(whyNoAsynq !== null)(title, () => {
  test("has the latency that its producer and its worker measure, and that its inspector reports", async () => {
    const { url, at } = await sourceRedis();
    const asynq = startAsynq(url);
    const watched = await watch(url);
    const pushedAtMs = [await asynq.push("mail"), await asynq.push("mail"), await asynq.push("mail")];
    for (const waiting of [3, 1]) {
      if (waiting === 1) {
        const beganAtMs = await asynq.work("mail", 2);
        expect(beganAtMs).toHaveLength(2);
      }
      const seen = await watched.until("mail", { depth: waiting, accuracy: "ESTIMATED", inFlight: 0 });
      const offset = await clockOffset(at);
      const since = seen.readAtMs + offset.ms - (seen.headAgeMs ?? Number.NaN);
      // The producer noted it before it enqueued.
      const lateMs = since - (pushedAtMs[3 - waiting] ?? Number.NaN);
      expect(lateMs).toBeGreaterThanOrEqual(-seen.uncertaintyMs - offset.uncertaintyMs - 2);
      const { latencyMs, size } = await asynq.latency("mail");
      expect(size).toBe(waiting);
      expect(latencyMs).toBeGreaterThanOrEqual((seen.headAgeMs ?? Number.NaN) - seen.uncertaintyMs - 2);
    }
    await asynq.work("mail", 1);
    await watched.until("mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test("delays, fails, pauses, and is purged: only what can be claimed waits", async () => {
    const { url, at } = await sourceRedis();
    const asynq = startAsynq(url);
    const watched = await watch(url);
    await asynq.push("later", { delay: 3600 });
    await watched.until("later", { depth: 0, headAgeMs: null, scheduled: 1, accuracy: "EXACT" });
    await asynq.push("fails", { payload: "fail" });
    await asynq.work("fails", 1);
    await watched.until("fails", { depth: 0, headAgeMs: null, scheduled: 1 });
    await asynq.push("groups", { group: "g" });
    await watched.until("groups", { depth: 0, headAgeMs: null, scheduled: 0 });

    await asynq.push("stops");
    await asynq.pause("stops");
    await watched.until("stops", { depth: 1, paused: true, accuracy: "ESTIMATED" });
    await asynq.resume("stops");
    await watched.until("stops", { depth: 1, paused: false });
    await asynq.purge("stops");
    await watched.until("stops", { depth: 0, headAgeMs: null });

    // Due; no server runs that would move them.
    const [seconds] = await at.time();
    for (const [queue, set] of [
      ["later", "scheduled"],
      ["fails", "retry"],
    ] as const) {
      const [task] = await at.zrange(`asynq:{${queue}}:${set}`, "0", "0");
      await at.zadd(`asynq:{${queue}}:${set}`, String(Number(seconds) - 60), task ?? "");
      const { headAgeMs } = await watched.until(queue, { depth: 1, scheduled: 0, accuracy: "ESTIMATED" });
      expect(headAgeMs).toBeGreaterThanOrEqual(60_000 - 2);
    }
    // A server moves it, and it waits from then on.
    await asynq.push("later");
    await asynq.work("later", 2);
    await watched.until("later", { depth: 0, scheduled: 0 });
  });

  test("puts a task back without its time when its server shuts down: unknown, and not 0", async () => {
    const { url } = await sourceRedis();
    const asynq = startAsynq(url);
    const watched = await watch(url);
    await asynq.push("q");
    await asynq.interrupt("q");
    const seen = await watched.until("q", { depth: 1, accuracy: "UNKNOWN", inFlight: 0 });
    await watched.until("q", { headAgeMs: expect.toSatisfy((age) => age > (seen.headAgeMs ?? 0)) });
    // asynq itself reports 0.
    expect(await asynq.latency("q")).toMatchObject({ latencyMs: 0, size: 1 });
    // One that came later has its time: the task before it has waited at least so long.
    await asynq.push("q");
    await watched.until("q", { depth: 2, accuracy: "LOWER_BOUND", headAgeMs: expect.any(Number) });
    await asynq.work("q", 1);
    await watched.until("q", { depth: 1, accuracy: "ESTIMATED" });
  });
});

test("a time that is none is unknown", async () => {
  const { url, at } = await sourceRedis();
  await at.sadd("asynq:queues", "odd");
  await at.lpush("asynq:{odd}:pending", "id");
  await at.hset("asynq:{odd}:t:id", "pending_since", "yesterday");
  const watched = await watch(url);
  await watched.until("odd", { accuracy: "UNKNOWN", depth: 1 });
});

test("a key of another type is unknown, and hides no other queue", async () => {
  const { url, at } = await sourceRedis();
  await at.sadd("asynq:queues", "broken", "good", "a*");
  await at.set("asynq:{broken}:pending", "no list");
  const watched = await watch(url);
  await watched.until("broken", { depth: null, headAgeMs: null, accuracy: "UNKNOWN" });
  await watched.until("good", { depth: 0, accuracy: "EXACT" });
  expect((await watched.next()).queues).toHaveLength(2);
  await at.srem("asynq:queues", "good");
  await watched.untilGone("good");
});

test("says when its database has the keys of another job system", async () => {
  const { url, at } = await sourceRedis();
  await at.sadd("queues", "default");
  const watched = await watch(url);
  const { fields } = await watched.logged("no queues found");
  expect(fields.err).toBe("this database has keys of another job system: sidekiq (SIDEKIQ_URL)");
});

test("300 queues with a million tasks are read by a few scripts", async () => {
  const { url, at } = await sourceRedis();
  const fill = `for q = 1, 300 do
    local base = 'asynq:{q' .. q .. '}:'
    redis.call('SADD', KEYS[1], 'q' .. q)
    for i = 1, 3400 do redis.call('LPUSH', base .. 'pending', i) end
    redis.call('HSET', base .. 't:1', 'pending_since', '1700000000000000000')
  end`;
  await at.eval(fill, 1, "asynq:queues");
  await at.config("RESETSTAT");
  const watched = await watch(url, 60_000);
  const { queues } = await watched.next();
  expect(queues).toHaveLength(300);
  expect(queues.every(({ depth, accuracy }) => depth === 3400 && accuracy === "ESTIMATED")).toBe(true);
  expect(await callsOf(at)).toMatchObject({ evalsha_ro: 6, eval_ro: 1, lindex: 300, llen: 600 });
});

test("a Redis Cluster is read, whatever node is named", async () => {
  await using cluster = await startCluster();
  const at = new Cluster(cluster.nodes.map(({ port }) => ({ host: "127.0.0.1", port })));
  onTestFinished(() => at.disconnect());
  for (const queue of ["a", "b", "c", "d", "e"]) {
    await at.sadd("asynq:queues", queue);
    await at.lpush(`asynq:{${queue}}:pending`, "1");
    await at.hset(`asynq:{${queue}}:t:1`, "pending_since", "1700000000000000000");
  }
  const watched = await watch(cluster.nodes[1]?.url ?? "");
  for (const queue of ["a", "b", "c", "d", "e"])
    await watched.until(queue, { depth: 1, accuracy: "ESTIMATED" });
  await watched.stop();
});
