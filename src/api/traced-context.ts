import type { Span } from "../core/tracing.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Context } from "./context.ts";

/**
 * Adds a part to the span of an operation for each time that a resolver waits for Redis, or for another operation's read of the same.
 * Only an operation whose trace is sent has such a context.
 */
export function traceContext(context: Context, span: Span): Context {
  const { tracker, history, health, live, alerts } = context;
  function timed<A extends readonly unknown[], R>(name: string, run: (...args: A) => R): (...args: A) => R {
    return (...args) => {
      const sinceMs = monotonicClock.now();
      const result = run(...args);
      if (!(result instanceof Promise)) return result;
      const add = (attributes = {}) => span.add(name, sinceMs, monotonicClock.now(), attributes);
      result.then(
        () => add(),
        () => add({ "error.type": "_OTHER" }),
      );
      return result;
    };
  }
  return {
    ...context,
    tracker: {
      read: timed("read queues", tracker.read),
      list: timed("list queues", tracker.list),
      record: timed("record events", tracker.record),
      forget: timed("forget queue", tracker.forget),
      trust: timed("trust queue", tracker.trust),
      waiting: timed("list waiting jobs", tracker.waiting),
      remove: timed("remove jobs", tracker.remove),
    },
    history: { read: timed("read history", history.read) },
    health: {
      objectiveMsOf: health.objectiveMsOf,
      healthOf: timed("read health", health.healthOf),
      forecastOf: timed("read forecast", health.forecastOf),
    },
    live: { ...live, readPage: timed("read page of queues", live.readPage) },
    alerts: {
      watch: alerts.watch,
      list: timed("list alerts", alerts.list),
      acknowledge: timed("acknowledge alert", alerts.acknowledge),
      status: timed("read alert status", alerts.status),
    },
  };
}
