import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import type { HistoryPoint } from "../../src/core/history.ts";
import { createStepStore } from "../../src/history/step-store.ts";
import { keptMs } from "../support/history.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, runServer, startApp } from "../support/server.ts";
import { pointOf, type StepSketch } from "../support/step-sketch.ts";
import { sse } from "../support/streams.ts";
import { openTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const record = `mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }`;
const range = "{ low likely high }";
const selection = `queue health objective
  forecast { unstable drainSeconds ${range} breachSeconds ${range} capacityRatio ${range} }`;
const agoS = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();

async function startTestApp(env: Readonly<Record<string, string>> = {}) {
  const prefix = uniquePrefix();
  const app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix, ...env });
  onTestFinished(() => app[Symbol.asyncDispose]());
  return { url: app.url, prefix };
}

async function healthOf(url: string, ...queues: readonly string[]) {
  const query = `query ($queues: [String!]!) { queueLatency(queues: $queues) { ${selection} } }`;
  const { body } = await ask(url, query, { queues });
  expect(body.errors).toBeUndefined();
  expect(body.extensions?.cost?.requestedQueryCost).toBe(3 * queues.length);
  return body.data.queueLatency;
}

/** The steps of the last five minutes, as if they had been read; before they are. */
async function writeHistory(
  prefix: string,
  queue: string,
  sketch: (step: number, endsAt: number) => StepSketch,
) {
  await using opened = await openTracker(inject("redisUrl"), { prefix });
  const store = createStepStore({ redis: opened.redis, keys: opened.keys, keptMs });
  const toMs = Math.floor(Date.now() / 10_000) * 10_000;
  for (let step = 0; step < 30; step++) {
    const { atMs, meanLatencyMs, counts, ...seen }: HistoryPoint = pointOf(
      toMs - 300_000 + step * 10_000,
      sketch(step, (step + 1) * 10),
    );
    const counted = counts && { ...counts, waits: 0, sumMs: 0, maxMs: 0, buckets: new Map() };
    const sumLatencyMs = meanLatencyMs * seen.samples;
    await store.append(queue, "TEN_SECONDS", { atMs, record: { ...seen, sumLatencyMs, counts: counted } });
  }
  return toMs;
}

test("what is late is SLOW at once, what has no sample is UNKNOWN, and what is empty is OK", async () => {
  const { url } = await startTestApp();
  await ask(url, record, {
    events: [
      { type: "ENQUEUED", queue: "within_30_seconds", jobId: "1", at: agoS(60) },
      { type: "ENQUEUED", queue: "mail", jobId: "1", at: agoS(60) },
      { type: "ENQUEUED", queue: "done", jobId: "1" },
      { type: "DEQUEUED", queue: "done", jobId: "1" },
    ],
  });
  const zero = { low: 0, likely: 0, high: 0 };
  const nothing = { unstable: false, drainSeconds: null, breachSeconds: null, capacityRatio: null };
  expect(await healthOf(url, "within_30_seconds", "mail", "done", "latency_5m")).toEqual([
    {
      queue: "within_30_seconds",
      health: "SLOW",
      objective: 30,
      forecast: { ...nothing, breachSeconds: zero },
    },
    { queue: "mail", health: "UNKNOWN", objective: null, forecast: nothing },
    { queue: "done", health: "OK", objective: null, forecast: { ...nothing, drainSeconds: zero } },
    { queue: "latency_5m", health: "UNKNOWN", objective: 300, forecast: null },
  ]);
});

test("a queue in which nothing has left for five minutes is STALLED, until something does", async () => {
  const { url, prefix } = await startTestApp();
  const toMs = await writeHistory(prefix, "mail", (step, endsAt) => ({
    depth: 10 + step,
    ageSeconds: 20 + endsAt,
    enqueued: 1,
  }));
  const events = Array.from({ length: 40 }, (_, i) => ({
    type: "ENQUEUED",
    queue: "mail",
    jobId: `${i}`,
    at: new Date(toMs - 320_000 + i * 8_000).toISOString(),
  }));
  await ask(url, record, { events });
  expect(await healthOf(url, "mail")).toMatchObject([
    { health: "STALLED", forecast: { unstable: true, drainSeconds: null, capacityRatio: null } },
  ]);
  await ask(url, record, { events: [{ type: "DEQUEUED", queue: "mail", jobId: "0" }] });
  const [{ health }] = await healthOf(url, "mail");
  expect(["OK", "UNKNOWN", "FALLING_BEHIND"]).toContain(health);
});

