import { messageOf } from "../core/errors.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";

export interface ResumedScanOptions {
  readonly logger: Logger;
  readonly source: string;
  /** What is still read while `SCAN` is refused, for the log. */
  readonly fallback: string;
}

/** A look through all keys of a Redis, again and again, of which each reading makes one step. */
export interface ResumedScan {
  /**
   * Makes the next step, unless the last one was refused less than a second ago.
   *
   * @param scan resolves to the next position, "0" when all keys were seen.
   * @throws what is no refusal of `SCAN` alone, such as that the Redis is away.
   */
  step(scan: (position: string) => Promise<string>): Promise<void>;
  /** How often all keys have been looked at. */
  readonly passes: number;
  /** Whether the last step was refused: this user may not `SCAN`, or this Redis does not know it so. */
  readonly isRefused: boolean;
}

const retryMs = 1_000;

export function createResumedScan({ logger, source, fallback }: ResumedScanOptions): ResumedScan {
  const refused = createOutageLog({
    ...{ logger, fields: { source } },
    begins: `SCAN refused: read only ${fallback}`,
    ends: "SCAN allowed again: searches for other queues, too",
  });
  let position = "0";
  let passes = 0;
  let refusedAtMs: number | null = null;
  return {
    async step(scan) {
      if (refusedAtMs !== null && monotonicClock.now() - refusedAtMs < retryMs) return;
      try {
        position = await scan(position);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        refusedAtMs = monotonicClock.now();
        refused.failed(error);
        return;
      }
      refusedAtMs = null;
      refused.recovered();
      if (position === "0") passes += 1;
    },
    get passes() {
      return passes;
    },
    get isRefused() {
      return refusedAtMs !== null;
    },
  };
}

/** Whether the Redis answers, and refuses this command alone. */
export function isRefusal(error: unknown): boolean {
  return /^(NOPERM|ERR)/.test(messageOf(error));
}
