import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import { AppError } from "../core/errors.ts";

export interface CrossOriginProtectionOptions {
  /** Origins beside the server's own whose pages may use it; `*` alone: all. */
  readonly corsOrigins: readonly string[];
  /**
   * Whether this is a name of the server, or an address. Null: it has any, and every client must send a token anyway. A page
   * of another site can have its own name lead to this machine, and is then of the same origin for the browser (DNS
   * rebinding): only the name shows it.
   */
  readonly isTrustedHost: ((hostname: string) => boolean) | null;
}

/** What is looked at of a request: only what browsers let no page write. */
export type BrowserRequest = Pick<IncomingMessage, "method" | "headers">;

/** Keeps pages of others from using the server through the browsers of those who may. */
export interface CrossOriginProtection {
  /** Headers of the answer, whatever it is: whether the page that asks may read it. */
  headersFor(request: BrowserRequest): OutgoingHttpHeaders;
  /**
   * Why it is not served; null: it may be. Programs send no origin, and pass.
   *
   * @param isPage whether the answer is but a page, which any link may lead to.
   */
  refusalOf(request: BrowserRequest, isPage: boolean): AppError | null;
  /** Headers of the answer to a browser that asks whether a page may send a request; null: this is no such question. */
  preflight(request: BrowserRequest): OutgoingHttpHeaders | null;
}

const maxAgeSeconds = 7_200;
/** What clients of GraphQL send by themselves; none but the first two mean anything here. */
const allowedHeaders = [
  ...["authorization", "content-type", "last-event-id"],
  ...["graphql-require-preflight", "x-graphql-client-name", "x-graphql-client-version"],
  ...["apollo-require-preflight", "apollographql-client-name", "apollographql-client-version"],
].join(", ");

export function createCrossOriginProtection({
  corsOrigins,
  isTrustedHost,
}: CrossOriginProtectionOptions): CrossOriginProtection {
  const isOpen = corsOrigins.includes("*");
  const listed = new Set(corsOrigins);
  /** The last one that was. Nearly all requests have the same. */
  let allowedHost: string | undefined;
  const listedNames = new Set(corsOrigins.map((origin) => URL.parse(origin)?.hostname));

  function isListed(origin: string): boolean {
    return isOpen || listed.has(origin);
  }

  /** Whether a page of another origin sent it, as far as the browser says. As Go's `http.CrossOriginProtection`. */
  function isForeign({ headers }: BrowserRequest): boolean {
    const { origin, host } = headers;
    const site = headers["sec-fetch-site"];
    if (origin !== undefined && isListed(origin)) return false;
    // The browser's own word also holds behind a proxy that changes the Host.
    if (site === "same-origin") return false;
    if (site !== undefined && site !== "none") return true;
    return origin !== undefined && !isSameHost(origin, host);
  }

  function hostProblem(host: string | undefined): AppError | null {
    // HTTP/1.0 needs none, and no browser speaks it.
    if (host === undefined || host === allowedHost) return null;
    const hostname = hostPattern.test(host) ? URL.parse(`http://${host}`)?.hostname : undefined;
    if (hostname === undefined) return new AppError("BAD_USER_INPUT", "expected a host in the Host header");
    const name = hostname.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
    if (isOpen || isTrustedHost === null || isTrustedHost(name) || listedNames.has(hostname)) {
      allowedHost = host;
      return null;
    }
    return new AppError(
      "FORBIDDEN",
      "expected localhost or a loopback address in the Host header, since there are no tokens; behind a proxy, name its origin in CORS_ORIGINS",
    );
  }

  return {
    headersFor({ headers: { origin } }) {
      const isReadable = origin !== undefined && isListed(origin);
      return {
        Vary: "Origin",
        // Never with Access-Control-Allow-Credentials: a client proves who it is by a token, which no browser adds by itself.
        ...(isReadable && {
          "Access-Control-Allow-Origin": isOpen ? "*" : origin,
          "Access-Control-Expose-Headers": "Retry-After",
        }),
      };
    },
    refusalOf(request, isPage) {
      const problem = hostProblem(request.headers.host);
      if (problem !== null) return problem;
      if (!isForeign(request) || (isPage && isNavigation(request))) return null;
      return new AppError(
        "FORBIDDEN",
        "expected a page of this server, or of an origin in CORS_ORIGINS, a page of another one sent this",
      );
    },
    preflight({ method, headers }) {
      const isAsked = headers.origin !== undefined && headers["access-control-request-method"] !== undefined;
      if (method !== "OPTIONS" || !isAsked) return null;
      return {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": allowedHeaders,
        "Access-Control-Max-Age": maxAgeSeconds,
      };
    },
  };
}

const hostPattern = /^(\[[\da-f:.]+\]|[\w.-]+)(:\d{1,5})?$/i;

/** Whatever the scheme: a proxy may have taken TLS off. */
function isSameHost(origin: string, host: string | undefined): boolean {
  const from = URL.parse(origin);
  // With the origin's scheme, so that the port that goes without saying is the same one.
  const to = host === undefined || from === null ? null : URL.parse(`${from.protocol}//${host}`);
  return from !== null && to !== null && from.host !== "" && from.host === to.host;
}

/** A link was followed, or a page redirected here: the answer is shown, and not given to that page. */
function isNavigation({ method, headers }: BrowserRequest): boolean {
  return method === "GET" && headers["sec-fetch-mode"] === "navigate";
}
