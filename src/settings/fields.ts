import { BlockList, isIP } from "node:net";
import { resolve } from "node:path";
import { z } from "zod";
import { durationMs } from "./duration.ts";

/** A text that `parse` understands; it returns undefined for all else. */
export function parsed<T>(expected: string, parse: (text: string) => T | undefined) {
  return z.string(expected).transform((text, context) => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue(expected);
    return z.NEVER;
  });
}

/** A text of this form. */
export function textOf(pattern: RegExp, expected: string) {
  return z.string(expected).regex(pattern, expected);
}

/** A duration; its grammar is that of {@link durationMs}. */
export function duration(defaultValue: string, low: string, high: string) {
  return parsed(`expected a duration from ${low} to ${high}, such as ${defaultValue}`, (text) => {
    const ms = durationMs(text);
    return ms !== null && ms >= Number(durationMs(low)) && ms <= Number(durationMs(high)) ? ms : undefined;
  }).prefault(defaultValue);
}

export function whole(defaultValue: number, low: number, high: number) {
  return parsed(`expected a whole number from ${low} to ${high}`, (text) => {
    const value = Number(text);
    return /^\d+$/.test(text) && value >= low && value <= high ? value : undefined;
  }).prefault(String(defaultValue));
}

/** Whether it is a URL with a host, of one of these protocols, and with nothing but a number behind the host. */
export function isUrl(text: string, protocols: readonly string[]): boolean {
  const parsed = URL.parse(text);
  return (
    parsed !== null &&
    protocols.includes(parsed.protocol) &&
    text.startsWith(`${parsed.protocol}//`) &&
    parsed.hostname !== "" &&
    /^\/?\d*$/.test(parsed.pathname) &&
    [parsed.username, parsed.password].every(isDecodable)
  );
}

export function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** A file or directory; a relative one is meant from where the server was started. */
export function path() {
  return z.string().transform((text) => resolve(text));
}

/** Items separated by commas; blanks around them do not matter. The error lists every wrong item. */
function list(isRight: (item: string) => boolean, expected: string) {
  return z
    .string()
    .default("")
    .transform((text, context) => {
      const items = text
        .split(",")
        .map((item) => item.trim())
        .filter((item) => item !== "");
      const wrong = items.filter((item) => !isRight(item));
      if (wrong.length === 0) return items;
      context.addIssue({ code: "custom", message: `expected ${expected}; wrong: ${wrong.join(", ")}` });
      return z.NEVER;
    });
}

/** Addresses and ranges of addresses, such as `10.0.0.7, 10.1.0.0/16, fd00::/8`. */
export function addresses() {
  return list(isAddressOrRange, "addresses or ranges such as 10.0.0.7 or fd00::/8, separated by commas");
}

function isAddressOrRange(text: string): boolean {
  const [address = "", prefix, ...rest] = text.split("/");
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return (
    bits > 0 && rest.length === 0 && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && +prefix <= bits))
  );
}

/** Origins of web pages, such as `https://dashboard.example.com`; or `*` alone. */
export function origins() {
  return list(
    isOrigin,
    "origins such as https://dashboard.example.com, separated by commas, or * alone",
  ).refine((items) => !items.includes("*") || items.length === 1, "expected origins, or * alone");
}

function isOrigin(text: string): boolean {
  if (text === "*") return true;
  const url = URL.parse(text);
  return url !== null && /^https?:$/.test(url.protocol) && url.origin === text && !text.includes("*");
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether only this machine can reach a server that listens on this host. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  if (family !== 0) return loopback.check(host, family === 4 ? "ipv4" : "ipv6");
  return /^(.+\.)?localhost$/i.test(host);
}
