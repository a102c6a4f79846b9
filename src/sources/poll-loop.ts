import type { EventSink, Observation } from "../core/observation.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import { createSourceOutages } from "./source-outages.ts";

export interface PollLoopOptions {
  /** What stands before the slash in the names of its queues. */
  readonly source: string;
  /**
   * From the start of one reading to the start of the next, in ms. After a reading that takes more than half of that, the
   * pause is as long as the reading was: the job system is busy with us for half of the time at most.
   */
  readonly intervalMs: number;
  readonly sink: Pick<EventSink, "observe" | "answered">;
  readonly logger: Logger;
  /** Reads all queues. Throws what went wrong, in words that hold no password. */
  readonly read: (signal: AbortSignal) => Promise<readonly Observation[]>;
  /** How long one reading may take, in ms. @default 2 intervals, and at least 10_000 // 10 seconds */
  readonly boundMs?: number;
  /** Called before each reading: gets from the sink what the reading needs. When it fails, there is no reading. */
  readonly load?: () => Promise<void>;
  /** Called when the sink has not stored a reading. */
  readonly onUnstored?: () => void;
  /** What else runs until the signal is aborted, such as a search for queues. */
  readonly runBeside?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Closes the connection; what is read meanwhile fails at once. */
  readonly close: () => void | Promise<void>;
}

/**
 * Reads a job system at an interval, and reports to the sink about all its queues at once.
 *
 * While it is away it warns once and tries each interval; nothing is reported, and the last reading becomes stale. `start()` does
 * not wait for it.
 */
export function createPollLoop(options: PollLoopOptions): Service {
  const { source, intervalMs, sink, logger, read, load, onUnstored, runBeside, close } = options;
  const { boundMs = Math.max(10_000, 2 * intervalMs) } = options;
  const { away, unstored } = createSourceOutages(logger, source, sink);
  const stopping = new AbortController();
  let running: Promise<unknown> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = monotonicClock.now();
      const tookMs = await tick();
      await pause(Math.max(tookMs, startedAtMs + intervalMs - monotonicClock.now()), stopping.signal);
    }
  }

  /** Resolves to how long it was read, in ms; 0 when it could not be. */
  async function tick(): Promise<number> {
    try {
      await load?.();
    } catch (error) {
      unstored.failed(error);
      return 0;
    }
    const startedAtMs = monotonicClock.now();
    const late = AbortSignal.timeout(boundMs);
    let queues: readonly Observation[];
    try {
      queues = await read(AbortSignal.any([stopping.signal, late]));
    } catch (error) {
      if (stopping.signal.aborted) return 0;
      away.failed(late.aborted ? new Error(`no full answer within ${boundMs} ms`, { cause: error }) : error);
      return 0;
    }
    away.recovered();
    const tookMs = monotonicClock.now() - startedAtMs;
    try {
      const freshForMs = Math.max(2_000, 3 * intervalMs, 6 * tookMs);
      await sink.observe({ source, queues, freshForMs, sinceMs: startedAtMs });
      unstored.recovered();
    } catch (error) {
      onUnstored?.();
      unstored.failed(error);
    }
    return tookMs;
  }

  return {
    async start() {
      running = Promise.all([run(), runBeside?.(stopping.signal)]);
    },
    async stop() {
      stopping.abort();
      const closed = close();
      await running;
      await closed;
    },
  };
}
