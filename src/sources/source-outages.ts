import type { EventSink } from "../core/observation.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog, type OutageLog } from "../runtime/outage-log.ts";

/** What is logged of a source, each once. */
export interface SourceOutages {
  /** The job system does not answer. */
  readonly away: OutageLog;
  /** Our own Redis does not store what was read. */
  readonly unstored: OutageLog;
  /** It answers, and has no queue. */
  readonly empty: OutageLog;
}

export function createSourceOutages(
  logger: Logger,
  source: string,
  sink: Pick<EventSink, "answered">,
): SourceOutages {
  const fields = { source };
  const away = createOutageLog({
    ...{ logger, fields },
    begins: "source unavailable",
    ends: "source available again",
  });
  return {
    away: {
      failed(error, more) {
        away.failed(error, more);
        sink.answered?.(false);
      },
      recovered(more) {
        away.recovered(more);
        sink.answered?.(true);
      },
    },
    unstored: createOutageLog({
      ...{ logger, fields },
      begins: "source reading not stored",
      ends: "source readings stored again",
    }),
    empty: createOutageLog({
      ...{ logger, fields },
      begins: "no queues found",
      ends: "queues found",
    }),
  };
}
