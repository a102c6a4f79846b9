import { traceParentOf } from "./trace-parent.ts";

/** Fields of a line of the log, by the names that OpenTelemetry gives to logs in JSON. */
export interface TraceFields {
  readonly trace_id: string;
  readonly span_id: string;
}

/** The trace that a request is part of; null when its `traceparent` is none. */
export function traceFields(traceparent: unknown): TraceFields | null {
  const parent = traceParentOf(traceparent);
  return parent === null ? null : { trace_id: parent.traceId, span_id: parent.spanId };
}
