import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { waitBoundsMs } from "../../src/core/snapshot.ts";
import { createMetrics } from "../../src/exporters/metrics.ts";
import { createServerMetrics } from "../../src/exporters/server-metrics.ts";
import { silentLogger } from "../support/logger.ts";
import { noAlerts } from "../support/queue-reader.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { openTracker, type TestTracker } from "../support/tracker.ts";

const count = 10_000;
const newer = 1_000;
const nameOf = (i: number) => `queue-${String(i).padStart(5, "0")}`;
/** One of each gauge, four kinds of events, and a histogram. */
const seriesOfAQueue = 10 + 4 + (waitBoundsMs.length + 1) + 2;

let redis: TestRedis;
let opened: TestTracker;

beforeAll(async () => {
  redis = await startRedis();
  opened = await openTracker(redis.url);
  for (let from = 0; from < count; from += 500) {
    const events = Array.from({ length: 500 }, (_, k) =>
      Array.from({ length: 1 + ((from + k) % 3) }, (_, job) => ({
        ...{ type: "ENQUEUED" as const, queue: nameOf(from + k), jobId: `${job}`, attempt: 0 },
        ...{ atMs: null, availableAtMs: null },
      })),
    );
    await opened.tracker.record(events.flat(), null);
  }
  // Newer ones, whose names stand before all others.
  const flood = Array.from({ length: newer }, (_, i) => ({
    ...{ type: "ENQUEUED" as const, queue: `!${i}`, jobId: "a", attempt: 0 },
    ...{ atMs: null, availableAtMs: null },
  }));
  await opened.tracker.record(flood, null);
});
afterAll(async () => {
  await opened?.[Symbol.asyncDispose]();
  await redis?.stop();
});

async function linesOf(maxQueues: number): Promise<readonly string[]> {
  const server = createServerMetrics({ subscriptions: () => 0, sourcesUp: new Map() });
  const metrics = createMetrics({
    reader: opened.tracker,
    maxQueues,
    historyMaxQueues: 1_000,
    server,
    objectiveMsOf: () => null,
    alertStatus: async () => noAlerts,
    logger: silentLogger,
  });
  // On a busy machine Redis may answer some reads too late: those queues have no series in that scrape, which says so.
  for (;;) {
    const text = Buffer.concat(await metrics.read()).toString();
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    if (lines.includes("queue_latency_unreadable_queues 0")) return lines;
  }
}

describe(`${count} queues`, () => {
  it("have each their own numbers in one scrape, and a bounded number of series, whatever names come later", async () => {
    const lines = await linesOf(count);
    const ofQueues = lines.filter((line) => line.includes('queue="'));
    expect(ofQueues).toHaveLength(count * seriesOfAQueue);
    expect(new Set(ofQueues.map((line) => line.slice(0, line.lastIndexOf(" ")))).size).toBe(ofQueues.length);
    const depths = lines.filter((line) => line.startsWith("queue_depth{"));
    expect(depths).toEqual(
      Array.from(
        { length: count },
        (_, i) => `queue_depth{queue="${nameOf(i)}",source="events"} ${1 + (i % 3)}`,
      ),
    );
    expect(lines).toContain(`queue_latency_omitted_queues ${newer}`);
    expect(lines.length - ofQueues.length).toBeLessThan(100);
  });

  it("are cut at METRICS_MAX_QUEUES, which is said", async () => {
    const lines = await linesOf(700);
    expect(lines.filter((line) => line.startsWith("queue_depth{"))).toHaveLength(700);
    expect(lines.filter((line) => line.includes('queue="!'))).toEqual([]);
    expect(lines).toContain(`queue_latency_known_queues ${count + newer}`);
    expect(lines).toContain(`queue_latency_omitted_queues ${count + newer - 700}`);
  });
});
