import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttp, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { recordingLogger } from "../support/logger.ts";
import { exportByOtlp } from "../support/otlp-exporter.ts";
import { isOnPath } from "../support/programs.ts";
import { fakeReader } from "../support/queue-reader.ts";
import { until } from "../support/until.ts";

afterEach(() => void vi.unstubAllEnvs());

interface Received {
  readonly headers: IncomingHttpHeaders;
  /** Protocol Buffers have names as they are. */
  readonly body: string;
}

type Answer = (received: Received, response: ServerResponse) => void;
const accept: Answer = (_, response) => void response.end();
const isOfQueues = ({ body }: Received) => body.includes("queue.depth");
const isOfProcess = ({ body }: Received) => body.includes("process.uptime");
const isOfCounts = ({ body }: Received) => body.includes("queue_latency.known_queues");

/** A collector that answers as a test wants. */
async function startCollector(answer: Answer, tls: { key: string; cert: string } | null = null) {
  const collector = { url: "", answer, received: [] as Received[] };
  const server = tls === null ? createHttp() : createHttps({ ...tls, ca: tls.cert, requestCert: true });
  server.on("request", async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const received = { headers: request.headers, body: Buffer.concat(chunks).toString("latin1") };
    collector.received.push(received);
    collector.answer(received, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  collector.url = `${tls === null ? "http" : "https"}://127.0.0.1:${port}/v1/metrics`;
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return collector;
}

async function start(options: Parameters<typeof exportByOtlp>[0]) {
  const logger = recordingLogger();
  const service = await exportByOtlp({ flushMs: 0, logger, ...options });
  onTestFinished(() => service.stop());
  const linesOf = (message: string) => logger.lines.filter((line) => line.message === message);
  return { failures: () => linesOf("OTLP export failed"), linesOf };
}

/** An ExportMetricsServiceResponse of less than 128 bytes. */
function partialSuccess(rejectedDataPoints: number, errorMessage: string): Buffer {
  const text = Buffer.from(errorMessage);
  const rejected = rejectedDataPoints === 0 ? [] : [0x08, rejectedDataPoints];
  const inner = [...rejected, 0x12, text.length, ...text];
  return Buffer.from([0x0a, inner.length, ...inner]);
}

const status =
  (code: number): Answer =>
  (_, response) =>
    void response.writeHead(code).end();

describe("of 401 queues, a collector", () => {
  const names = Array.from({ length: 401 }, (_, i) => `queue-${String(i).padStart(3, "0")}`);

  it.each([
    { what: "answers 400 to", answer: status(400), err: "the collector answered 400 Bad Request" },
    { what: "answers 413 to", answer: status(413), err: "the collector answered 413 Payload Too Large" },
    {
      what: "rejects points of",
      answer: ((_, response) => void response.end(partialSuccess(3, "too old"))) satisfies Answer,
      err: "3 points rejected: too old",
    },
  ])("that $what one page gets all others, the counts and the alerts", async ({ answer, err }) => {
    const collector = await startCollector((received, response) =>
      (received.body.includes("queue-000") ? answer : accept)(received, response),
    );
    const { failures } = await start({ reader: fakeReader(names), url: collector.url });
    await until(() => expect(failures()).toHaveLength(1));
    expect(failures()).toMatchObject([{ level: "warn", fields: { err } }]);
    const pages = collector.received.filter(isOfQueues);
    expect(pages.map(({ body }) => names.filter((name) => body.includes(name)).length)).toEqual([
      200, 200, 1,
    ]);
    expect(collector.received.filter(isOfCounts)).toHaveLength(1);
  });

  it("that asks to try again later gets no other page", async () => {
    const collector = await startCollector((received, response) =>
      (isOfProcess(received) ? accept : status(503))(received, response),
    );
    // The first retry would come later.
    const { failures } = await start({ reader: fakeReader(names), url: collector.url, timeoutMs: 500 });
    await until(() => expect(failures()).toHaveLength(1));
    expect(collector.received.filter((each) => !isOfProcess(each))).toHaveLength(1);
  });
});

it("a warning of the collector is no failure, and is at level warn once", async () => {
  const collector = await startCollector((_, response) => void response.end(partialSuccess(0, "old name")));
  const { failures, linesOf } = await start({
    ...{ reader: fakeReader(["a"]), url: collector.url, intervalMs: 20 },
  });
  const warnings = () => linesOf("OTLP collector sent a warning");
  await until(() => expect(warnings().length).toBeGreaterThan(4));
  expect(warnings()[0]).toMatchObject({ level: "warn", fields: { warning: "old name" } });
  expect(warnings().filter(({ level }) => level === "warn")).toHaveLength(1);
  expect(failures()).toEqual([]);
});

it("an outage of queues alone lasts while the process exports, and ends when queues can be sent", async () => {
  const collector = await startCollector((received, response) =>
    (isOfProcess(received) ? accept : status(400))(received, response),
  );
  const { failures, linesOf } = await start({
    ...{ reader: fakeReader(["a"]), url: collector.url, intervalMs: 20 },
  });
  await until(() => expect(failures().length).toBeGreaterThan(4));
  const before = collector.received.filter(isOfProcess).length;
  // The process sent two more, so it knows the answer to one of them.
  await until(() => expect(collector.received.filter(isOfProcess).length).toBeGreaterThan(before + 1));
  expect(linesOf("OTLP export recovered")).toEqual([]);
  collector.answer = accept;
  await until(() => expect(linesOf("OTLP export recovered")).toHaveLength(1));
  expect(failures().filter(({ level }) => level === "warn")).toHaveLength(1);
});

it("a collector that sends its answer byte by byte does not stop the export", async () => {
  const trickle: Answer = (_, response) => {
    response.writeHead(200, { "content-length": "1000000" });
    const timer = setInterval(() => response.write("x"), 10);
    response.on("close", () => clearInterval(timer));
  };
  const collector = await startCollector(trickle);
  const { failures } = await start({
    ...{ reader: fakeReader(["a"]), url: collector.url, timeoutMs: 300, intervalMs: 20 },
  });
  await until(() => expect(failures().length).toBeGreaterThan(4));
  expect(failures().map(({ fields }) => fields.err)).toContain("no full answer within 300 ms");
});

it("headers of the environment go to no collector: the settings have them, after the flags", async () => {
  vi.stubEnv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret");
  vi.stubEnv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-token=secret");
  const collector = await startCollector(accept);
  await start({ reader: fakeReader(["a"]), url: collector.url, headers: { "x-tenant": "a" } });
  await until(() => expect(collector.received.some(isOfCounts)).toBe(true));
  expect(collector.received.length).toBeGreaterThan(1);
  for (const { headers } of collector.received) {
    expect(headers).toMatchObject({ "x-tenant": "a" });
    expect(JSON.stringify(headers)).not.toContain("secret");
  }
});

it("an instance that the operator names is that of the process, and not of the queues", async () => {
  const collector = await startCollector(accept);
  const resource = { "service.name": "queues", "service.instance.id": "pod-1" };
  await start({ reader: fakeReader(["a"]), url: collector.url, resource });
  await until(() => {
    expect(collector.received.some(isOfProcess)).toBe(true);
    expect(collector.received.some(isOfCounts)).toBe(true);
  });
  for (const received of collector.received) {
    expect(received.body).toContain("queues");
    expect(received.body.includes("pod-1")).toBe(isOfProcess(received));
  }
});

it.skipIf(!isOnPath("openssl") && process.env.CI !== "true")(
  "a collector that wants a certificate gets that of the settings, whose key has to fit",
  async () => {
    const dir = await mkdtemp(join(tmpdir(), "ql-otlp-"));
    onTestFinished(() => rm(dir, { recursive: true }));
    const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync("openssl", ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", cert], {
      stdio: "ignore",
    });
    const tls = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
    const collector = await startCollector(accept, tls);
    const { otlpMetrics } = loadConfig({
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: collector.url,
      ...{ OTEL_EXPORTER_OTLP_CERTIFICATE: "not read", OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE: cert },
      ...{ OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE: cert, OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY: key },
    });
    await start({ ...otlpMetrics!, reader: fakeReader(["a"]) });
    await until(() => expect(collector.received.some(isOfCounts)).toBe(true));

    const otherKey = join(dir, "other.pem");
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    await writeFile(otherKey, privateKey.export({ type: "pkcs8", format: "pem" }));
    const load = (files: Readonly<Record<string, string>>) => () =>
      loadConfig({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...files });
    const [ofCert, ofKey] = ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];
    expect(load({ [ofCert]: cert })).toThrow(`${ofCert}: expected ${ofKey} as well`);
    expect(load({ [ofKey]: key })).toThrow(`${ofKey}: expected ${ofCert} as well`);
    expect(load({ [ofCert]: cert, [ofKey]: otherKey })).toThrow(`${ofKey}: expected the key of ${ofCert}`);
  },
);
