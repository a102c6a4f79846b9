import { nowMs } from "../clock.ts";
import { formatDuration } from "../format/duration.ts";
import { type Accuracy, AccuracySign } from "./accuracy.tsx";

/** What a latency is shown from. */
export interface LatencyOf {
  readonly latency: number | null;
  readonly oldestSince: string | null;
  readonly accuracy: Accuracy;
  readonly stale: boolean;
}

/**
 * The latency now, in seconds; null when it is not known. Between pushes the head grows older by itself, unless its queue is stale. Reads
 * the clock: a component that calls this is drawn once a second.
 */
export function currentLatency({ latency, oldestSince, stale }: LatencyOf): number | null {
  if (latency === null || oldestSince === null || stale) return latency;
  return Math.max(latency, (nowMs.value - Date.parse(oldestSince)) / 1_000);
}

/** A latency that ticks, with its accuracy. */
export function Latency({ of }: { readonly of: LatencyOf }) {
  const seconds = currentLatency(of);
  return (
    <span class="latency">
      <AccuracySign accuracy={of.accuracy} />
      {seconds === null ? (
        of.accuracy === "UNKNOWN" ? null : (
          <span title="not known">?</span>
        )
      ) : (
        <span class="number">{formatDuration(seconds)}</span>
      )}
    </span>
  );
}
