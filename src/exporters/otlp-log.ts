import type { Logger } from "../runtime/logger.ts";

/** Logs what a collector says of what it accepted: once, and then at debug. */
export function createWarningLog(
  fields: Readonly<Record<string, string>>,
  logger: Logger,
): (warning: string) => void {
  const log = createFirstWarningLog("OTLP collector sent a warning", logger);
  return (warning) => log({ ...fields, warning });
}

/** Logs what may come again and again: at warn once, and then at debug. */
export function createFirstWarningLog(
  message: string,
  logger: Logger,
): (fields: Readonly<Record<string, unknown>>) => void {
  let hasWarned = false;
  return (fields) => {
    logger[hasWarned ? "debug" : "warn"](fields, message);
    hasWarned = true;
  };
}

export function withoutPassword(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
