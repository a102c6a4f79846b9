import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { isExecutable } from "./programs.ts";
import { attempts, freePort } from "./redis.ts";

/** Why tests with the OTLP receiver are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoOtlpCollector: string | null =
  process.env.CI === "true" || programPath() !== null
    ? null
    : "it is not installed: run script/install-otlp-collector";

/** A number that the collector received. */
export interface ReceivedPoint {
  readonly name: string;
  readonly unit: string;
  readonly type: "gauge" | "sum" | "histogram";
  readonly isMonotonic: boolean;
  /** Of the resource. */
  readonly resource: Readonly<Record<string, unknown>>;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Of a histogram its count. */
  readonly value: number;
  /** Of a histogram; 0 and empty for all else. */
  readonly sum: number;
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  /** Since when a sum is counted; 0: not known. */
  readonly startedAtMs: number;
}

/** A span that the collector received. */
export interface ReceivedSpan {
  readonly name: string;
  /** 1: internal, 2: server. */
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: it is the first of its trace. */
  readonly parentSpanId: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly isFailed: boolean;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** Of the resource. */
  readonly resource: Readonly<Record<string, unknown>>;
}

export interface OtlpCollector extends AsyncDisposable {
  /** Such as `http://127.0.0.1:43180`. */
  readonly url: string;
  /** Of each request with metrics that it accepted, in order. */
  readonly requests: readonly (readonly ReceivedPoint[])[];
  points(): readonly ReceivedPoint[];
  readonly spans: readonly ReceivedSpan[];
  /** All that it received of traces, as JSON. */
  tracesText(): string;
}

/** The OTLP receiver of the OpenTelemetry Collector, over HTTP. @param port 0: any that is free. */
export async function startOtlpCollector(port = 0): Promise<OtlpCollector> {
  return await attempts(5, async () => launch(port === 0 ? await freePort() : port));
}

async function launch(port: number): Promise<OtlpCollector> {
  const child = spawn(programPath() ?? "", [`127.0.0.1:${port}`], { stdio: ["ignore", "pipe", "pipe"] });
  // An operator who ends the test process in the middle of a test must not leave it behind.
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  child.once("exit", () => process.off("exit", killAtExit));
  const requests: (readonly ReceivedPoint[])[] = [];
  const spans: ReceivedSpan[] = [];
  let tracesText = "";
  await new Promise<void>((resolve, reject) => {
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => (errors += chunk.toString()));
    child.once("error", reject);
    child.once("close", () => reject(new Error(`the OTLP receiver ended: ${errors}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { ready, metrics, traces } = JSON.parse(line);
      if (ready === true) resolve();
      if (metrics !== undefined) requests.push(pointsOf(metrics));
      if (traces === undefined) return;
      tracesText += line;
      spans.push(...spansOf(traces));
    });
  });
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    points: () => requests.flat(),
    spans,
    tracesText: () => tracesText,
    [Symbol.asyncDispose]: () => end(child),
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

function programPath(): string | null {
  const module = readFileSync(join(import.meta.dirname, "otlp-collector/go.mod"), "utf8");
  const version = /go\.opentelemetry\.io\/collector\/receiver\/otlpreceiver v(\S+)$/m.exec(module)?.[1];
  const program = join(import.meta.dirname, `../../.cache/otlp-collector/otlp-collector-${version}`);
  return isExecutable(program) ? program : null;
}

/** Of OTLP's JSON, what is read of it. */
interface ExportRequest {
  readonly resourceMetrics?: readonly {
    readonly resource: { readonly attributes?: readonly Attribute[] };
    readonly scopeMetrics: readonly { readonly metrics: readonly Metric[] }[];
  }[];
}

interface Attribute {
  readonly key: string;
  readonly value: {
    readonly stringValue?: string;
    readonly intValue?: string;
    readonly doubleValue?: number;
  };
}

interface Metric {
  readonly name: string;
  readonly unit?: string;
  readonly gauge?: Data;
  readonly sum?: Data;
  readonly histogram?: Data;
}

interface Data {
  readonly isMonotonic?: boolean;
  readonly dataPoints: readonly {
    readonly attributes?: readonly Attribute[];
    readonly startTimeUnixNano?: string;
    readonly asDouble?: number;
    readonly count?: string;
    readonly sum?: number;
    readonly explicitBounds?: readonly number[];
    readonly bucketCounts?: readonly string[];
  }[];
}

function pointsOf({ resourceMetrics = [] }: ExportRequest): readonly ReceivedPoint[] {
  return resourceMetrics.flatMap(({ resource, scopeMetrics }) =>
    scopeMetrics.flatMap(({ metrics }) =>
      metrics.flatMap(({ name, unit = "", gauge, sum, histogram }) => {
        const type = gauge ? "gauge" : sum ? "sum" : "histogram";
        const { isMonotonic = false, dataPoints = [] } = gauge ?? sum ?? histogram ?? {};
        return dataPoints.map((point) => ({
          ...({ name, unit, type, isMonotonic } as const),
          resource: valuesOf(resource.attributes),
          attributes: valuesOf(point.attributes),
          value: Number(point.asDouble ?? point.count ?? 0),
          sum: point.sum ?? 0,
          bounds: point.explicitBounds ?? [],
          counts: (point.bucketCounts ?? []).map(Number),
          startedAtMs: Number(point.startTimeUnixNano ?? 0) / 1e6,
        }));
      }),
    ),
  );
}

interface TracesRequest {
  readonly resourceSpans?: readonly {
    readonly resource: { readonly attributes?: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly SentSpan[] }[];
  }[];
}

interface SentSpan extends Pick<ReceivedSpan, "name" | "kind" | "traceId" | "spanId"> {
  readonly parentSpanId?: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly Attribute[];
  readonly status?: { readonly code?: number };
}

function spansOf({ resourceSpans = [] }: TracesRequest): readonly ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map(({ name, kind, traceId, spanId, parentSpanId = "", ...span }) => ({
        ...{ name, kind, traceId, spanId, parentSpanId },
        startedAtMs: Number(span.startTimeUnixNano) / 1e6,
        endedAtMs: Number(span.endTimeUnixNano) / 1e6,
        isFailed: span.status?.code === 2,
        attributes: valuesOf(span.attributes),
        resource: valuesOf(resource.attributes),
      })),
    ),
  );
}

function valuesOf(attributes: readonly Attribute[] = []): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    attributes.map(({ key, value: { stringValue, intValue, doubleValue } }) => [
      key,
      stringValue ?? doubleValue ?? (intValue === undefined ? "" : Number(intValue)),
    ]),
  );
}
