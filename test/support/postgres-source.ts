import { expect, onTestFinished } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { Observation, ObservedSource } from "../../src/core/observation.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import { postgresPrefixes } from "../../src/settings/postgres-url.ts";
import { createPostgresSource, type PostgresSourceOptions } from "../../src/sources/postgres/postgres.ts";
import { until } from "./until.ts";

export interface LogLine {
  readonly level: keyof Logger;
  readonly message: string;
  readonly [field: string]: unknown;
}

export interface WatchedPostgres {
  readonly seen: readonly ObservedSource[];
  readonly log: readonly LogLine[];
  /** Warnings and better, without what they carry. */
  notable(): readonly string[];
  /** What the last report said of a queue, by its name with the system before the slash. */
  latest(queue: string): Observation | undefined;
  /** Waits until a queue's observation, in a report that was made after this call, matches. */
  until(queue: string, expected: object): Promise<Observation>;
  /** Waits for a report that was begun after this call. */
  next(): Promise<void>;
  logged(message: string, times?: number): Promise<LogLine>;
  stop(): Promise<void>;
}

/** Starts a source that reports to a recording sink, and rests as little as it can. */
export async function watchPostgres(
  url: string,
  options: Partial<PostgresSourceOptions> = {},
  sinkWorks = () => true,
  notes: ReadonlyMap<string, string> = new Map(),
): Promise<WatchedPostgres> {
  const seen: ObservedSource[] = [];
  const log: LogLine[] = [];
  const last = new Map<string, ObservedSource>();
  const sink = {
    notes: async () => notes,
    async observe(observed: ObservedSource) {
      if (!sinkWorks()) throw new AppError("SERVICE_UNAVAILABLE", "Redis does not answer");
      seen.push(observed);
      last.set(observed.source, observed);
    },
  };
  const at = (level: keyof Logger) => (fields: object, message: string) => {
    log.push({ ...fields, level, message });
  };
  const logger = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  const prefixes = postgresPrefixes(url, null);
  const service = createPostgresSource({
    ...{
      url,
      sink,
      logger,
      prefixes,
      intervalMs: 20,
      discoverEveryMs: 50,
      countEveryMs: 50,
      restPerWork: 0,
      ...options,
    },
  });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= service.stop();
    return stopped;
  };
  onTestFinished(stop);
  await service.start();

  function latest(name: string): Observation | undefined {
    const [source = "", ...rest] = name.split("/");
    return last.get(source)?.queues.find(({ queue }) => queue === rest.join("/"));
  }
  const next = async () => {
    // The one that was being made at the time of the call may have been read before it.
    const count = seen.length + 2;
    await until(() => expect(seen.length).toBeGreaterThanOrEqual(count));
  };
  return {
    seen,
    log,
    notable: () =>
      log.filter(({ level }) => level !== "debug").map(({ level, message }) => `${level} ${message}`),
    latest,
    next,
    async until(queue, expected) {
      await next();
      return await until(() => {
        const observation = latest(queue);
        expect(observation).toMatchObject(expected);
        return observation as Observation;
      });
    },
    logged: (message, times = 1) =>
      until(() => {
        const lines = log.filter((line) => line.message === message);
        expect(lines.length).toBeGreaterThanOrEqual(times);
        return lines[times - 1] as LogLine;
      }),
    stop,
  };
}
