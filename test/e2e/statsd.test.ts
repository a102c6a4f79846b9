import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, describe, expect, inject, it, vi } from "vitest";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { createStatsd, type StatsdOptions } from "../../src/exporters/statsd.ts";
import { recordingLogger, silentLogger } from "../support/logger.ts";
import { fakeReader } from "../support/queue-reader.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { until } from "../support/until.ts";

/** A StatsD that listens at a free port, and keeps the datagrams that it receives. */
async function listen() {
  const socket = createSocket("udp4");
  const datagrams: string[] = [];
  socket.on("message", (message) => datagrams.push(message.toString()));
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    port: socket.address().port,
    datagrams,
    lines: () => datagrams.flatMap((datagram) => datagram.split("\n")).filter((line) => line !== ""),
    [Symbol.asyncDispose]: async () => void (await new Promise<void>((done) => socket.close(() => done()))),
  };
}

const started: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const service of started.splice(0)) await service.stop();
});

async function start(options: Partial<StatsdOptions> & Pick<StatsdOptions, "reader" | "port">) {
  const defaults = { host: "127.0.0.1", maxQueues: 10_000, logger: silentLogger, intervalMs: 100 };
  const statsd = createStatsd({ ...defaults, ...options });
  await statsd.start();
  started.push(statsd);
}

describe("StatsD", () => {
  it("gets each queue's latency in seconds and its size, over and over, as Faktory Enterprise does", async () => {
    await using statsd = await listen();
    const reader = fakeReader(["faktory/default", "mail"], (queue) =>
      queue === "mail" ? { latencyMs: 4_500, depth: 3, state: "WAITING" } : {},
    );
    await start({ reader, port: statsd.port });
    await until(() => {
      const lines = statsd.lines();
      expect(lines.filter((line) => line === "queue.latency:4.5|g|#queue:mail").length).toBeGreaterThan(1);
      expect(new Set(lines)).toEqual(
        new Set([
          ...["queue.latency:4.5|g|#queue:mail", "queue.size:3|g|#queue:mail"],
          ...["queue.latency:0|g|#queue:faktory/default", "queue.size:0|g|#queue:faktory/default"],
          "queue.omitted:0|g",
        ]),
      );
    });
  });

  it("gets whether a size is a lower bound while it is, and once after that that it is not", async () => {
    await using statsd = await listen();
    let depthIsLowerBound = true;
    const depth = 10_000;
    const reader = fakeReader(["counted", "many"], (queue) =>
      queue === "many" ? { depth, depthIsLowerBound } : { depth },
    );
    await start({ reader, port: statsd.port });
    const saying = (value: number) =>
      statsd.lines().filter((line) => line === `queue.size_is_lower_bound:${value}|g|#queue:many`).length;
    await until(() => expect(saying(1)).toBeGreaterThan(1));
    expect(saying(0)).toBe(0);
    depthIsLowerBound = false;
    await until(() => expect(saying(0)).toBe(1));
    const count = statsd.lines().length;
    await until(() => expect(statsd.lines().length).toBeGreaterThan(count + 20));
    expect(saying(0)).toBe(1);
    expect(statsd.lines().filter((line) => line.includes("lower_bound") && line.includes("counted"))).toEqual(
      [],
    );
  });

  it("gets nothing of a queue that is stale or gone, and no number that is not known", async () => {
    await using statsd = await listen();
    const reader = fakeReader(["dark", "gone", "stale", "no-depth"], (queue): Partial<QueueSnapshot> => {
      if (queue === "stale") return { stale: true, depth: 5 };
      if (queue === "no-depth") return { depth: null };
      return queue === "gone" ? { state: "MISSING" } : { accuracy: "UNKNOWN", latencyMs: null, depth: 2 };
    });
    await start({ reader, port: statsd.port });
    const known = ["queue.size:2|g|#queue:dark", "queue.latency:0|g|#queue:no-depth", "queue.omitted:0|g"];
    await until(() => expect(new Set(statsd.lines())).toEqual(new Set(known)));
  });

  it("keeps queues apart whose names a tag cannot hold", async () => {
    await using statsd = await listen();
    const names = ["a#b", "a%23b", "a,b", "a@b", "a_b", "a|b", "a:b"].sort();
    await start({ reader: fakeReader(names), port: statsd.port });
    const tags = () =>
      statsd.lines().flatMap((line) => /^queue\.size:0\|g\|#queue:([^#,|@]+)$/.exec(line)?.[1] ?? []);
    await until(() =>
      expect(new Set(tags())).toEqual(new Set(["a%23b", "a%2523b", "a%2cb", "a%40b", "a_b", "a%7cb", "a:b"])),
    );
  });

  it("gets datagrams that fit into a frame, of as many queues as it is to get, and how many there are beyond", async () => {
    await using statsd = await listen();
    const logger = recordingLogger();
    const names = Array.from(
      { length: 1_300 },
      (_, i) => `${"queue".repeat(20)}-${String(i).padStart(4, "0")}`,
    );
    await start({
      reader: fakeReader(names),
      port: statsd.port,
      maxQueues: 1_200,
      intervalMs: 1_000,
      logger,
    });
    // Datagrams can be lost: what one round did not bring, the next one does.
    await until(() => {
      const sizes = statsd.lines().filter((line) => line.startsWith("queue.size:"));
      const sent = new Set(sizes.map((line) => line.split("queue:")[1]));
      expect([sent.size, sent.symmetricDifference(new Set(names.slice(0, 1_200))).size]).toEqual([1_200, 0]);
      expect(statsd.lines().filter((line) => line === "queue.omitted:100|g").length).toBeGreaterThan(1);
    });
    expect(Math.max(...statsd.datagrams.map((datagram) => Buffer.byteLength(datagram)))).toBeLessThanOrEqual(
      1_432,
    );
    expect(logger.lines).toMatchObject([{ level: "warn", fields: { omitted: 100, maxQueues: 1_200 } }]);
  });

  it("that cannot be found is said once, and holds up nothing", async () => {
    const logger = recordingLogger();
    const reader = fakeReader(["a"]);
    const choose = vi.fn(reader.choose);
    await start({ reader: { ...reader, choose }, port: 8125, host: "statsd.invalid", logger });
    await until(() => expect(choose.mock.calls.length).toBeGreaterThan(3));
    await until(() =>
      expect(logger.lines.filter(({ level }) => level !== "debug")).toMatchObject([
        { level: "warn", message: "StatsD delivery failed", fields: { host: "statsd.invalid" } },
      ]),
    );
  });

  it("is sent by one of two servers at a time, and by the other when that one ends", async () => {
    await using statsd = await listen();
    const env = {
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: uniquePrefix(),
      STATSD_URL: `udp://127.0.0.1:${statsd.port}`,
    };
    const logs = [recordingLogger(), recordingLogger()] as const;
    const servers = [await startApp(env, logs[0]), await startApp(env, logs[1])] as const;
    started.push(...servers);
    const sending = () =>
      logs.map(({ lines }) => lines.some(({ message }) => message === "started sending to StatsD"));
    await until(() => expect(sending()).toContain(true));
    const one = sending().indexOf(true);
    const other = 1 - one;
    await ask(
      servers[other]!.url,
      'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "mail", jobId: "1" }]) { accepted } }',
    );
    expect(sending()[other]).toBe(false);
    await servers[one]!.stop();
    await until(() => {
      expect(sending()[other]).toBe(true);
      expect(statsd.lines()).toContain("queue.size:1|g|#queue:mail");
    });
  });
});
