import { formatDuration } from "../format/duration.ts";
import { currentLatency, type LatencyOf } from "./latency.tsx";

interface ObjectiveOf extends LatencyOf {
  readonly objective: number | null;
}

/** The bar ends at twice the objective; the line is the objective. */
const maxRatio = 2;
const widthPx = 72;

/** Latency in relation to the objective. Grows between pushes. */
export function ObjectiveBar({ of }: { readonly of: ObjectiveOf }) {
  const { objective } = of;
  if (objective === null)
    return (
      <span class="none" title="no objective">
        –
      </span>
    );
  const latency = currentLatency(of);
  const ratio = latency === null ? null : latency / objective;
  const level = ratio === null ? "unknown" : ratio > 1 ? "late" : ratio > 0.75 ? "near" : "early";
  const width = ratio === null ? 0 : (Math.min(ratio, maxRatio) / maxRatio) * widthPx;
  return (
    <span class="objective" data-level={level}>
      <svg class="objective-bar" viewBox={`0 0 ${widthPx} 8`} aria-hidden="true">
        <rect class="track" width={widthPx} height="4" y="2" rx="2" />
        <rect class="fill" width={width} height="4" y="2" rx="2" />
        <rect class="limit" x={widthPx / maxRatio - 0.75} width="1.5" height="8" />
      </svg>
      <span class="number">
        <span class="visually-hidden">
          {ratio === null ? "unknown part" : `${Math.floor(ratio * 100)} percent`} of{" "}
        </span>
        {formatDuration(objective)}
      </span>
    </span>
  );
}
