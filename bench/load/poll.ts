import { setTimeout as delay } from "node:timers/promises";
import { createArrivals, type SeenAt } from "./arrivals.ts";
import { openConnection } from "./http-connection.ts";

const maxMs = 60_000;

export interface Polling {
  readonly url: string;
  /** HTTP requests, in turn; each poller repeats its own. */
  readonly requests: readonly Uint8Array[];
  /** Each on a connection of its own; their questions are spread over the interval. */
  readonly pollers: number;
  readonly everyMs: number;
  /** Whose depth is looked at. */
  readonly queue: string;
  /** Each goes on until it has seen the queue as deep. */
  readonly untilDepth: number;
}

/** Many clients that poll instead of subscribing. @returns when each saw each depth. Ends after a minute at most. */
export async function pollQuery(options: Polling): Promise<SeenAt> {
  const { url, requests, pollers, everyMs, queue, untilDepth } = options;
  const arrivals = createArrivals(queue, pollers);
  arrivals.begin();
  const startedAtMs = performance.now();
  await Promise.all(
    Array.from({ length: pollers }, async (_, i) => {
      const request = requests[i % requests.length] ?? Buffer.of();
      await delay((i / pollers) * everyMs);
      const connection = await openConnection(url);
      try {
        for (let n = 0; arrivals.seenBy(i) < untilDepth; n++) {
          if (performance.now() > startedAtMs + maxMs)
            throw new Error("expected each poller to see the last event");
          arrivals.observe(i, (await connection.ask(request)).body.toString("latin1"));
          // A poller that is answered late polls again at once, and skips no turn.
          const nextAtMs = startedAtMs + (i / pollers + n + 1) * everyMs;
          await delay(Math.max(0, nextAtMs - performance.now()));
        }
      } finally {
        connection.close();
      }
    }),
  );
  return arrivals.end();
}
