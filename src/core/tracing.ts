/** Numbers, and texts from a small set: never variables, tokens or names of queues. */
export type SpanAttributes = Readonly<Record<string, string | number>>;

/** The span of a caller that a trace goes on from, by W3C Trace Context. */
export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  /** Whether the caller sends its own part of the trace. */
  readonly isSampled: boolean;
}

/** A part of a trace that is sent. Times are of the monotonic clock, in ms. */
export interface Span {
  /** Adds a part that has begun and ended. After 50 parts, others are only counted. */
  add(name: string, sinceMs: number, untilMs: number, attributes?: SpanAttributes): void;
  set(attributes: SpanAttributes): void;
  /** @param isFailed whether this server is to blame. */
  end(isFailed: boolean): void;
}

export interface SpanStart {
  readonly name: string;
  readonly kind: "server" | "internal";
  /** Null: the trace begins here. */
  readonly parent: TraceParent | null;
  /** Who the trace is counted for. */
  readonly client: string;
  readonly sinceMs: number;
}

export interface Tracer {
  /** @returns null when the trace is not sent. */
  begin(start: SpanStart): Span | null;
}
