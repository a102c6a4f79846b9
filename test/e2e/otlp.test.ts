import { createClient } from "graphql-ws";
import { afterEach, describe, expect, inject, it } from "vitest";
import { WebSocket } from "ws";
import { createApp } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { startReceiver } from "../support/http-receiver.ts";
import { recordingLogger, silentLogger } from "../support/logger.ts";
import { type ReceivedPoint, startOtlpCollector, whyNoOtlpCollector } from "../support/otlp-collector.ts";
import { exportByOtlp } from "../support/otlp-exporter.ts";
import { fakeReader } from "../support/queue-reader.ts";
import { freePort, uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { until } from "../support/until.ts";

const queueOf = ({ attributes }: ReceivedPoint) => attributes["messaging.destination.name"];
const named = (points: readonly ReceivedPoint[], name: string) => points.filter((each) => each.name === name);

const started: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const service of started.splice(0).reverse()) await service.stop();
});

async function start(env: Readonly<Record<string, string>>, logger = silentLogger) {
  const server = await startApp(
    { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), ...env },
    logger,
  );
  started.push(server);
  return server;
}

async function startExporting(options: Parameters<typeof exportByOtlp>[0]): Promise<void> {
  started.push(await exportByOtlp(options));
}

const enqueue = (queue: string, jobId: string) =>
  `{ type: ENQUEUED, queue: "${queue}", jobId: "${jobId}", at: "2026-01-02T03:04:05Z" }`;
const dequeue = (queue: string, jobId: string) =>
  `{ type: DEQUEUED, queue: "${queue}", jobId: "${jobId}", at: "2026-01-02T03:05:05Z" }`;
const record = (url: string, ...events: string[]) =>
  ask(url, `mutation { recordEvents(events: [${events.join()}]) { accepted } }`);

/** The name in Prometheus of what a collector received: its own rule, of the units that are here. */
function prometheusName({ name, unit, isMonotonic }: ReceivedPoint): string {
  const ending = { s: "_seconds", By: "_bytes" }[unit] ?? "";
  return name.replaceAll(".", "_") + ending + (isMonotonic ? "_total" : "");
}

