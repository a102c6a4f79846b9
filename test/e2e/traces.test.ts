import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { buildSchema } from "graphql";
import { createClient } from "graphql-ws";
import { afterEach, describe, expect, inject, it } from "vitest";
import { WebSocket } from "ws";
import { createApp } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import { AppError } from "../../src/core/errors.ts";
import type { Tracer } from "../../src/core/tracing.ts";
import { createOtlpTracer } from "../../src/exporters/otlp-tracer.ts";
import { createTraces } from "../../src/exporters/traces.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { startBareServer } from "../support/bare-server.ts";
import { startReceiver } from "../support/http-receiver.ts";
import { recordingLogger, silentLogger } from "../support/logger.ts";
import {
  type OtlpCollector,
  type ReceivedSpan,
  startOtlpCollector,
  whyNoOtlpCollector,
} from "../support/otlp-collector.ts";
import { freePort, uniquePrefix } from "../support/redis.ts";
import { ask, post } from "../support/server.ts";
import { until } from "../support/until.ts";

const [traceId, spanId] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
const sampled = `00-${traceId}-${spanId}-01`;
const unsampled = `00-${traceId}-${spanId}-00`;

const started: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const service of started.splice(0).reverse()) await service.stop();
});

type Env = Readonly<Record<string, string>>;

/** A server that sends traces; what it has not sent yet, it sends when it stops. */
async function start(collectorUrl: string, env: Env = {}, flushMs = 30_000) {
  const { otlpTraces, ...config } = loadConfig({
    ...{ PORT: "0", REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), MAX_AGE: "0" },
    ...{ OTEL_EXPORTER_OTLP_ENDPOINT: collectorUrl, OTEL_TRACES_EXPORTER: "otlp", ...env },
  });
  // The two seconds of the default may be too few on a busy machine.
  const patient = otlpTraces === null ? null : { ...otlpTraces, flushMs };
  const app = createApp({ ...config, otlpTraces: patient }, silentLogger);
  started.push(app);
  await app.start();
  return app;
}

const isOfOperation = ({ kind }: ReceivedSpan) => kind === 2;
const operationNames = ({ spans }: OtlpCollector) =>
  spans.filter(isOfOperation).map(({ attributes }) => attributes["graphql.operation.name"]);

/** Stops the server, which sends this operation last. Resolves when the collector has all. */
async function receivedAll(
  server: { readonly url: string; stop(): Promise<void> },
  collector: OtlpCollector,
) {
  await post(server.url, { query: "query Last { __typename }" }, { traceparent: sampled });
  await server.stop();
  await until(() => expect(operationNames(collector)).toContain("Last"));
  return collector.spans.filter(({ attributes }) => attributes["graphql.operation.name"] !== "Last");
}

/** One operation over a WebSocket. @returns its first result. */
async function askBySocket(url: string, query: string, options: { payload?: object; headers?: Env } = {}) {
  const client = createClient({
    url: `${url.replace("http", "ws")}/graphql`,
    webSocketImpl: class extends WebSocket {
      constructor(address: string, protocols: string) {
        super(address, protocols, { headers: options.headers ?? {} });
      }
    },
    ...(options.payload !== undefined && { connectionParams: { ...options.payload } }),
  });
  try {
    const { value } = await client.iterate({ query }).next();
    return value;
  } finally {
    await client.dispose();
  }
}

async function askByStream(url: string, query: string, accept = "text/event-stream"): Promise<void> {
  const response = await fetch(`${url}/graphql?query=${encodeURIComponent(query)}`, {
    headers: { accept },
  });
  const reader = response.body?.getReader();
  await reader?.read();
  await reader?.cancel();
}

const subscription = 'subscription Pushes { queueLatency(queues: ["a"]) { latency } }';
const enqueue =
  'mutation Record { recordEvents(events: [{ type: ENQUEUED, queue: "a", jobId: "1" }]) { accepted } }';

