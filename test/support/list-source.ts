import { expect, onTestFinished, vi } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { Observation, ObservedSource } from "../../src/core/observation.ts";
import { createListSource, type ListSourceOptions } from "../../src/sources/lists/list-source.ts";
import { onThisMachine } from "./busy-machine.ts";
import type { Elapsed } from "./elapsed.ts";
import { type LogEntry, recordingLogger } from "./logger.ts";

export interface WatchedLists {
  readonly seen: readonly ObservedSource[];
  readonly log: readonly LogEntry[];
  /** What the last report said of a queue. */
  latest(queue: string): Observation | undefined;
  /** Waits until what a report that was begun after this call says of a queue matches. */
  until(queue: string, expected: object): Promise<Observation>;
  /** Waits for a report that was begun after this call. */
  next(): Promise<ObservedSource>;
  logged(message: string): Promise<LogEntry>;
  stop(): Promise<void>;
}

export type WatchListsOptions = Pick<ListSourceOptions, "system" | "url"> &
  Partial<ListSourceOptions> & {
    readonly sinkWorks?: () => boolean;
    /** Of the reader before. */
    readonly notes?: ReadonlyMap<string, string>;
  };

/** Starts a source that reports to a recording sink; it ends with the test. */
export async function watchLists(options: WatchListsOptions): Promise<WatchedLists> {
  const seen: ObservedSource[] = [];
  const logger = recordingLogger();
  const { sinkWorks = () => true, notes = new Map<string, string>(), ...rest } = options;
  const service = createListSource({
    intervalMs: 100,
    // However long a busy machine delays a reading: the observation says what it does not know.
    exactMs: 3_600_000,
    logger,
    source: options.system.title.toLowerCase(),
    sink: {
      async observe(observed) {
        if (!sinkWorks()) throw new AppError("SERVICE_UNAVAILABLE", "Redis does not answer");
        seen.push(observed);
      },
      notes: async () => notes,
    },
    ...rest,
  });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= service.stop();
    return stopped;
  };
  onTestFinished(stop);
  await service.start();

  const latest = (queue: string) => seen.at(-1)?.queues.find((each) => each.queue === queue);
  // The one that was being made at the time of the call may have been read before it.
  const begunNow = () => (seen.length === 0 ? 0 : seen.length + 1);
  return {
    seen,
    log: logger.lines,
    latest,
    until(queue, expected) {
      const from = begunNow();
      return eventually(() => {
        expect(seen.length).toBeGreaterThan(from);
        const observation = latest(queue);
        expect(observation).toMatchObject(expected);
        return observation as Observation;
      });
    },
    next() {
      const from = begunNow();
      return eventually(() => {
        expect(seen.length).toBeGreaterThan(from);
        return seen[from] as ObservedSource;
      });
    },
    logged: (message) =>
      eventually(() => {
        const line = logger.lines.find((each) => each.message === message);
        expect(line).toBeDefined();
        return line as LogEntry;
      }),
    stop,
  };
}

/** What was reported of a queue so far. */
export function countedOf({ seen }: WatchedLists, queue: string) {
  const observations = seen.flatMap(({ queues }) => queues.filter((each) => each.queue === queue));
  const counts = observations.flatMap(({ counts }) => counts ?? []);
  const pauses = observations.map(
    ({ readAtMs }, i) => readAtMs - (observations[i - 1]?.readAtMs ?? readAtMs),
  );
  return {
    counts,
    enqueued: counts.reduce((sum, { enqueued }) => sum + (enqueued ?? Number.NaN), 0),
    /** How long each job waited that left, in ms; null: not known. */
    waits: counts.flatMap(({ left }) =>
      left.flatMap(({ count = 1, waitMs }) => Array.from({ length: count }, () => waitMs)),
    ),
    /** The longest from one reading to the next, in ms, give or take when they were made. */
    intervalMs: Math.max(...pauses) + 2 * Math.max(...observations.map((each) => each.uncertaintyMs)) + 2,
  };
}

/** The job was pushed in one of these times and taken in the other one: its wait is true to one interval, and to 2 % where old ones are merged. */
export function expectWait(
  waitMs: number | null | undefined,
  pushed: Elapsed,
  taken: Elapsed,
  intervalMs: number,
): void {
  const boundMs = intervalMs + 0.02 * (taken[1] - pushed[0]);
  expect(waitMs).toBeGreaterThanOrEqual(taken[0] - pushed[1] - boundMs);
  expect(waitMs).toBeLessThanOrEqual(taken[1] - pushed[0] + boundMs);
}

export async function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return await vi.waitFor(check, { timeout: onThisMachine(30_000), interval: 20 });
}