describe.skipIf(whyNoOtlpCollector !== null)(
  `a collector of OpenTelemetry ${whyNoOtlpCollector ?? ""}`,
  () => {
    it("gets the numbers of /metrics, under names that become the same", async () => {
      await using collector = await startOtlpCollector();
      const prefix = uniquePrefix();
      const first = await start({ KEY_PREFIX: prefix, MAX_WAIT: "3650d" });
      await record(
        first.url,
        enqueue("mail", "1"),
        enqueue("mail", "2"),
        dequeue("mail", "1"),
        enqueue("pdf %=,", "1"),
      );
      const env = { KEY_PREFIX: prefix, MAX_WAIT: "3650d", OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
      const { url } = await start({
        ...env,
        OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=a%20b",
        OTEL_METRIC_EXPORT_INTERVAL: "86400000",
      });
      const text = await (await fetch(`${url}/metrics`)).text();
      const isTimed = (name: string) => /_age_|_observed_/.test(name);
      const scraped = [...text.matchAll(/^(queue_\w+)\{queue="([^"]*)",source="events",?([^}]*)\} (\S+)$/gm)]
        .filter(([, name = ""]) => !/^queue_latency|_bucket$|_sum$/.test(name))
        .map(([, name = "", queue, labels, value]) => [
          ...[name.replace(/_count$/, ""), queue, labels],
          isTimed(name) ? "timed" : Number(value),
        ]);
      await until(() => {
        const points = collector.points().filter((point) => queueOf(point) !== undefined);
        const received = points.map((point) => {
          const { "messaging.destination.name": queue, "queue.source": source, ...labels } = point.attributes;
          expect(source).toBe("events");
          const name = prometheusName(point);
          const texts = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
          return [name, queue, texts.join(), isTimed(name) ? "timed" : point.value];
        });
        expect(received.toSorted()).toEqual(scraped.toSorted());
      });
      expect(scraped.length).toBeGreaterThan(20);
      const [wait] = named(collector.points(), "queue.wait").filter((point) => queueOf(point) === "mail");
      expect(wait).toMatchObject({ type: "histogram", unit: "s", value: 1, sum: 60, startedAtMs: 0 });
      // The job waited exactly as long as the upper bound of its bucket.
      expect(wait?.bounds[wait.counts.indexOf(1)]).toBe(60);
      expect(wait?.resource).toEqual({
        "service.name": "queue-latency",
        "deployment.environment.name": "a b",
      });
    });

    it("gets what each process knows of itself, under the names of the conventions", async () => {
      await using collector = await startOtlpCollector();
      const { url } = await start({
        ...{
          OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${collector.url}/v1/metrics`,
          OTEL_METRIC_EXPORT_INTERVAL: "1000",
        },
        ...{ OTEL_SERVICE_NAME: "queues", OTEL_EXPORTER_OTLP_COMPRESSION: "gzip" },
      });
      await ask(url, "{ __typename }");
      await until(() => {
        const ofServer = collector.points().filter((point) => "service.instance.id" in point.resource);
        expect(named(ofServer, "queue_latency.http.responses").at(-1)).toMatchObject({
          attributes: { "http.response.status_code": 200 },
          isMonotonic: true,
        });
      });
      const [points = []] = collector.requests.filter(
        ([point]) => "service.instance.id" in (point?.resource ?? {}),
      );
      expect(points.every(({ resource }) => resource["service.name"] === "queues")).toBe(true);
      expect(named(points, "queue_latency.redis.up")).toMatchObject([{ type: "gauge", value: 1 }]);
      expect(named(points, "process.cpu.time").map(({ attributes }) => attributes["cpu.mode"])).toEqual([
        "user",
        "system",
      ]);
      expect(named(points, "process.memory.usage")).toMatchObject([
        { unit: "By", type: "sum", isMonotonic: false },
      ]);
      expect(named(points, "process.uptime")[0]?.value).toBeGreaterThan(0);
      expect(named(points, "nodejs.eventloop.delay.p99")).toMatchObject([{ unit: "s", type: "gauge" }]);
      const [cpu] = named(points, "process.cpu.time");
      expect(cpu?.startedAtMs).toBeLessThanOrEqual(Date.now());
      expect(cpu?.startedAtMs).toBeGreaterThan(Date.now() - 86_400_000);
    });

    it("gets the last numbers when the server stops", async () => {
      await using collector = await startOtlpCollector();
      const { otlpMetrics, ...config } = loadConfig({
        ...{ PORT: "0", REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() },
        ...{ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_METRIC_EXPORT_INTERVAL: "86400000" },
      });
      // Two seconds may be too few on a busy machine.
      const patient = otlpMetrics === null ? null : { ...otlpMetrics, flushMs: 30_000 };
      const server = createApp({ ...config, otlpMetrics: patient }, silentLogger);
      started.push(server);
      await server.start();
      // The first export is over, and the next one is a day away.
      await until(() => expect(named(collector.points(), "queue_latency.known_queues")).toHaveLength(1));
      await record(server.url, '{ type: ENQUEUED, queue: "late", jobId: "1" }');
      expect(named(collector.points(), "queue.depth")).toEqual([]);
      await server.stop();
      await until(() => expect(named(collector.points(), "queue.depth")).toMatchObject([{ value: 1 }]));
    });

    it("gets the queues of one of two servers, of the other when that one ends, and the process of both", async () => {
      await using collector = await startOtlpCollector();
      const env = { KEY_PREFIX: uniquePrefix(), OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
      const logs = [recordingLogger(), recordingLogger()] as const;
      const servers = [await start(env, logs[0]), await start(env, logs[1])] as const;
      const sending = () =>
        logs.map(({ lines }) => lines.some(({ message }) => message === "started sending queues by OTLP"));
      await until(() => {
        expect(sending()).toContain(true);
        const ids = named(collector.points(), "process.uptime").map(
          ({ resource }) => resource["service.instance.id"],
        );
        expect(new Set(ids).size).toBe(2);
      });
      const one = sending().indexOf(true);
      expect(sending()[1 - one]).toBe(false);
      await servers[one]!.stop();
      await until(() => expect(sending()[1 - one]).toBe(true));
    });

    it("gets every one of 10,000 queues, a page in each request", async () => {
      await using collector = await startOtlpCollector();
      const names = Array.from({ length: 10_000 }, (_, i) => `queue-${String(i).padStart(5, "0")}`);
      await startExporting({ reader: fakeReader(names), url: `${collector.url}/v1/metrics` });
      await until(() => {
        expect(named(collector.points(), "queue_latency.known_queues")).toMatchObject([{ value: 10_000 }]);
      });
      const depths = named(collector.points(), "queue.depth").map(queueOf);
      expect(new Set(depths)).toEqual(new Set(names));
      expect(depths).toHaveLength(10_000);
      const perRequest = collector.requests.map((points) => new Set(points.map(queueOf)).size);
      expect(Math.max(...perRequest)).toBeLessThanOrEqual(200);
    });

    it("gets no number that is not known", async () => {
      await using collector = await startOtlpCollector();
      const reader = fakeReader(["dark", "gone", "stale"], (queue): Partial<QueueSnapshot> => {
        if (queue === "stale") return { stale: true, depth: 5, latencyMs: 7 };
        return queue === "gone"
          ? { state: "MISSING" }
          : { accuracy: "UNKNOWN", latencyMs: null, depth: null };
      });
      await startExporting({ reader, url: `${collector.url}/v1/metrics` });
      await until(() => expect(named(collector.points(), "queue_latency.known_queues")).toHaveLength(1));
      const namesOf = (queue: string) =>
        collector
          .points()
          .filter((point) => queueOf(point) === queue)
          .map(({ name }) => name);
      expect(namesOf("stale").toSorted()).toEqual(["queue.observed.timestamp", "queue.stale"]);
      expect(namesOf("gone")).toEqual([]);
      expect(namesOf("dark").toSorted()).toEqual([
        ...[
          "queue.accuracy.info",
          "queue.lost",
          "queue.observed.timestamp",
          "queue.paused",
          "queue.scheduled",
        ],
        "queue.stale",
      ]);
    });

    it("that comes late gets what there is then; until then the log has one line, and nothing is kept", async () => {
      const port = await freePort();
      const logger = recordingLogger();
      const reader = fakeReader(["a"]);
      await startExporting({
        reader,
        url: `http://127.0.0.1:${port}/v1/metrics`,
        timeoutMs: 1_000,
        intervalMs: 20,
        logger,
      });
      const failures = () => logger.lines.filter(({ message }) => message === "OTLP export failed");
      await until(() => expect(failures().length).toBeGreaterThan(4));
      expect(failures().filter(({ level }) => level === "warn")).toHaveLength(1);
      expect(failures()[0]?.fields).toMatchObject({ url: `http://127.0.0.1:${port}/v1/metrics` });
      await using collector = await startOtlpCollector(port);
      await until(() => expect(named(collector.points(), "queue.depth").length).toBeGreaterThan(1));
      // Each request has the queue once: what could not be sent before is gone.
      expect(Math.max(...collector.requests.map((points) => named(points, "queue.depth").length))).toBe(1);
    });
  },
);

it.each([
  { answer: "nothing", why: "accepts the connection, and never answers" },
  { answer: "cut", why: "ends the connection" },
  { answer: 400, why: "refuses what it gets" },
  { answer: 503, why: "asks to try again later" },
] as const)("a collector that $why does not hold up the stop", async ({ answer }) => {
  const receiver = await startReceiver();
  receiver.answer = () => answer;
  const server = await start({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_TIMEOUT: "600000",
  });
  await until(() => expect(receiver.received.length).toBeGreaterThan(0));
  // Without its bound it would be ten minutes: the test would time out.
  await server.stop();
});

describe("a request that is part of a trace", () => {
  const [trace_id, span_id] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
  const traceparent = `00-${trace_id}-${span_id}-01`;

  it("is in the log with its ids, over HTTP and a WebSocket; one that is not leaves no line", async () => {
    const logger = recordingLogger();
    const { url } = await start({}, logger);
    await fetch(`${url}/health`, { headers: { traceparent: "00-nonsense" } });
    await fetch(`${url}/health`, { headers: { traceparent } });
    const traced = () => logger.lines.filter(({ fields }) => "trace_id" in fields);
    await until(() => expect(traced()).toHaveLength(1));
    const client = createClient({
      url: `${url.replace("http", "ws")}/graphql`,
      webSocketImpl: class extends WebSocket {
        constructor(address: string, protocols: string) {
          super(address, protocols, { headers: { traceparent } });
        }
      },
      connectionParams: { traceparent },
    });
    for await (const { data } of client.iterate({ query: "{ __typename }" })) expect(data).toBeDefined();
    await client.dispose();
    await until(() => expect(traced()).toHaveLength(3));
    expect(traced()).toEqual([
      { level: "debug", fields: { trace_id, span_id, status: 200 }, message: "answered a request" },
      { level: "debug", fields: { trace_id, span_id }, message: "opened a WebSocket" },
      { level: "debug", fields: { trace_id, span_id }, message: "began a WebSocket session" },
    ]);
  });
});
