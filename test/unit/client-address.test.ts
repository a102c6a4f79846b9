import { describe, expect, test } from "vitest";
import { createClientAddress } from "../../src/auth/client-address.ts";

const proxies = ["10.0.0.0/8", "192.0.2.9", "fd00::/8"];

describe("the address that a request is charged to", () => {
  test.each([
    { address: "192.0.2.1", client: "192.0.2.1", why: "an address" },
    { address: "::ffff:192.0.2.1", client: "192.0.2.1", why: "the same machine, over a socket for both" },
    { address: "::ffff:7f00:1", client: "127.0.0.1", why: "the same in hexadecimal" },
    { address: "::FFFF:C000:0201", client: "192.0.2.1", why: "in capitals" },
    { address: "0:0:0:0:0:ffff:192.0.2.1", client: "192.0.2.1", why: "with its zeros" },
    { address: "0000::ffff:0:0", client: "0.0.0.0", why: "zeros at the end are a part of it" },
    { address: "::1:ffff:7f00:1", client: "0:0:0:0::/64", why: "another address that ends so" },
    { address: "2001:db8::1", client: "2001:db8:0:0::/64", why: "a client with one IPv6 address has 2^64" },
    { address: "2001:db8::ffff:1:2:3", client: "2001:db8:0:0::/64", why: "of the same network" },
    { address: "2001:DB8:0:1:2:3:4:5", client: "2001:db8:0:1::/64", why: "all groups, and another network" },
    { address: "2001:db8:00:01::", client: "2001:db8:0:1::/64", why: "zeros in front mean nothing" },
    { address: "::1", client: "0:0:0:0::/64", why: "all of the front left out" },
    { address: "::", client: "0:0:0:0::/64", why: "everything left out" },
    { address: "64:ff9b::192.0.2.1", client: "64:ff9b:0:0::/64", why: "IPv4 at the end" },
    { address: "fe80::1%eth0", client: "fe80:0:0:0::/64", why: "the zone is our own business" },
    { address: undefined, client: "unknown", why: "the socket is gone: a key is charged all the same" },
  ])("of $address is $client: $why", ({ address, client }) => {
    expect(createClientAddress([])(address, undefined)).toBe(client);
  });

  test.each([
    {
      via: "203.0.113.5",
      from: "198.51.100.1",
      client: "203.0.113.5",
      why: "any client can write that header",
    },
    { via: "10.1.1.1", from: "198.51.100.1", client: "198.51.100.1", why: "our proxy has seen it" },
    { via: "::ffff:10.1.1.1", from: "198.51.100.1", client: "198.51.100.1", why: "the same proxy" },
    { via: "::ffff:a01:101", from: "::ffff:c633:6401", client: "198.51.100.1", why: "both in hexadecimal" },
    { via: "192.0.2.9", from: "198.51.100.1", client: "198.51.100.1", why: "one address is a range, too" },
    { via: "192.0.2.8", from: "198.51.100.1", client: "192.0.2.8", why: "its neighbour is no proxy" },
    { via: "fd00::1", from: "198.51.100.1", client: "198.51.100.1", why: "a proxy over IPv6" },
    {
      via: "10.1.1.1",
      from: "1.1.1.1, 198.51.100.1",
      client: "198.51.100.1",
      why: "the first was the client's own word",
    },
    { via: "10.1.1.1", from: "198.51.100.1, 10.2.2.2", client: "198.51.100.1", why: "two proxies in a row" },
    {
      via: "10.1.1.1",
      from: "10.3.3.3, 10.2.2.2",
      client: "10.3.3.3",
      why: "a client that is as near as our proxies",
    },
    { via: "10.1.1.1", from: "198.51.100.1:4711", client: "198.51.100.1", why: "some proxies add the port" },
    { via: "10.1.1.1", from: "[2001:db8::7]:4711", client: "2001:db8:0:0::/64", why: "in brackets then" },
    { via: "10.1.1.1", from: "2001:db8::7", client: "2001:db8:0:0::/64", why: "or without" },
    { via: "10.1.1.1", from: undefined, client: "10.1.1.1", why: "the proxy itself asks" },
    { via: "10.1.1.1", from: "", client: "10.1.1.1", why: "nothing is said" },
    { via: "10.1.1.1", from: "unknown", client: "10.1.1.1", why: "the proxy does not know, either" },
    {
      via: "10.1.1.1",
      from: "1.1.1.1, garbage",
      client: "10.1.1.1",
      why: "what is behind garbage is not believed",
    },
    { via: "10.1.1.1", from: "1.1.1.1,,", client: "10.1.1.1", why: "nothing is garbage, too" },
    { via: "10.1.1.1", from: "999.1.1.1", client: "10.1.1.1", why: "no address" },
  ])("that came through $via, which says $from, is $client: $why", ({ via, from, client }) => {
    expect(createClientAddress(proxies)(via, from)).toBe(client);
  });
});
