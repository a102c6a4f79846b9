import type { Logger } from "./logger.ts";

/** Logs one line when something stops working and one when it works again. */
export interface OutageLog {
  failed(error: unknown): void;
  recovered(): void;
}

export interface OutageLogOptions {
  readonly logger: Logger;
  /** Constant messages of the two lines. */
  readonly begins: string;
  readonly ends: string;
  /** Logged with both lines, such as the source or the connection. */
  readonly fields: Readonly<Record<string, string>>;
  /** An outage ends when nothing has failed for so long. @default 0 // at the first success */
  readonly calmMs?: number;
}

/** Failures in an outage that is logged already are logged at debug. */
export function createOutageLog({ logger, begins, ends, fields, calmMs = 0 }: OutageLogOptions): OutageLog {
  let isOutage = false;
  let calm: NodeJS.Timeout | undefined;

  function end(): void {
    isOutage = false;
    calm = undefined;
    logger.info(fields, ends);
  }

  return {
    failed(err) {
      clearTimeout(calm);
      calm = undefined;
      logger[isOutage ? "debug" : "warn"]({ ...fields, err }, begins);
      isOutage = true;
    },
    recovered() {
      if (!isOutage || calm !== undefined) return;
      if (calmMs === 0) end();
      else calm = setTimeout(end, calmMs).unref();
    },
  };
}
