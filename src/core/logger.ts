type LogLine = (fields: Readonly<Record<string, unknown>>, message: string) => void;

/**
 * Structured log: a constant message, the data in fields. info = lifecycle, warn = degraded, error = someone must act.
 * An error goes into the field `err`.
 */
export interface Logger {
  readonly debug: LogLine;
  readonly info: LogLine;
  readonly warn: LogLine;
  readonly error: LogLine;
}
