/** Fields of a line of the log, by the names that OpenTelemetry gives to logs in JSON. */
export interface TraceFields {
  readonly trace_id: string;
  readonly span_id: string;
}

/**
 * The trace that a request is part of, by W3C Trace Context; null when its `traceparent` is none. A later version may have more behind
 * the flags, the version `ff` is none, and ids of zeros are invalid.
 */
export function traceFields(traceparent: unknown): TraceFields | null {
  if (typeof traceparent !== "string" || traceparent.length > maxLength) return null;
  const [, version, traceId = "", spanId = "", more] =
    /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-[\da-f]{2}(-.*)?$/.exec(traceparent) ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { trace_id: traceId, span_id: spanId };
}

const maxLength = 512;
