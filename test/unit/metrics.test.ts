import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import { createMetrics } from "../../src/exporters/metrics.ts";
import type { ServerMetrics } from "../../src/exporters/server-metrics.ts";
import { fakeReader } from "../support/queue-reader.ts";

const server: ServerMetrics = {
  start() {},
  answered() {},
  refused() {},
  text: async (isRedisUp) => `redis_up ${Number(isRedisUp)}\n`,
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function metricsOf(names: readonly string[], maxQueues = 1_000) {
  const reader = fakeReader(names);
  const list = vi.fn(reader.list);
  const metrics = createMetrics({ reader: { ...reader, list }, maxQueues, server });
  return { list, text: async () => Buffer.concat(await metrics.read()).toString() };
}

describe("a scrape", () => {
  it("tells of queues up to the bound, and how many there are beyond it", async () => {
    const { text } = metricsOf(["a", "b", "c"], 2);
    const read = await text();
    expect(read).toContain('queue_depth{queue="b",source="events"} 0\n');
    expect(read).not.toContain('queue="c"');
    expect(read).toContain("queue_latency_known_queues 3\n");
    expect(read).toContain("queue_latency_omitted_queues 1\n");
    expect(read).toContain("redis_up 1\n");
  });

  it("is shared by all who ask while it is read, and for a second after", async () => {
    const { list, text } = metricsOf(["a"]);
    const [one, other] = await Promise.all([text(), text()]);
    expect(one).toBe(other);
    await vi.advanceTimersByTimeAsync(999);
    await text();
    expect(list).toHaveBeenCalledTimes(1);
    await vi.advanceTimersByTimeAsync(1);
    await text();
    expect(list).toHaveBeenCalledTimes(2);
  });

  it("leaves nothing of a queue that is gone", async () => {
    const names = ["a", "b"];
    const { text } = metricsOf(names);
    expect(await text()).toContain('queue="b"');
    names.pop();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await text()).not.toContain('queue="b"');
  });

  it("says that Redis is away, and tells of no queue then, rather than of some", async () => {
    const reader = fakeReader(["a"]);
    const list = async () => {
      throw new AppError("SERVICE_UNAVAILABLE", "Redis does not answer");
    };
    const metrics = createMetrics({ reader: { ...reader, list }, maxQueues: 1_000, server });
    expect(Buffer.concat(await metrics.read()).toString()).toBe("redis_up 0\n");
  });

  it("that failed is nobody else's", async () => {
    const reader = fakeReader(["a"]);
    const list = vi.fn(reader.list).mockRejectedValueOnce(new TypeError("a mistake of ours"));
    const metrics = createMetrics({ reader: { ...reader, list }, maxQueues: 1_000, server });
    await expect(metrics.read()).rejects.toThrow("a mistake of ours");
    expect(Buffer.concat(await metrics.read()).toString()).toContain("redis_up 1\n");
  });
});
