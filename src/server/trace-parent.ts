import type { TraceParent } from "../core/tracing.ts";

/**
 * The span that a request is part of, by W3C Trace Context; null when its `traceparent` is none. A later version may have more behind
 * the flags, the version `ff` is none, and ids of zeros are invalid.
 */
export function traceParentOf(traceparent: unknown): TraceParent | null {
  if (typeof traceparent !== "string" || traceparent.length > maxLength) return null;
  const [, version, traceId = "", spanId = "", flags = "", more] =
    /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/.exec(traceparent) ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & sampledFlag) !== 0 };
}

const maxLength = 512;
const sampledFlag = 1;
