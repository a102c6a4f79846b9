/** Every error code that a client can see, with the HTTP status that goes with it. */
export const errorStatus = {
  BAD_USER_INPUT: 400,
  BAD_REQUEST: 400,
  OPERATION_RESOLUTION_FAILURE: 400,
  /** Not a failure: the client sends the document next. */
  PERSISTED_QUERY_NOT_FOUND: 200,
  TOO_MANY_QUEUES: 400,
  MAX_COST_EXCEEDED: 400,
  DOCUMENT_TOO_LARGE: 400,
  DOCUMENT_TOO_DEEP: 400,
  TOO_MANY_FIELDS: 400,
  TOO_MANY_ALIASES: 400,
  TOO_MANY_DIRECTIVES: 400,
  TOO_MANY_FRAGMENTS: 400,
  TOO_MANY_OPERATIONS: 400,
  TOO_MANY_VARIABLES: 400,
  TOO_MUCH_INTROSPECTION: 400,
  LIST_TOO_LONG: 400,
  STRING_TOO_LONG: 400,
  VARIABLES_TOO_LARGE: 400,
  VARIABLES_TOO_DEEP: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  UNTRUSTED_DOCUMENT: 403,
  INTROSPECTION_DISABLED: 403,
  METHOD_NOT_ALLOWED: 405,
  NOT_ACCEPTABLE: 406,
  /** Comes in the stream of a subscription. */
  NO_ALERT_RULES: 200,
  TOO_MANY_KNOWN_QUEUES: 409,
  BODY_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  THROTTLED: 429,
  TOO_MANY_SUBSCRIPTIONS: 429,
  SERVICE_UNAVAILABLE: 503,
} as const;

export type ErrorCode = keyof typeof errorStatus;

export interface AppErrorOptions {
  readonly cause?: unknown;
  /** For how many whole seconds it is useless to try again; becomes `Retry-After`. */
  readonly retryAfterSeconds?: number;
  /** What programs are to read beside the message: becomes part of the error's `extensions`. Small. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/**
 * An error that the client gets as it is: a code of {@link errorStatus} and a message that says what was expected, then
 * what was found. Every other error is masked and logged.
 *
 * It has no stack trace: under a flood of refused requests, capturing it would be a sixth of the work.
 */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterSeconds: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message, { cause: options.cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.name = "AppError";
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.details = options.details ?? {};
  }
}

/**
 * A mistake of the operator (a wrong setting, a taken port, a missing program). Its message is printed alone, without a
 * stack trace, and the process ends with exit code 1.
 */
export class StartError extends Error {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = "StartError";
  }
}

/** Makes an error that is answered rather than debugged, without capturing a stack trace. */
export function withoutStackTrace<T extends Error>(make: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether Redis did not answer, or refused: what was asked may be asked again. */
export function isUnavailable(error: unknown): error is AppError {
  return error instanceof AppError && error.code === "SERVICE_UNAVAILABLE";
}
