import type { Tracer } from "../core/tracing.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import { createFirstWarningLog, createWarningLog, withoutPassword } from "./otlp-log.ts";
import type { OtlpEndpoint } from "./otlp-requests.ts";
import type { OtlpTracer } from "./otlp-tracer.ts";
import { RejectedError } from "./rejected-error.ts";

/** Which traces the server sends by OTLP, and where to. */
export interface OtlpTracesConfig extends OtlpEndpoint {
  /** Attributes of the resource. */
  readonly resource: Readonly<Record<string, string>>;
  /** The version of the instrumentation scope. */
  readonly version: string;
  /** Of traces that begin here, the share that is sent. */
  readonly ratio: number;
  /** Whether a trace that began elsewhere is sent when its `traceparent` has the sampled flag, and only then. */
  readonly followsParent: boolean;
  /** How long the last export may take when the server stops. @default 2_000 // 2 seconds */
  readonly flushMs?: number;
}

export interface Traces extends Service, Tracer {}

/** Sends by OTLP what the server did for operations. Nothing is traced before the start. */
export function createTraces(config: OtlpTracesConfig, instanceId: string, logger: Logger): Traces {
  const { resource, flushMs = 2_000 } = config;
  const fields = { url: withoutPassword(config.url), signal: "traces" };
  const outage = createOutageLog({
    ...{ logger, fields, begins: "OTLP export failed", ends: "OTLP export recovered" },
  });
  let tracer: OtlpTracer | null = null;
  let isAnswering = true;

  function onExport(error: unknown): void {
    isAnswering = error === null || error instanceof RejectedError;
    if (error === null) outage.recovered();
    else outage.failed(error);
  }

  return {
    begin: (start) => tracer?.begin(start) ?? null,
    async start() {
      const { createOtlpTracer } = await import("./otlp-tracer.ts");
      const attributes = { "service.instance.id": instanceId, ...resource };
      const onWarning = createWarningLog(fields, logger);
      const logDropped = createFirstWarningLog("OTLP spans dropped", logger);
      const onDropped = (dropped: number) => logDropped({ ...fields, dropped });
      tracer = createOtlpTracer(config, { ...config, attributes, onWarning, onExport, onDropped });
    },
    async stop() {
      const closed = tracer?.close().catch(onExport);
      // The stop does not wait for a collector that did not answer.
      if (isAnswering) await Promise.race([closed, pause(flushMs, new AbortController().signal)]);
    },
  };
}
