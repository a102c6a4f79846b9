import { nowMs } from "../clock.ts";
import { formatInstant } from "../format/instant.ts";

/** An instant in the reader's time zone, with its day unless that is today by the server's clock. */
export function Instant({ at }: { readonly at: Date | string }) {
  const date = new Date(at);
  return <time dateTime={date.toISOString()}>{formatInstant(date, new Date(nowMs.peek()))}</time>;
}
