import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createConnections } from "../../src/redis/connections.ts";
import { findEvictingNodes } from "../../src/redis/eviction-policy.ts";
import { recordingLogger } from "../support/logger.ts";
import { connectTo, startRedis, type TestRedis, uniquePrefix } from "../support/redis.ts";
import { startApp } from "../support/server.ts";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis?.[Symbol.asyncDispose]());

async function set(policy: string, ...acl: readonly string[]): Promise<string> {
  const admin = connectTo(redis.url);
  await admin.call("CONFIG", "SET", "maxmemory-policy", policy);
  await admin.call("ACL", "SETUSER", "limited", "reset", "on", ">secret", "~*", "&*", "+@all", ...acl);
  admin.disconnect();
  const url = new URL(redis.url);
  [url.username, url.password] = ["limited", "secret"];
  return url.href;
}

describe("a Redis that may evict keys", () => {
  it.each<{ policy: string; acl: readonly string[]; isFound: boolean; why: string }>([
    { policy: "noeviction", acl: [], isFound: false, why: "it evicts nothing" },
    { policy: "allkeys-lru", acl: [], isFound: true, why: "it evicts any key" },
    { policy: "volatile-ttl", acl: [], isFound: true, why: "it evicts keys that expire, such as tombstones" },
    { policy: "allkeys-lru", acl: ["-config"], isFound: true, why: "INFO has it where CONFIG is refused" },
    { policy: "allkeys-lru", acl: ["-info"], isFound: true, why: "CONFIG has it where INFO is refused" },
    { policy: "noeviction", acl: ["-config"], isFound: false, why: "INFO has this, too" },
    { policy: "allkeys-lru", acl: ["-config", "-info"], isFound: false, why: "no command is allowed" },
  ])("is found with $policy and $acl: $isFound, since $why", async ({ policy, acl, isFound }) => {
    const client = connectTo(await set(policy, ...acl));
    const { hostname, port } = new URL(redis.url);
    expect(await findEvictingNodes(client)).toEqual(isFound ? [{ node: `${hostname}:${port}`, policy }] : []);
    client.disconnect();
  });

  it("is logged once at the start", async () => {
    const logger = recordingLogger();
    const connections = createConnections({ urls: [await set("allkeys-lru")], logger });
    await connections.start();
    await connections.stop();
    expect(logger.lines.filter(({ level }) => level === "warn")).toMatchObject([
      { fields: { policy: "allkeys-lru" }, message: expect.stringContaining("noeviction") },
    ]);
  });

  it("is in /ready, which is 200 all the same, until it is corrected", async () => {
    const app = await startApp({ REDIS_URL: await set("allkeys-lru"), KEY_PREFIX: uniquePrefix() });
    const ready = async () => {
      const response = await fetch(`${app.url}/ready`);
      return { status: response.status, body: await response.json() };
    };
    const warnings = [expect.stringMatching(/allkeys-lru.*noeviction/)];
    expect(await ready()).toEqual({ status: 200, body: { status: "ok", warnings } });
    await set("noeviction");
    expect(await ready()).toEqual({ status: 200, body: { status: "ok" } });
    await app.stop();
  });
});
