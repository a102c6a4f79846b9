import type { Caller } from "../core/admission.ts";

/** Who a request is charged to. This is the only place that decides it. */
export function clientOf({ address }: Caller): string {
  // The same machine over IPv4, whether the server listens on IPv4 or on both.
  return `address:${address?.replace(/^::ffff:/, "") ?? "unknown"}`;
}
