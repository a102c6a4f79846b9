/** Events that were not recorded. */
export interface Drop {
  readonly events: number;
  readonly reason: string;
}

const warningEveryMs = 60_000;

/** Warns once a minute at most, with all that was dropped since. */
export function createDropWarning(): (drop: Drop) => void {
  let unreported = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  return ({ events, reason }) => {
    unreported += events;
    if (performance.now() - lastMs < warningEveryMs) return;
    lastMs = performance.now();
    process.emitWarning(`queue-latency: ${unreported} events were not recorded: ${reason}`, {
      code: "QUEUE_LATENCY_DROPPED",
    });
    unreported = 0;
  };
}
