import { describe, expect, test } from "vitest";
import {
  type BrowserRequest,
  createCrossOriginProtection,
} from "../../src/server/cross-origin-protection.ts";
import { isLoopback } from "../../src/settings/fields.ts";

const host = "127.0.0.1:4000";
const dashboard = "https://dashboard.example.com";

describe("whether a request is served", () => {
  interface Row {
    readonly headers: BrowserRequest["headers"];
    readonly method?: string;
    readonly isPage?: boolean;
    readonly isServed: boolean;
    readonly why: string;
  }

  const rows: readonly Row[] = [
    { headers: { host }, isServed: true, why: "a program sends no origin" },
    { headers: {}, isServed: true, why: "HTTP/1.0 needs no Host" },
    { headers: { host, origin: "http://127.0.0.1:4000" }, isServed: true, why: "our own page" },
    { headers: { host, origin: "https://127.0.0.1:4000" }, isServed: true, why: "a proxy took TLS off" },
    {
      headers: { host: "localhost", origin: "https://localhost" },
      isServed: true,
      why: "neither names the port that goes without saying",
    },
    {
      headers: { host: "localhost:443", origin: "https://localhost" },
      isServed: true,
      why: "one of them names it",
    },
    { headers: { host, origin: "http://127.0.0.1:4001" }, isServed: false, why: "another port" },
    { headers: { host, origin: "http://localhost:4000" }, isServed: false, why: "another name" },
    { headers: { host, origin: "https://evil.example" }, isServed: false, why: "a page of another site" },
    { headers: { host, origin: "null" }, isServed: false, why: "a sandboxed frame, or a file" },
    { headers: { host, origin: "" }, isServed: false, why: "no origin at all, though the header is there" },
    { headers: { host, origin: "http://127.0.0.1:4000.evil.example" }, isServed: false, why: "a prefix" },
    { headers: { host, origin: "http://127.0.0.1:4000, https://evil.example" }, isServed: false, why: "two" },
    { headers: { host, origin: dashboard }, isServed: true, why: "it is listed" },
    { headers: { host, origin: `${dashboard}.evil.example` }, isServed: false, why: "it only begins so" },
    { headers: { host, origin: dashboard.replace("https", "http") }, isServed: false, why: "without TLS" },
    { headers: { host, "sec-fetch-site": "cross-site" }, isServed: false, why: "an image, or a script" },
    { headers: { host, "sec-fetch-site": "same-site" }, isServed: false, why: "another port is foreign" },
    { headers: { host, "sec-fetch-site": "same-origin" }, isServed: true, why: "our own EventSource" },
    { headers: { host, "sec-fetch-site": "none" }, isServed: true, why: "a person typed the address" },
    {
      headers: { host, "sec-fetch-site": "none", origin: "https://evil.example" },
      isServed: false,
      why: "an extension, say",
    },
    {
      headers: { host, "sec-fetch-site": "same-origin", origin: "https://latency.example.com" },
      isServed: true,
      why: "a proxy changed the Host, and the browser knows better",
    },
    {
      headers: { host, "sec-fetch-site": "cross-site", origin: dashboard },
      isServed: true,
      why: "foreign, but listed",
    },
    {
      headers: { host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" },
      isPage: true,
      isServed: true,
      why: "a link from elsewhere to a page",
    },
    {
      headers: { host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" },
      isServed: false,
      why: "a link that would run something",
    },
    {
      headers: { host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" },
      method: "POST",
      isPage: true,
      isServed: false,
      why: "a form from elsewhere",
    },
    {
      headers: { host, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" },
      isPage: true,
      isServed: false,
      why: "a page as an image",
    },
  ];

  test.each(rows)("$isServed: $why", ({ headers, method = "GET", isPage = false, isServed }) => {
    const guard = createCrossOriginProtection({ corsOrigins: [dashboard], isTrustedHost: isLoopback });
    expect(guard.refusalOf({ method, headers }, isPage)?.code).toBe(isServed ? undefined : "FORBIDDEN");
  });
});

describe("the Host", () => {
  interface Row {
    readonly host: string;
    readonly code: string | undefined;
    readonly why: string;
  }
  const own: readonly Row[] = [
    { host: "localhost", code: undefined, why: "loopback by name" },
    { host: "LOCALHOST.:4000", code: undefined, why: "the same, fully qualified" },
    { host: "latency.localhost:4000", code: undefined, why: "so are all names below it" },
    { host: "127.0.0.1:4000", code: undefined, why: "loopback" },
    { host: "127.1.2.3", code: undefined, why: "all of 127/8 is" },
    { host: "[::1]:4000", code: undefined, why: "loopback of IPv6" },
    { host: "dashboard.example.com", code: undefined, why: "the name of an origin that is listed" },
    { host: "evil.example", code: "FORBIDDEN", why: "a name that leads here" },
    { host: "localhost.evil.example", code: "FORBIDDEN", why: "a name that begins like ours" },
    { host: "127.0.0.1.nip.io:4000", code: "FORBIDDEN", why: "a service that makes such names" },
    { host: "192.0.2.1", code: "FORBIDDEN", why: "not what we listen on" },
    { host: "[::2]", code: "FORBIDDEN", why: "not what we listen on" },
    { host: "evil.example@127.0.0.1", code: "BAD_USER_INPUT", why: "no host" },
    { host: "127.0.0.1:port", code: "BAD_USER_INPUT", why: "no port" },
    { host: "a b", code: "BAD_USER_INPUT", why: "no host" },
    { host: "[::1", code: "BAD_USER_INPUT", why: "no address" },
    { host: "[1:2]", code: "BAD_USER_INPUT", why: "no address, though it looks like one" },
    { host: "", code: "BAD_USER_INPUT", why: "nothing" },
  ];

  test.each(own)("$host: $code, $why", ({ host, code }) => {
    const guard = createCrossOriginProtection({ corsOrigins: [dashboard], isTrustedHost: isLoopback });
    expect(guard.refusalOf({ method: "GET", headers: { host } }, true)?.code).toBe(code);
  });

  test.each([
    { corsOrigins: [], isTrustedHost: null, why: "with tokens the name does not matter" },
    { corsOrigins: ["*"], isTrustedHost: isLoopback, why: "the pages of all are accepted anyway" },
  ])("may be any host where $why", ({ corsOrigins, isTrustedHost }) => {
    const guard = createCrossOriginProtection({ corsOrigins, isTrustedHost });
    for (const { host, code } of own) {
      const expected = code === "BAD_USER_INPUT" ? code : undefined;
      expect(guard.refusalOf({ method: "GET", headers: { host } }, false)?.code, host).toBe(expected);
    }
  });
});

describe("what a page may read", () => {
  const listed = [dashboard, "http://localhost:3000"];
  const readable = { "Access-Control-Expose-Headers": "Retry-After", Vary: "Origin" };
  const rows = [
    { corsOrigins: [], origin: dashboard, headers: { Vary: "Origin" } },
    { corsOrigins: listed, origin: undefined, headers: { Vary: "Origin" } },
    { corsOrigins: listed, origin: "https://evil.example", headers: { Vary: "Origin" } },
    {
      corsOrigins: listed,
      origin: dashboard,
      headers: { "Access-Control-Allow-Origin": dashboard, ...readable },
    },
    {
      corsOrigins: ["*"],
      origin: "https://evil.example",
      headers: { "Access-Control-Allow-Origin": "*", ...readable },
    },
    { corsOrigins: ["*"], origin: "null", headers: { "Access-Control-Allow-Origin": "*", ...readable } },
  ];

  test.each(rows)("of $origin with CORS_ORIGINS $corsOrigins", ({ corsOrigins, origin, headers }) => {
    const guard = createCrossOriginProtection({ corsOrigins, isTrustedHost: isLoopback });
    const request = { method: "POST", headers: { host, ...(origin !== undefined && { origin }) } };
    expect(guard.headersFor(request)).toEqual(headers);
  });
});