test("a queue to which more comes than leaves is FALLING_BEHIND, and it has a time at which it breaks its objective", async () => {
  const { url, prefix } = await startTestApp();
  const give = (step: number) => (step % 3) - 1;
  await writeHistory(prefix, "within_5_minutes", (step, endsAt) => ({
    depth: 100 + 20 * step + give(step),
    ageSeconds: 40 + 0.2 * endsAt,
    enqueued: 100 + give(step),
    dequeued: 80 - give(step),
  }));
  const events = Array.from({ length: 700 }, (_, i) => ({
    type: "ENQUEUED",
    queue: "within_5_minutes",
    jobId: `${i}`,
    at: agoS(100 - i / 10),
  }));
  await ask(url, record, { events });
  const [found] = await healthOf(url, "within_5_minutes");
  expect(found).toMatchObject({ health: "FALLING_BEHIND", objective: 300 });
  expect(found.forecast).toMatchObject({ unstable: true, drainSeconds: null });
  // 200 s are left, of which the head uses up a fifth of a second each second.
  expect(found.forecast.breachSeconds.likely).toBeGreaterThan(800);
  expect(found.forecast.breachSeconds.likely).toBeLessThan(1_200);
  expect(found.forecast.capacityRatio.likely).toBeCloseTo(1.25, 1);
});

test("what the server itself has seen counts: a first job behind nothing is OK", async () => {
  const { url } = await startTestApp();
  const job = (type: string, jobId: string, queue: string) => ({ type, queue, jobId });
  await ask(url, record, { events: [job("ENQUEUED", "1", "seen"), job("DEQUEUED", "1", "seen")] });
  const points = `query ($from: DateTime!) {
    queueLatency(queues: ["seen"]) { history(from: $from, step: TEN_SECONDS) { samples } }
  }`;
  await until(async () => {
    const { body } = await ask(url, points, { from: agoS(60) });
    expect(body.data.queueLatency[0].history).not.toEqual([]);
  }, 250);
  await ask(url, record, { events: [job("ENQUEUED", "2", "seen"), job("ENQUEUED", "2", "unseen")] });
  expect(await healthOf(url, "seen", "unseen")).toMatchObject([{ health: "OK" }, { health: "UNKNOWN" }]);
});

test("a subscription is pushed the health as it becomes another one", async () => {
  const { url } = await startTestApp();
  await ask(url, record, { events: [{ type: "ENQUEUED", queue: "within_5_seconds", jobId: "1" }] });
  const query = `subscription {
    queueLatency(queues: ["within_5_seconds"], refreshMs: 250) { latency health }
  }`;
  await using stream = sse(url, query);
  const pushed: { readonly latency: number; readonly health: string }[] = [];
  do {
    const { value } = await stream.next();
    pushed.push(value?.data.queueLatency[0]);
  } while (pushed.at(-1)?.health !== "SLOW" && pushed.length < 200);
  expect(pushed[0]?.health).toBe("UNKNOWN");
  for (const { latency, health } of pushed) expect(health).toBe(latency > 5 ? "SLOW" : "UNKNOWN");
});

test("a file of objectives is read again when it changes, and keeps the server from starting when it is wrong", async () => {
  const dir = await mkdtemp(join(tmpdir(), "ql-objectives-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const path = join(dir, "objectives.yaml");
  await writeFile(path, '"mail/*": 30\nwithin_1_day: none\n');
  const { url } = await startTestApp({ OBJECTIVES_FILE: path });
  const objectives = async () => {
    const found = await healthOf(url, "mail/a", "within_1_day", "within_2_days");
    return found.map(({ objective }: { readonly objective: number | null }) => objective);
  };
  expect(await objectives()).toEqual([30, null, 172_800]);
  await writeFile(`${path}.new`, "mail/a: 20\n");
  await rename(`${path}.new`, path);
  await expect.poll(objectives).toEqual([20, 86_400, 172_800]);

  await writeFile(`${path}.wrong`, "mail: 1\nother: soon\n");
  const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), OBJECTIVES_FILE: `${path}.wrong` };
  const { code, stderr } = await runServer(env);
  expect(code).toBe(1);
  expect(stderr).toContain("line 2: other: expected seconds");
});
