import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import { createMetrics } from "../../src/exporters/metrics.ts";
import type { ServerMetrics } from "../../src/exporters/server-metrics.ts";
import { recordingLogger, silentLogger } from "../support/logger.ts";
import { fakeReader, noAlerts } from "../support/queue-reader.ts";

const server: ServerMetrics = {
  start() {},
  answered() {},
  refused() {},
  read: async () => [],
  text: async (isRedisUp) => `redis_up ${Number(isRedisUp)}\n`,
};

const alertStatus = async () => noAlerts;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function metricsOf(names: readonly string[], maxQueues = 1_000) {
  const reader = fakeReader(names);
  const choose = vi.fn(reader.choose);
  const metrics = createMetrics({
    reader: { ...reader, choose },
    maxQueues,
    historyMaxQueues: 1,
    server,
    objectiveMsOf: () => null,
    alertStatus,
    logger: silentLogger,
  });
  return { choose, text: async () => Buffer.concat(await metrics.read()).toString() };
}

describe("a scrape", () => {
  it("has queues up to the bound, and how many there are beyond it", async () => {
    const { text } = metricsOf(["a", "b", "c"], 2);
    const read = await text();
    expect(read).toContain('queue_depth{queue="b",source="events"} 0\n');
    expect(read).not.toContain('queue="c"');
    expect(read).toContain("queue_latency_known_queues 3\n");
    expect(read).toContain("queue_latency_omitted_queues 1\n");
    expect(read).toContain("queue_latency_queues_without_history 2\n");
    expect(read).toContain("redis_up 1\n");
  });

  it("is shared by all who ask while it is read, and for a second after", async () => {
    const { choose, text } = metricsOf(["a"]);
    const [one, other] = await Promise.all([text(), text()]);
    expect(one).toBe(other);
    await vi.advanceTimersByTimeAsync(999);
    await text();
    expect(choose).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1);
    await text();
    expect(choose).toHaveBeenCalledTimes(2);
  });

  it("leaves nothing of a queue that is gone", async () => {
    const names = ["a", "b"];
    const { text } = metricsOf(names);
    expect(await text()).toContain('queue="b"');
    names.pop();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await text()).not.toContain('queue="b"');
  });

  it("says that Redis is away, and has no queue then, rather than some", async () => {
    const reader = fakeReader(["a"]);
    const choose = async () => {
      throw new AppError("SERVICE_UNAVAILABLE", "Redis does not answer");
    };
    const metrics = createMetrics({
      reader: { ...reader, choose },
      maxQueues: 1_000,
      historyMaxQueues: 1,
      server,
      objectiveMsOf: () => null,
      alertStatus,
      logger: silentLogger,
    });
    expect(Buffer.concat(await metrics.read()).toString()).toBe("redis_up 0\n");
  });

  it("that failed is not shared", async () => {
    const reader = fakeReader(["a"]);
    const choose = vi.fn(reader.choose).mockRejectedValueOnce(new TypeError("a mistake of ours"));
    const metrics = createMetrics({
      reader: { ...reader, choose },
      maxQueues: 1_000,
      historyMaxQueues: 1,
      server,
      objectiveMsOf: () => null,
      alertStatus,
      logger: silentLogger,
    });
    await expect(metrics.read()).rejects.toThrow("a mistake of ours");
    expect(Buffer.concat(await metrics.read()).toString()).toContain("redis_up 1\n");
  });

  it("has the state of alerts, and of their notifications", async () => {
    const status = {
      ...{
        pending: 2,
        firing: 1,
        measuredAtMs: 1_790_000_000_500,
        decidedAtMs: 1_790_000_000_250,
        outbox: 4,
        ignored: 5,
        unreadable: 6,
        rules: 3,
      },
      receivers: [{ receiver: "webhook", waiting: 4, delivered: 7, failed: 8, dropped: 9 }],
    };
    const reader = fakeReader([]);
    const metrics = createMetrics({
      reader,
      maxQueues: 1,
      historyMaxQueues: 1,
      server,
      objectiveMsOf: () => null,
      alertStatus: async () => status,
      logger: silentLogger,
    });
    const lines = Buffer.concat(await metrics.read())
      .toString()
      .split("\n")
      .filter((line) => line.startsWith("queue_latency_alert"));
    expect(lines).toEqual([
      'queue_latency_alerts{state="pending"} 2',
      'queue_latency_alerts{state="firing"} 1',
      "queue_latency_alerts_decided_timestamp_seconds 1790000000.25",
      "queue_latency_alerts_ignored_total 5",
      'queue_latency_alert_outbox{receiver="webhook"} 4',
      "queue_latency_alerts_unreadable 6",
      'queue_latency_alert_deliveries_total{receiver="webhook",result="delivered"} 7',
      'queue_latency_alert_deliveries_total{receiver="webhook",result="failed"} 8',
      'queue_latency_alert_deliveries_total{receiver="webhook",result="dropped"} 9',
    ]);
  });

  it.each([
    { error: new AppError("SERVICE_UNAVAILABLE", "its node is away"), logged: 0, why: "its node is away" },
    { error: new SyntaxError("no JSON"), logged: 1, why: "what is stored of them is garbage" },
  ])("has the queues when alerts cannot be read: $why", async ({ error, logged }) => {
    const logger = recordingLogger();
    const metrics = createMetrics({
      reader: fakeReader(["a"]),
      maxQueues: 1,
      historyMaxQueues: 1,
      server,
      objectiveMsOf: () => null,
      alertStatus: () => Promise.reject(error),
      logger,
    });
    for (let i = 0; i < 2; i++) {
      const text = Buffer.concat(await metrics.read()).toString();
      expect(text).toContain('queue_depth{queue="a",source="events"} 0\n');
      expect(text).toContain("redis_up 1\n");
      expect(text).not.toContain("queue_latency_alert");
      await vi.advanceTimersByTimeAsync(1_000);
    }
    expect(logger.lines.filter(({ level }) => level !== "debug")).toHaveLength(logged);
  });
});
