import { BlockList, isIP, isIPv6 } from "node:net";

/**
 * Creates the function that finds a client's address. It is the other end of the socket. When that is a trusted proxy,
 * it is the last address in `X-Forwarded-For`, and so on through a chain of trusted proxies. What an untrusted client
 * wrote there is ignored.
 *
 * @param trusted addresses and ranges (CIDR).
 * @returns an IPv4 address, or the first half of an IPv6 address, since one client has all addresses of that half.
 *   "unknown" when the socket has closed.
 */
export function createClientAddress(
  trusted: readonly string[],
): (address: string | undefined, forwardedFor: string | undefined) => string {
  const proxies = new BlockList();
  for (const each of trusted) {
    const [address = "", prefix] = each.split("/");
    if (prefix === undefined) proxies.addAddress(address, familyOf(address));
    else proxies.addSubnet(address, Number(prefix), familyOf(address));
  }
  const isTrusted = (address: string) => isIP(address) !== 0 && proxies.check(address, familyOf(address));

  return (address, forwardedFor = "") => {
    let client = plainAddress(address ?? "");
    const hops = trusted.length === 0 ? [] : forwardedFor.split(",").toReversed();
    for (const hop of hops) {
      const before = plainAddress(hop);
      // What is no address ends the chain that can be believed.
      if (!isTrusted(client) || before === "") break;
      client = before;
    }
    if (client === "") return "unknown";
    return isIPv6(client) ? networkOf(client) : client;
  };
}

/** Without port, brackets, quotes and zone; an IPv4-mapped IPv6 address as IPv4. Empty when it is no address. */
function plainAddress(text: string): string {
  const bare = text.trim().replace(/^"(.*)"$/, "$1");
  const [, inBrackets, beforePort] = /^\[([^\]]*)\](?::\d+)?$|^([\d.]+):\d+$/.exec(bare) ?? [];
  const address = (inBrackets ?? beforePort ?? bare).replace(/%.*$/, "");
  if (isIP(address) === 0) return "";
  return /ffff/i.test(address) && isIPv6(address) ? unmapped(address) : address;
}

/** `::ffff:127.0.0.1` as `127.0.0.1`, however it is written: in hexadecimal, or with its zeros. Others as they are. */
function unmapped(address: string): string {
  const canonical = URL.parse(`http://[${address}]`)?.hostname ?? "";
  const [, high, low] = /^\[::ffff:([\da-f]{1,4}):([\da-f]{1,4})\]$/.exec(canonical) ?? [];
  if (high === undefined || low === undefined) return address;
  return [high, low]
    .flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255])
    .join(".");
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv6(address) ? "ipv6" : "ipv4";
}

/** The first 64 bits, which is what a provider gives to one customer at least: `2001:db8:0:1::/64`. */
function networkOf(address: string): string {
  const [before = "", after] = address.toLowerCase().split("::");
  const head = before === "" ? [] : before.split(":");
  const tail = after === undefined || after === "" ? [] : after.split(":");
  // An IPv4 address at the end takes the place of two groups; it is never among the first four.
  const missing = 8 - head.length - tail.length - (address.includes(".") ? 1 : 0);
  const groups = after === undefined ? head : [...head, ...Array<string>(missing).fill("0"), ...tail];
  const network = groups.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, ""));
  return `${network.join(":")}::/64`;
}
