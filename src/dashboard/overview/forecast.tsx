import { formatDuration } from "../format/duration.ts";
import type { QueueRow } from "../graphql/documents.ts";

/** What happens if the last five minutes continue, in words; null when there is no estimate. */
export function forecastOf({
  forecast,
  latency,
  objective,
}: QueueRow): { readonly text: string; readonly isBad: boolean } | null {
  if (forecast === null) return null;
  const { unstable, drainSeconds, breachSeconds } = forecast;
  if (unstable) return { text: "never drains", isBad: true };
  if (breachSeconds !== null && breachSeconds.likely > 0) {
    return { text: `late in ${formatDuration(coarse(breachSeconds.likely))}`, isBad: true };
  }
  if (drainSeconds === null || latency === 0 || latency === null) return null;
  const isLate = objective !== null && latency > objective;
  return { text: `drains in ${formatDuration(coarse(drainSeconds.likely))}`, isBad: isLate };
}

/** An estimate has no tenths of a second. */
function coarse(seconds: number): number {
  return Math.max(1, Math.round(seconds));
}

export function ForecastText({ of }: { readonly of: QueueRow }) {
  const forecast = forecastOf(of);
  if (forecast === null)
    return (
      <span class="none" title="no forecast">
        –
      </span>
    );
  return <span data-bad={forecast.isBad ? "" : undefined}>{forecast.text}</span>;
}
