import { type Caller, type Client, type Identify, scopes, type Token } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { createClientAddress } from "./client-address.ts";

export interface IdentifyOptions {
  /** Finds a token; null: no tokens are configured, and every client may do everything. */
  readonly findToken: ((secret: string) => Token | null) | null;
  /** Addresses and ranges (CIDR) of proxies whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[];
}

/** Identifies the client of a request by its token, or by its address. This is the only place that decides it. */
export function createIdentify({ findToken, trustedProxies }: IdentifyOptions): Identify {
  const clientAddress = createClientAddress(trustedProxies);
  const everything = new Set(scopes);

  return ({ address, forwardedFor, authorization }: Caller): Client => {
    if (findToken === null) {
      return { id: `address:${clientAddress(address, forwardedFor)}`, scopes: everything };
    }
    const [, secret] = /^Bearer +(\S+) *$/i.exec(authorization ?? "") ?? [];
    const token = secret === undefined ? null : findToken(secret);
    if (token !== null) return { id: `token:${token.name}`, scopes: token.scopes };
    const got = authorization === undefined ? "got none" : "got one that this server does not know";
    throw new AppError("UNAUTHENTICATED", `expected "Authorization: Bearer TOKEN", ${got}`);
  };
}