describe.skipIf(whyNoOtlpCollector !== null)(
  `a collector of OpenTelemetry ${whyNoOtlpCollector ?? ""}`,
  () => {
    it.each([
      {
        ...{ transport: "http", type: "query", name: "Read", why: "by POST" },
        send: (url: string) => ask(url, 'query Read { queueLatency(queues: ["a"]) { latency } }'),
        parts: ["read request", "admit request", "read queues"],
      },
      {
        ...{ transport: "http", type: "query", name: "Read", why: "by GET" },
        send: (url: string) =>
          fetch(`${url}/graphql?query=${encodeURIComponent("query Read { __typename }")}`),
        parts: ["read request", "admit request"],
      },
      {
        ...{ transport: "http", type: "query", name: undefined, why: "without a name" },
        send: (url: string) => ask(url, "{ __typename }"),
        parts: ["read request", "admit request"],
      },
      {
        ...{ transport: "http", type: "mutation", name: "Record", why: "that records" },
        send: (url: string) => ask(url, enqueue),
        parts: ["read request", "admit request", "record events"],
      },
      {
        ...{ transport: "sse", type: "subscription", name: "Pushes", why: "as a stream of events" },
        send: (url: string) => askByStream(url, subscription),
        parts: ["read request", "admit request"],
      },
      {
        ...{
          transport: "sse",
          type: "subscription",
          name: "Pushes",
          why: "of a client that accepts anything",
        },
        send: (url: string) => askByStream(url, subscription, "*/*"),
        parts: ["read request", "admit request"],
      },
      {
        ...{ transport: "sse", type: "query", name: "Read", why: "as one event" },
        send: (url: string) => askByStream(url, "query Read { __typename }"),
        parts: ["read request", "admit request"],
      },
      {
        ...{ transport: "http", type: "query", name: "Read", why: "in a batch, answered as JSON" },
        send: (url: string) =>
          post(url, [{ query: "query Read { __typename }" }], { accept: "text/event-stream" }),
        parts: ["read request", "admit request"],
      },
      {
        ...{ transport: "websocket", type: "query", name: "Read", why: "over a WebSocket" },
        send: (url: string) => askBySocket(url, "query Read { queues { edges { node { latency } } } }"),
        parts: ["read request", "admit request", "list queues", "read queues"],
      },
      {
        ...{ transport: "websocket", type: "subscription", name: "Pushes", why: "over a WebSocket" },
        send: (url: string) => askBySocket(url, subscription),
        parts: ["read request", "admit request"],
      },
    ])("gets a $type $why, with its parts", async ({ transport, type, name, send, parts }) => {
      await using collector = await startOtlpCollector();
      const server = await start(collector.url, { OTEL_SERVICE_NAME: "queues" });
      const beforeMs = Date.now();
      await send(server.url);
      const spans = await receivedAll(server, collector);
      const [operation, ...others] = spans.filter((span) => isOfOperation(span) && span.traceId !== traceId);
      expect(others).toEqual([]);
      expect(operation).toMatchObject({ name: type, parentSpanId: "", isFailed: false });
      expect(operation?.attributes).toEqual({
        "graphql.operation.type": type,
        ...(name !== undefined && { "graphql.operation.name": name }),
        "queue_latency.transport": transport,
        "queue_latency.cost": expect.any(Number),
      });
      expect(operation?.resource).toEqual({
        "service.name": "queues",
        "service.instance.id": expect.stringMatching(/^[\da-f-]{36}$/),
      });
      expect(operation?.startedAtMs).toBeGreaterThanOrEqual(beforeMs - 1);
      const children = spans.filter(({ parentSpanId }) => parentSpanId === operation?.spanId);
      expect(new Set(children.map((child) => child.name))).toEqual(new Set(parts));
      for (const child of children) {
        expect(child).toMatchObject({ kind: 1, traceId: operation?.traceId });
        expect(child.startedAtMs).toBeGreaterThanOrEqual(operation?.startedAtMs ?? Number.NaN);
        expect(child.endedAtMs).toBeGreaterThanOrEqual(child.startedAtMs);
      }
    });

    it("gets each operation of a batch, and why those that were refused were", async () => {
      await using collector = await startOtlpCollector();
      const server = await start(collector.url, { MAX_COST: "2" });
      await post(server.url, [{ query: "query Good { __typename }" }, { query: "query Bad { nothing }" }]);
      await ask(server.url, "{ queues(first: 100) { edges { node { depth latency } } } }");
      await post(server.url, { query: 1 });
      const spans = (await receivedAll(server, collector)).filter(isOfOperation);
      expect(
        spans.map(({ name, isFailed, attributes }) => [name, isFailed, attributes["error.type"]]),
      ).toEqual([
        ["GraphQL Operation", false, "GRAPHQL_VALIDATION_FAILED"],
        ["query", false, undefined],
        ["GraphQL Operation", false, "MAX_COST_EXCEEDED"],
        ["GraphQL Operation", false, "BAD_REQUEST"],
      ]);
    });

    it.each([
      {
        thrown: new AppError("SERVICE_UNAVAILABLE", "no Redis"),
        type: "SERVICE_UNAVAILABLE",
        isFailed: true,
      },
      { thrown: new Error("a fault"), type: "INTERNAL_SERVER_ERROR", isFailed: true },
      { thrown: new AppError("FORBIDDEN", "no scope"), type: "FORBIDDEN", isFailed: false },
    ])("gets that an operation ended with $type, failed: $isFailed", async ({ thrown, type, isFailed }) => {
      await using collector = await startOtlpCollector();
      const settings = loadConfig({
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_TRACES_EXPORTER: "otlp",
      });
      const tracer = createTraces(
        { ...settings.otlpTraces!, version: "1", flushMs: 30_000 },
        "1",
        silentLogger,
      );
      await tracer.start();
      const schema = buildSchema("type Query { a: String }");
      schema.getQueryType()!.getFields().a!.resolve = () => {
        throw thrown;
      };
      await using server = await startBareServer({ schema, tracer });
      await ask(server.url, "{ a }");
      await tracer.stop();
      await until(() => expect(collector.spans.filter(isOfOperation)).toHaveLength(1));
      const [span] = collector.spans.filter(isOfOperation);
      expect([span?.attributes["error.type"], span?.isFailed]).toEqual([type, isFailed]);
    });

    it.each([
      {
        sampler: undefined,
        traceparent: sampled,
        isSent: true,
        isChild: true,
        why: "the caller sends its part",
      },
      {
        sampler: undefined,
        traceparent: unsampled,
        isSent: false,
        isChild: false,
        why: "the caller does not",
      },
      {
        sampler: undefined,
        traceparent: "00-nonsense-01",
        isSent: true,
        isChild: false,
        why: "it is malformed",
      },
      {
        sampler: "always_on",
        traceparent: unsampled,
        isSent: true,
        isChild: true,
        why: "all are to be sent",
      },
      { sampler: "always_off", traceparent: sampled, isSent: false, isChild: false, why: "none is" },
      {
        sampler: "parentbased_always_off",
        traceparent: "",
        isSent: false,
        isChild: false,
        why: "it begins here",
      },
    ])(
      "gets an operation with traceparent $traceparent: $isSent with $sampler, since $why",
      async ({ sampler, traceparent, isSent, isChild }) => {
        await using collector = await startOtlpCollector();
        const env: Env = sampler === undefined ? {} : { OTEL_TRACES_SAMPLER: sampler };
        const server = await start(collector.url, env);
        await post(
          server.url,
          { query: "query Mine { __typename }" },
          traceparent === "" ? {} : { traceparent },
        );
        if (sampler === "always_off") {
          await server.stop();
          expect(collector.spans).toEqual([]);
          return;
        }
        const mine = (await receivedAll(server, collector)).filter(isOfOperation);
        expect(mine.map(({ parentSpanId }) => parentSpanId)).toEqual(isSent ? [isChild ? spanId : ""] : []);
        if (isChild) expect(mine[0]?.traceId).toBe(traceId);
      },
    );

    it.each([
      { headers: { traceparent: sampled }, payload: undefined, why: "of the upgrade" },
      { headers: {}, payload: { traceparent: sampled }, why: "of connection_init" },
      {
        headers: { traceparent: unsampled },
        payload: { traceparent: sampled },
        why: "of connection_init first",
      },
    ])("gets operations of a WebSocket as a part of the trace $why", async ({ headers, payload }) => {
      await using collector = await startOtlpCollector();
      const server = await start(collector.url);
      await askBySocket(server.url, "query Mine { __typename }", {
        headers,
        ...(payload !== undefined && { payload }),
      });
      const mine = (await receivedAll(server, collector)).filter(isOfOperation);
      expect(mine).toMatchObject([{ traceId, parentSpanId: spanId }]);
    });

    it("gets each reading of a job system", async () => {
      await using collector = await startOtlpCollector();
      const sidekiq = new URL(inject("redisUrl"));
      sidekiq.pathname = "/9";
      await start(collector.url, { SIDEKIQ_URL: sidekiq.href });
      const readings = await until(() => {
        const found = collector.spans.filter(({ name }) => name === "read source");
        expect(found.length).toBeGreaterThan(0);
        return found;
      });
      expect(readings[0]).toMatchObject({ kind: 1, parentSpanId: "", isFailed: false });
      expect(readings[0]?.attributes).toEqual({
        "queue.source": "sidekiq",
        "queue_latency.queues": expect.any(Number),
      });
      const parts = collector.spans.filter(({ parentSpanId }) => parentSpanId === readings[0]?.spanId);
      expect(parts.map(({ name }) => name)).toEqual(["read job system", "store observation"]);
    });

    it("gets at most fifty parts of an operation, and how many there were more", async () => {
      await using collector = await startOtlpCollector();
      const server = await start(collector.url);
      const queues = Array.from({ length: 60 }, (_, i) => `queue-${i}`);
      const events = queues.map((queue) => `{ type: ENQUEUED, queue: "${queue}", jobId: "1" }`);
      await ask(server.url, `mutation { recordEvents(events: [${events}]) { accepted } }`);
      await ask(server.url, "query Healths { queues(first: 60) { edges { node { health } } } }");
      const spans = await receivedAll(server, collector);
      const [operation] = spans.filter(
        ({ attributes }) => attributes["graphql.operation.name"] === "Healths",
      );
      const parts = spans.filter(({ parentSpanId }) => parentSpanId === operation?.spanId);
      expect(parts).toHaveLength(50);
      // It waits for its turn, its points, the list, the queues, and the history of each.
      expect(operation?.attributes["queue_latency.omitted_spans"]).toBe(4 + queues.length - 50);
    });

    it("gets no part for the health of queues whose history is not read", async () => {
      await using collector = await startOtlpCollector();
      const server = await start(collector.url);
      await ask(server.url, '{ queueLatency(queues: ["missing", "unknown"]) { health } }');
      const names = (await receivedAll(server, collector)).map(({ name }) => name);
      expect(names).toContain("read queues");
      expect(names).not.toContain("read health");
    });

    it("gets no more than ten operations a second of a client that asks for all of them", async () => {
      await using collector = await startOtlpCollector();
      const server = await start(collector.url, { OTEL_TRACES_SAMPLER: "parentbased_always_off" });
      const sinceMs = monotonicClock.now();
      const headers = { traceparent: sampled };
      const requests = Array.from({ length: 300 }, () =>
        post(server.url, { query: "{ __typename }" }, headers),
      );
      for (const { status } of await Promise.all(requests)) expect(status).toBe(200);
      const seconds = (monotonicClock.now() - sinceMs) / 1_000;
      await server.stop();
      await until(() => expect(collector.spans.filter(isOfOperation).length).toBeGreaterThan(0));
      expect(collector.spans.filter(isOfOperation).length).toBeLessThanOrEqual(10 * Math.ceil(seconds + 1));
    });

    it("gets nothing of what a client sends but the name of the operation, cut", async () => {
      await using collector = await startOtlpCollector();
      const server = await start(collector.url);
      const name = `N${"a".repeat(100)}`;
      const query = `query ${name}($q: [String!]!) { alias_secret: queueLatency(queues: $q) { latency } other: queueLatency(queues: ["literal-secret"]) { latency } }`;
      await post(
        server.url,
        { query, variables: { q: ["variable-secret"] } },
        { authorization: "Bearer token-secret" },
      );
      await ask(server.url, '{ queueLatency(queues: ["wrong-secret"], nothing_secret: 1) { latency } }');
      const spans = (await receivedAll(server, collector)).filter(isOfOperation);
      expect(spans.map(({ attributes }) => attributes["error.type"])).toEqual([
        undefined,
        "GRAPHQL_VALIDATION_FAILED",
      ]);
      expect(spans[0]?.attributes["graphql.operation.name"]).toBe(name.slice(0, 64));
      expect(collector.tracesText()).not.toContain("secret");
    });

    it("that comes late gets spans from then on; until then the log has one line", async () => {
      const port = await freePort();
      const logger = recordingLogger();
      const { otlpTraces } = loadConfig({
        ...{ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`, OTEL_TRACES_EXPORTER: "otlp" },
        OTEL_EXPORTER_OTLP_TIMEOUT: "1000",
      });
      const traces = createTraces({ ...otlpTraces!, version: "1" }, "1", logger);
      started.push(traces);
      await traces.start();
      const linesOf = (message: string) => logger.lines.filter((line) => line.message === message);
      await until(() => {
        beginMany(traces, 600);
        expect(linesOf("OTLP export failed").length).toBeGreaterThan(1);
      });
      expect(
        linesOf("OTLP export failed")
          .map(({ level }) => level)
          .filter((level) => level === "warn"),
      ).toHaveLength(1);
      expect(linesOf("OTLP export failed")[0]?.fields).toMatchObject({
        url: `http://127.0.0.1:${port}/v1/traces`,
        signal: "traces",
      });
      await using collector = await startOtlpCollector(port);
      await until(() => {
        beginMany(traces, 600);
        expect(linesOf("OTLP export recovered")).toHaveLength(1);
        expect(collector.spans.length).toBeGreaterThan(0);
      });
    });
  },
);

function beginMany(tracer: Tracer, count: number): void {
  for (let i = 0; i < count; i++)
    tracer.begin({ name: "query", kind: "server", parent: null, client: "a", sinceMs: 0 })?.end(false);
}

it("logs how many spans it drops while the collector answers, at level warn once", async () => {
  const receiver = await startReceiver();
  const logger = recordingLogger();
  const { otlpTraces } = loadConfig({
    ...{ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_TRACES_EXPORTER: "otlp" },
  });
  const traces = createTraces({ ...otlpTraces!, version: "1" }, "1", logger);
  started.push(traces);
  await traces.start();
  const lines = () => logger.lines.filter(({ message }) => message === "OTLP spans dropped");
  beginMany(traces, 10_000);
  await until(() => expect(lines()).toHaveLength(1));
  beginMany(traces, 10_000);
  await until(() => expect(lines()).toHaveLength(2));
  expect(lines().map(({ level }) => level)).toEqual(["warn", "debug"]);
  // 512 at once, and 2,048 that were kept.
  expect(lines()[0]?.fields).toEqual({
    ...{ url: `${receiver.url}/v1/traces`, signal: "traces", dropped: 10_000 - 512 - 2_048 },
  });
});

it("keeps a bounded number of spans for a collector that does not answer", async () => {
  const receiver = await startReceiver();
  let hasAnswered = false;
  receiver.answer = () => (hasAnswered ? 200 : "nothing");
  const exports: unknown[] = [];
  const drops: number[] = [];
  const tracer = createOtlpTracer(
    { url: `${receiver.url}/v1/traces`, headers: {}, timeoutMs: 500, compression: "none", tls: {} },
    {
      ...{ version: "1", attributes: {}, ratio: 1, followsParent: true, onWarning: () => {} },
      onDropped: (count) => drops.push(count),
      onExport(error) {
        hasAnswered = true;
        exports.push(error);
      },
    },
  );
  beginMany(tracer, 20_000);
  await until(() => expect(exports.length).toBeGreaterThan(0));
  expect(exports[0]).toMatchObject({ message: "no full answer within 500 ms" });
  await tracer.close();
  // 512 at once, and 2,048 that were kept.
  expect(exports.length).toBe(5);
  expect(drops).toEqual([20_000 - 512 - 2_048]);
});

it.each([
  { answer: "nothing", why: "accepts the connection, and never answers" },
  { answer: "cut", why: "ends the connection" },
  { answer: 400, why: "refuses what it gets" },
  { answer: 503, why: "asks to try again later" },
] as const)("a collector of traces that $why does not hold up an answer or the stop", async ({ answer }) => {
  const receiver = await startReceiver();
  receiver.answer = () => answer;
  const env = { OTEL_METRICS_EXPORTER: "none", OTEL_EXPORTER_OTLP_TIMEOUT: "600000" };
  const server = await start(receiver.url, env, 500);
  // More than a batch, so that one is sent at once.
  const queries = Array.from({ length: 10 }, () => Array(50).fill({ query: "{ __typename }" }));
  for (const batch of queries) expect((await post(server.url, batch)).status).toBe(200);
  await until(() => expect(receiver.received.map(({ path }) => path)).toContain("/v1/traces"));
  // Without its bound it would be ten minutes: the test would time out.
  await server.stop();
});

// A client of Prometheus loads the API, which does nothing without the SDK.
it("loads nothing of the SDK until traces or metrics are sent", async () => {
  const program = `
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ resolve(name, context, next) {
      if (name.startsWith("@opentelemetry/") && name !== "@opentelemetry/api") loaded.push(name);
      return next(name, context);
    } });
    const { createTraces } = await import("./src/exporters/traces.ts");
    await import("./src/app.ts");
    const before = loaded.length;
    const traces = createTraces({ url: "http://127.0.0.1:1/", headers: {}, timeoutMs: 1, compression: "none", tls: {}, resource: {}, version: "1", ratio: 0, followsParent: true }, "1", {});
    await traces.start();
    console.log(before, loaded.includes("@opentelemetry/sdk-trace"));
    process.exit();
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: new URL("../..", import.meta.url).pathname,
  });
  expect(stdout.trim()).toBe("0 true");
});
