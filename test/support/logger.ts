import type { Logger } from "../../src/runtime/logger.ts";

/** Says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export interface LogEntry {
  readonly level: keyof Logger;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

export type RecordingLogger = Logger & { readonly lines: LogEntry[] };

/** Warnings and errors that have another cause than a Redis that is late, as on a machine that is busy enough. */
export function complaintsIn({ lines }: Pick<RecordingLogger, "lines">): readonly LogEntry[] {
  return lines.filter(
    ({ level, message, fields: { err } }) =>
      (level === "warn" || level === "error") &&
      message !== "Redis unreachable" &&
      !(err instanceof Error && /^Command timed out$|^no full answer within /.test(err.message)),
  );
}

/** Keeps every line, for tests of what is logged. */
export function recordingLogger(): RecordingLogger {
  const lines: LogEntry[] = [];
  const at = (level: keyof Logger) => (fields: Readonly<Record<string, unknown>>, message: string) => {
    lines.push({ level, fields, message });
  };
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
