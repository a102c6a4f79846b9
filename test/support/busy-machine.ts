import { availableParallelism, loadavg } from "node:os";

/**
 * What a promise in time comes to on this machine, as busy as it is: with three processes to a core, each takes three times as
 * long. The average lags behind a load that has just begun, so twice as long is always allowed.
 */
export function onThisMachine(promisedMs: number): number {
  const [lastMinute = 0] = loadavg();
  return promisedMs * (2 + lastMinute / availableParallelism());
}
