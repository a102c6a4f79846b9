/** Why the API did not answer: the code of the server's first error, or NETWORK when there was no answer. */
export class ApiError extends Error {
  readonly code: string;
  readonly extensions: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, extensions: Readonly<Record<string, unknown>> = {}) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.extensions = extensions;
  }

  /** After how many seconds the same request may pass. */
  get retryAfterSeconds(): number | null {
    const { retryAfterSeconds } = this.extensions;
    return typeof retryAfterSeconds === "number" ? retryAfterSeconds : null;
  }
}

interface FormattedError {
  readonly message: string;
  readonly extensions?: Readonly<Record<string, unknown>>;
}

/** Of an answer's `errors`, or of the close of a WebSocket. */
export function apiErrorOf(reason: unknown): ApiError {
  if (reason instanceof ApiError) return reason;
  if (Array.isArray(reason)) {
    const [first] = reason as readonly FormattedError[];
    const code = first?.extensions?.code;
    return new ApiError(
      typeof code === "string" ? code : "UNKNOWN",
      first?.message ?? "unknown error",
      first?.extensions,
    );
  }
  if (isClose(reason) && (reason.code === 4401 || reason.code === 4403)) {
    return new ApiError("UNAUTHENTICATED", reason.reason);
  }
  return new ApiError("NETWORK", "the server does not answer");
}

function isClose(reason: unknown): reason is { readonly code: number; readonly reason: string } {
  return typeof reason === "object" && reason !== null && "code" in reason && "reason" in reason;
}

/**
 * One sentence for people: what happened, and what to do.
 *
 * @param isRepeated whether the dashboard itself asks again, as for all that it keeps reading; not what a person asked for, once.
 */
export function advice(error: ApiError, isRepeated: boolean): string {
  const { code, message, retryAfterSeconds } = error;
  const wait = retryAfterSeconds === null ? "in a moment" : `in ${Math.ceil(retryAfterSeconds)} s`;
  const again = isRepeated ? `The dashboard asks again ${wait}` : `Try again ${wait}`;
  switch (code) {
    case "NETWORK":
      return isRepeated
        ? "The server does not answer. The dashboard tries again by itself."
        : "The server does not answer. Try again when it does.";
    case "THROTTLED":
      return `This client has used its points. ${again}. RATE_LIMIT_MAX on the server raises the limit.`;
    case "MAX_COST_EXCEEDED":
      return "This page costs more points than a client may spend at once. Raise RATE_LIMIT_MAX and MAX_COST on the server.";
    case "UNAUTHENTICATED":
      return "The server needs a token, or has revoked the one that was sent. Enter a token.";
    case "FORBIDDEN":
      return `The token does not allow this: ${message}. Use a token with that scope.`;
    case "SERVICE_UNAVAILABLE":
      return `The server cannot read its Redis: ${message}. ${again}; look at /ready.`;
    case "TOO_MANY_SUBSCRIPTIONS":
      return "This client has too many subscriptions open. Close other tabs of the dashboard, or raise MAX_SUBSCRIPTIONS on the server.";
    case "NO_ALERT_RULES":
      return "The server has no rules for alerts. Set ALERTS_FILE on the server.";
    default:
      return `The server refused this: ${message}`;
  }
}
