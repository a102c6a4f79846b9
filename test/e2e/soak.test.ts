import { setTimeout as pause } from "node:timers/promises";
import { expect, it } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import { asInput, expectLikeModel } from "../support/like-model.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startServer } from "../support/server.ts";
import { type Stream, sseTransport, websocketTransport } from "../support/streams.ts";
import { createTrackerModel } from "../support/tracker-model.ts";
import { until } from "../support/until.ts";

const hourMs = 3_600_000;
const eventsPerSecond = 50;
const eventsPerBatch = 200;
const producers = 3;
const restarts = 12;
const queues = ["mail", "images", "{reports}", "__proto__", "größe", "empty in the end"];

it("an hour's worth of events through a Redis that is restarted over and over ends in the state of the model", {
  timeout: 600_000,
}, async () => {
  const prefix = uniquePrefix();
  await using redis = await startRedis({ appendonly: true });
  await using server = await startServer({
    ...{
      REDIS_URL: redis.url,
      KEY_PREFIX: prefix,
      RATE_LIMIT_MAX: "100000000",
      RECORD_RATE_LIMIT: "100000000",
      EVENT_WINDOW: "1h",
    },
  });
  await using sse = sseTransport(server.url);
  await using socket = websocketTransport(server.url);
  const watched = [sse, socket].map((transport) => watch(transport.subscribe(subscription, { queues })));

  const events = anHourOfEvents(Date.now() - hourMs);
  const batches = Array.from({ length: Math.ceil(events.length / eventsPerBatch) }, (_, i) =>
    events.slice(i * eventsPerBatch, (i + 1) * eventsPerBatch),
  );
  let next = 0;
  let acknowledged = 0;
  const refusals = new Map<string, number>();
  const producing = Array.from({ length: producers }, async () => {
    for (let i = next++; i < batches.length; i = next++) {
      const variables = { events: asInput(batches[i]!), batchId: `batch-${i}` };
      for (;;) {
        const { status, body } = await ask(server.url, mutation, variables);
        if (status === 200) break;
        const code = String(body.errors?.[0]?.extensions.code);
        refusals.set(code, (refusals.get(code) ?? 0) + 1);
        await pause(20);
      }
      acknowledged++;
    }
  });
  const restarting = (async () => {
    for (let i = 1; i <= restarts; i++) {
      const due = (batches.length * i) / (restarts + 1);
      await until(() => expect(acknowledged).toBeGreaterThanOrEqual(due), 5);
      if (i % 2 === 0) await redis.kill();
      await redis.restart();
    }
  })();
  await Promise.all([...producing, restarting]);

  const model = createTrackerModel({ eventWindowMs: hourMs, maxWaitMs: 7 * 24 * hourMs });
  model.record(events, null, Date.now());
  await expectLikeModel({ url: server.url, redisUrl: redis.url, prefix }, model, queues);
  // Who watched all along knows it, too.
  for (const { latest } of watched) {
    await until(() => {
      for (const queue of queues) {
        const { state, oldestSinceMs, depth, scheduled } = model.snapshot(queue, Date.now());
        const oldestSince = oldestSinceMs === null ? null : new Date(oldestSinceMs).toISOString();
        expect(latest.get(queue)).toEqual({ queue, state, oldestSince, depth, scheduled, stale: false });
      }
    });
  }
  for (const { stop } of watched) await stop();

  expect([...refusals.keys()]).toEqual(["SERVICE_UNAVAILABLE"]);
  expect(await server.stop()).toBe(0);
  const lines = server
    .stderr()
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
  expect(lines.filter(({ level }) => level >= 50)).toEqual([]);
  // Of each of the two connections one line for each time it goes and one for each time it comes.
  expect(lines.length).toBeLessThanOrEqual(4 * restarts + 1);
});

const mutation = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
  recordEvents(events: $events, batchId: $batchId) { accepted } }`;
const subscription = `subscription ($queues: [String!]!) {
  queueLatency(queues: $queues, minIntervalMs: 50, refreshMs: 0) { queue state oldestSince depth scheduled stale } }`;

/** Keeps what was pushed last of each queue. @throws in `stop`, when the stream broke or had an error in it. */
function watch(stream: Stream): { readonly latest: ReadonlyMap<string, unknown>; stop(): Promise<void> } {
  const latest = new Map<string, unknown>();
  let isOver = false;
  const watching = (async () => {
    for await (const { data, errors } of stream) {
      expect(errors).toBeUndefined();
      for (const row of data.queueLatency) latest.set(row.queue, row);
    }
    if (!isOver) throw new Error("the server has ended a subscription");
  })();
  watching.catch(() => {});
  return {
    latest,
    async stop() {
      isOver = true;
      stream.abort();
      await watching;
    },
  };
}

/**
 * What jobs do in an hour, sent as badly as can be: some events come before those that they follow, some come twice, some
 * jobs are tried again, some are removed, some are for later, some wait for ever. Always the same, but for the hour.
 */
function anHourOfEvents(fromMs: number): readonly QueueEvent[] {
  const random = randomNumbers(4);
  const sent: { readonly event: QueueEvent; readonly sentAt: number }[] = [];
  const send = (event: Omit<QueueEvent, "availableAtMs"> & { readonly availableAtMs?: number }) => {
    // Up to half a minute late; one of twenty is sent again, much later.
    const times = random() < 0.05 ? [0, 600_000 * random()] : [0];
    for (const later of times) {
      sent.push({
        event: { availableAtMs: null, ...event },
        sentAt: event.atMs! + 30_000 * random() + later,
      });
    }
  };
  for (let job = 0; sent.length < eventsPerSecond * 3_600; job++) {
    const queue = queues[Math.floor(queues.length * random() ** 2)]!;
    const jobId = `job-${job}`;
    let atMs = Math.floor(fromMs + hourMs * random());
    const staysForEver = queue !== "empty in the end" && random() < 0.02;
    for (let attempt = 0; attempt < 3; attempt++) {
      const availableAtMs = atMs + Math.floor(60_000 * random());
      const isDelayed = random() < 0.1;
      const identity = { queue, jobId, attempt };
      if (staysForEver && random() < 0.3) {
        send({ ...identity, type: "ENQUEUED", atMs, availableAtMs: fromMs + 2 * hourMs });
        break;
      }
      send({ ...identity, type: "ENQUEUED", atMs, ...(isDelayed ? { availableAtMs } : {}) });
      if (staysForEver) break;
      const leavesAtMs = Math.floor((isDelayed ? availableAtMs : atMs) + 20_000 * random() ** 3);
      if (leavesAtMs > fromMs + hourMs) {
        // Not later than now: it leaves at once.
        send({ ...identity, type: "REMOVED", atMs });
        break;
      }
      send({ ...identity, type: random() < 0.95 ? "DEQUEUED" : "REMOVED", atMs: leavesAtMs });
      if (random() < 0.9) break;
      atMs = Math.min(leavesAtMs + 1_000, fromMs + hourMs);
    }
  }
  return sent.toSorted((a, b) => a.sentAt - b.sentAt).map(({ event }) => event);
}

/** mulberry32: from 0 to 1, the same for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
