import type { Caller, Identify } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { createClientAddress } from "./client-address.ts";

export interface RateLimitKeyOptions {
  readonly identify: Identify;
  /** Addresses and ranges (CIDR) of proxies whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[];
}

/** Creates the key that connections are counted by: the client, or the address while the client is not identified. */
export function createRateLimitKey({
  identify,
  trustedProxies,
}: RateLimitKeyOptions): (caller: Caller) => string {
  const clientAddress = createClientAddress(trustedProxies);
  return (caller) => {
    try {
      return identify(caller).id;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return `address:${clientAddress(caller.address, caller.forwardedFor)}`;
    }
  };
}
