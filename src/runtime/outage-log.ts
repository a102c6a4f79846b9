import { messageOf } from "../core/errors.ts";
import type { Logger } from "./logger.ts";

type Fields = Readonly<Record<string, string | number>>;

/** Logs one line when something stops working and one when it works again. */
export interface OutageLog {
  /** @param fields what changes between failures, logged beside those of the log. */
  failed(error: unknown, fields?: Fields): void;
  recovered(fields?: Fields): void;
}

export interface OutageLogOptions {
  readonly logger: Logger;
  /** Constant messages of the two lines; without the second one, what works again logs a line of its own. */
  readonly begins: string;
  readonly ends?: string;
  /** Logged with both lines, such as the source or the connection. */
  readonly fields: Fields;
  /** Of the first line; "error" is for what is not expected, and has the stack trace, too. @default "warn" */
  readonly level?: "warn" | "error";
  /** An outage ends when nothing has failed for so long. @default 0 // at the first success */
  readonly calmMs?: number;
}

/** Failures in an outage that is logged already are logged at debug. */
export function createOutageLog(options: OutageLogOptions): OutageLog {
  const { logger, begins, ends, fields, level = "warn", calmMs = 0 } = options;
  let isOutage = false;
  let calm: NodeJS.Timeout | undefined;

  function end(more: Fields): void {
    isOutage = false;
    calm = undefined;
    if (ends !== undefined) logger.info({ ...fields, ...more }, ends);
  }

  return {
    failed(error, more = {}) {
      clearTimeout(calm);
      calm = undefined;
      const err = level === "error" ? error : messageOf(error);
      logger[isOutage ? "debug" : level]({ ...fields, ...more, err }, begins);
      isOutage = true;
    },
    recovered(more = {}) {
      if (!isOutage || calm !== undefined) return;
      if (calmMs === 0) end(more);
      else calm = setTimeout(end, calmMs, more).unref();
    },
  };
}
