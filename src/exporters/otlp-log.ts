import type { Logger } from "../runtime/logger.ts";

/** Logs what a collector says of what it accepted: once, and then at debug. */
export function createWarningLog(
  fields: Readonly<Record<string, string>>,
  logger: Logger,
): (warning: string) => void {
  let hasWarned = false;
  return (warning) => {
    logger[hasWarned ? "debug" : "warn"]({ ...fields, warning }, "OTLP collector sent a warning");
    hasWarned = true;
  };
}

export function withoutPassword(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
