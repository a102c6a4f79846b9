import { isUnavailable, messageOf } from "../core/errors.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import type { FinishedStep } from "./sampler.ts";

/** Steps that are over and have not been written yet. */
export interface StepOutbox {
  add(step: FinishedStep): void;
  /** Writes what there is, the older step of a queue first: Redis takes none behind a newer one. Never rejects. */
  flush(write: (step: FinishedStep) => Promise<void>): Promise<void>;
}

export interface StepOutboxOptions {
  readonly logger: Logger;
  /** For how long a step is tried to be written: what was counted in it is not kept for much longer. @default 120_000 // 2 minutes */
  readonly retryForMs?: number;
  readonly clock?: MonotonicClock;
}

interface Unwritten {
  readonly step: FinishedStep;
  readonly givenUpAtMs: number;
}

/** Of how many queues steps are written at the same time. */
const writesAtOnce = 50;

/** Steps that are given up are gaps: that is logged when it begins and when it is over, be Redis away, full or unable to save. */
export function createStepOutbox(options: StepOutboxOptions): StepOutbox {
  const { logger, retryForMs = 120_000, clock = monotonicClock } = options;
  const unwritten: Unwritten[] = [];
  const gaps = createOutageLog({
    logger,
    begins: "the history cannot be written: steps are missing",
    ends: "the history is written again",
    fields: {},
  });

  return {
    add(step) {
      unwritten.push({ step, givenUpAtMs: clock.now() + retryForMs });
    },
    async flush(write) {
      const failures: unknown[] = [];
      const again: Unwritten[] = [];
      let isGivenUp = false;
      let isWritten = false;

      async function writeOf(steps: readonly Unwritten[]): Promise<void> {
        for (const [i, { step, givenUpAtMs }] of steps.entries()) {
          try {
            await write(step);
            isWritten = true;
          } catch (error) {
            if (!isUnavailable(error)) failures.push(error);
            else if (clock.now() < givenUpAtMs) return void again.push(...steps.slice(i));
            else {
              isGivenUp = true;
              gaps.failed(error);
            }
          }
        }
      }

      const byQueue = [...Map.groupBy(unwritten.splice(0), ({ step }) => step.queue).values()];
      for (let from = 0; from < byQueue.length; from += writesAtOnce) {
        await Promise.all(byQueue.slice(from, from + writesAtOnce).map(writeOf));
      }
      unwritten.unshift(...again);
      if (isWritten && !isGivenUp && again.length === 0) gaps.recovered();
      if (failures.length > 0) {
        const about = { err: messageOf(failures[0]), queues: failures.length };
        logger.warn(about, "some steps of the history could not be written: they are gaps");
      }
    },
  };
}
