import { expect, onTestFinished, vi } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { EventSink, Observation, ObservedSource } from "../../src/core/observation.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import type { Service } from "../../src/runtime/service.ts";
import { onThisMachine } from "./busy-machine.ts";
import { type LogEntry, recordingLogger } from "./logger.ts";

export interface WatchedSource {
  readonly seen: readonly ObservedSource[];
  readonly log: readonly LogEntry[];
  /** What the last report said of a queue; undefined when it did not name it. */
  latest(queue: string): Observation | undefined;
  /** A report whose reading began after this call. */
  next(): Promise<ObservedSource>;
  /** Waits until a queue's observation, in a report whose reading began after this call, matches. */
  until(queue: string, expected: object): Promise<Observation>;
  /** Waits until a report whose reading began after this call does not name the queue. */
  untilGone(queue: string): Promise<void>;
  /** Waits until this message has been logged that often, at any level, and gives the line that made it so. */
  logged(message: string, times?: number): Promise<LogEntry>;
  stop(): Promise<void>;
}

/**
 * Starts a source that reports to a recording sink.
 *
 * @param atEnd called with what stops it. @default by which it ends with the test
 */
export async function watchSource(
  create: (wiring: { readonly sink: EventSink; readonly logger: Logger }) => Service,
  sinkWorks: () => boolean = () => true,
  atEnd: (stop: () => Promise<void>) => void = onTestFinished,
): Promise<WatchedSource> {
  const seen: ObservedSource[] = [];
  const logger = recordingLogger();
  const sink = {
    async observe(observed: ObservedSource) {
      if (!sinkWorks()) throw new AppError("SERVICE_UNAVAILABLE", "Redis does not answer");
      seen.push(observed);
    },
  };
  const service = create({ sink, logger });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= service.stop();
    return stopped;
  };
  atEnd(stop);
  await service.start();

  const latest = (queue: string) => seen.at(-1)?.queues.find((each) => each.queue === queue);
  // The one that was being made at the time of the call may have been read before it.
  async function next(): Promise<ObservedSource> {
    const index = seen.length === 0 ? 0 : seen.length + 1;
    await eventually(() => expect(seen.length).toBeGreaterThan(index));
    return seen[index] as ObservedSource;
  }
  return {
    seen,
    log: logger.lines,
    latest,
    next,
    async until(queue, expected) {
      await next();
      return await eventually(() => {
        const observation = latest(queue);
        expect(observation).toMatchObject(expected);
        return observation as Observation;
      });
    },
    async untilGone(queue) {
      await next();
      await eventually(() => expect(latest(queue)).toBeUndefined());
    },
    logged: (message, times = 1) =>
      eventually(() => {
        const lines = logger.lines.filter((line) => line.message === message);
        expect(lines.length).toBeGreaterThanOrEqual(times);
        return lines[times - 1] as LogEntry;
      }),
    stop,
  };
}

export async function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return await vi.waitFor(check, { timeout: onThisMachine(15_000), interval: 10 });
}
