import { signal } from "@preact/signals";
import { frozenSince, nowMs } from "../clock.ts";
import { query } from "../graphql/client.ts";
import { sparklines } from "../graphql/documents.ts";
import type { SparkPoint } from "../parts/sparkline.tsx";

const sparklineMs = 30 * 60_000;
export const sparklineStepMs = 60_000;

/** What one queue's sparkline is drawn from. */
export interface Spark {
  readonly points: readonly SparkPoint[];
  readonly fromMs: number;
  readonly toMs: number;
}

/** By name. */
export const sparks = signal<ReadonlyMap<string, Spark>>(new Map());

const maxAgeMs = 60_000;
const maxQueuesAtOnce = 50;
const maxKept = 1_000;
const askedMs = new Map<string, number>();

/** Asks for the sparklines of the rows on the screen that are a minute old or not there, all in one query. */
export async function loadSparklines(queues: readonly string[]): Promise<void> {
  if (frozenSince.value !== null) return;
  const now = Date.now();
  const wanted = queues
    .filter((queue) => now - (askedMs.get(queue) ?? 0) >= maxAgeMs)
    .slice(0, maxQueuesAtOnce);
  if (wanted.length === 0) return;
  for (const queue of wanted) askedMs.set(queue, now);
  // By the server's clock: that of this browser may be wrong by hours.
  const toMs = nowMs.peek();
  const fromMs = toMs - sparklineMs;
  try {
    const { queueLatency } = await query(sparklines, {
      queues: wanted,
      from: new Date(fromMs).toISOString(),
    });
    const loaded = queueLatency.map(
      ({ queue, history }) =>
        [
          queue,
          {
            points: history.map(({ at, maxLatency }) => ({ atMs: Date.parse(at), value: maxLatency })),
            fromMs,
            toMs,
          },
        ] as const,
    );
    sparks.value = new Map([...sparks.value, ...loaded].slice(-maxKept));
  } catch {
    // Numbers matter more: what is missing is asked for again with the next look.
    for (const queue of wanted) askedMs.set(queue, now - maxAgeMs + 10_000);
  }
}
