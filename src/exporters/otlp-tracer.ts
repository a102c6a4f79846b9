// Loads the OpenTelemetry SDK: it is imported when traces are on, and not before.
import {
  type HrTime,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  type SpanExporter,
  type SpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import type { Span, SpanStart, TraceParent, Tracer } from "../core/tracing.ts";
import { monotonicClock, wallClock } from "../runtime/clock.ts";
import { createOtlpRequests, type OtlpEndpoint, type OtlpRequestsOptions } from "./otlp-requests.ts";
import { createTraceLimit } from "./trace-limit.ts";

export interface OtlpTracerOptions extends OtlpRequestsOptions {
  /** Attributes of the resource that all spans belong to. */
  readonly attributes: Readonly<Record<string, string>>;
  /** Of traces that begin here, the share that is sent. */
  readonly ratio: number;
  /** Whether a trace that began elsewhere is sent when its `traceparent` has the sampled flag, and only then. */
  readonly followsParent: boolean;
  /** Called after each export: null when the collector accepted it. */
  readonly onExport: (error: unknown) => void;
  /** Called before an export: how many spans were dropped since the last one, since too many were kept. */
  readonly onDropped: (count: number) => void;
}

export interface OtlpTracer extends Tracer {
  /** Sends what is left. */
  close(): Promise<void>;
}

/** A page of 1,000 queues may wait for 1,000 histories: their spans would leave no room for those of other operations. */
const maxParts = 50;

/** Spans are kept until they are sent; more are dropped. */
const maxKept = 2_048;

/** Spans are sent in batches of up to 512, one request after the other. */
export function createOtlpTracer(endpoint: OtlpEndpoint, options: OtlpTracerOptions): OtlpTracer {
  const { version, attributes, onExport, onDropped } = options;
  const requests = createOtlpRequests(endpoint, options);
  const sdkExporter = new OTLPTraceExporter(requests.exporterOptions);
  async function send(spans: ReadableSpan[]): Promise<void> {
    try {
      await requests.send((done) => sdkExporter.export(spans, done));
      onExport(null);
    } catch (error) {
      // What was not accepted is dropped: newer spans matter more.
      onExport(error);
    }
  }

  let kept = 0;
  let dropped = 0;
  const exporter: SpanExporter = {
    export(spans, done) {
      kept -= spans.length;
      if (dropped > 0) onDropped(dropped);
      dropped = 0;
      void send(spans).then(() => done({ code: 0 }));
    },
    shutdown: () => sdkExporter.shutdown(),
  };
  const batches = new BatchSpanProcessor({
    exporter,
    maxQueueSize: maxKept,
    // The requests have a deadline of their own, which is the earlier one.
    exportTimeoutMillis: 2 * endpoint.timeoutMs,
  });
  // The SDK has no count of what it drops but in a text for its log.
  const counted: SpanProcessor = {
    onStart: () => {},
    onEnd(span) {
      if (kept === maxKept) dropped += 1;
      else {
        kept += 1;
        batches.onEnd(span);
      }
    },
    forceFlush: () => batches.forceFlush(),
    shutdown: () => batches.shutdown(),
  };
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ ...attributes }),
    sampler: samplerOf(options),
    spanProcessors: [counted],
  });
  const tracer = provider.getTracer("queue-latency", version);
  const limit = createTraceLimit();

  function spanOf(span: SdkSpan, offsetMs: number): Span {
    const context = trace.setSpan(ROOT_CONTEXT, span);
    let parts = 0;
    return {
      add(name, sinceMs, untilMs, ofPart = {}) {
        parts += 1;
        if (parts > maxParts) return;
        const startTime = timeOf(sinceMs + offsetMs);
        tracer
          .startSpan(name, { startTime, attributes: { ...ofPart } }, context)
          .end(timeOf(untilMs + offsetMs));
      },
      set: (attributes) => void span.setAttributes({ ...attributes }),
      end(isFailed) {
        if (isFailed) span.setStatus({ code: SpanStatusCode.ERROR });
        if (parts > maxParts) span.setAttribute("queue_latency.omitted_spans", parts - maxParts);
        span.end(timeOf(monotonicClock.now() + offsetMs));
      },
    };
  }

  return {
    begin({ name, kind, parent, client, sinceMs }: SpanStart) {
      const offsetMs = wallClock.epochMs() - monotonicClock.now();
      const span = tracer.startSpan(
        name,
        {
          kind: kind === "server" ? SpanKind.SERVER : SpanKind.INTERNAL,
          startTime: timeOf(sinceMs + offsetMs),
        },
        parent === null ? ROOT_CONTEXT : contextOf(parent),
      );
      if (!span.isRecording() || (parent !== null && !limit.take(client))) return null;
      return spanOf(span, offsetMs);
    },
    async close() {
      await provider.shutdown();
      requests.close();
    },
  };
}

function samplerOf({ ratio, followsParent }: OtlpTracerOptions): Sampler {
  const root = new TraceIdRatioBasedSampler(ratio);
  return followsParent ? new ParentBasedSampler({ root }) : root;
}

function contextOf({ traceId, spanId, isSampled }: TraceParent) {
  const traceFlags = isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
}

function timeOf(ms: number): HrTime {
  return [Math.trunc(ms / 1_000), Math.round((ms % 1_000) * 1_000_000)];
}
