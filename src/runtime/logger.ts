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

/** For work whose log has no reader. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** For work in the background: errors stay errors, everything else is logged at debug. */
export function inBackground(logger: Logger): Logger {
  const debug: Logger["debug"] = (...args) => logger.debug(...args);
  return { ...logger, debug, info: debug, warn: debug, error: (...args) => logger.error(...args) };
}
