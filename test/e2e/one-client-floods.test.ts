import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readlink } from "node:fs/promises";
import { expect, inject, test } from "vitest";
import { heldBytes, reportsHeldBytes } from "../support/held-memory.ts";
import { uniquePrefix } from "../support/redis.ts";
import { post, startServer, type TestServer } from "../support/server.ts";
import { bearer, tokenFile } from "../support/tokens.ts";

const asked = 10;
const maxHeldBytes = 150_000_000;
const floods = new URL("../../bench/one-client-floods.ts", import.meta.url).pathname;

test("one token that does all at once, by all transports, takes bounded memory, leaves nothing, and another token is answered", async () => {
  await using tokens = await tokenFile({ flood: "read,record,admin", other: "read,record" });
  await using server = await startServer({
    ...reportsHeldBytes,
    REDIS_URL: inject("redisUrl"),
    KEY_PREFIX: uniquePrefix(),
    API_TOKENS_FILE: tokens.path,
    LOG_LEVEL: "error",
  });
  const ask = (token: string, body: object) =>
    post(server.url, body, { ...bearer(token), connection: "close" });
  expect((await ask("other", { query: "{ __typename }" })).status).toBe(200);
  const idleSockets = await openSockets(server);

  // Requests half sent, bodies and messages in pieces of one byte, answers unread, refused documents, subscriptions, introspection.
  const flood = spawn(process.execPath, [floods, "flood", "all at once", server.url], {
    env: { PATH: process.env.PATH },
    stdio: "ignore",
  });
  const ended = once(flood, "exit");
  const killAtExit = () => flood.kill("SIGKILL");
  process.on("exit", killAtExit);
  try {
    await expect.poll(() => openSockets(server)).toBeGreaterThan(idleSockets + 100);
    for (let i = 0; i < asked; i++) {
      const variables = { queue: `q${i}` };
      const answer = () =>
        ask("other", {
          query: "query ($queue: String!) { queueLatency(queues: [$queue]) { state } }",
          variables,
        });
      // Where the floods, the server and Redis share 2 cores, Redis itself may answer too late.
      let { status, body } = await answer();
      while (status === 503) ({ status, body } = await answer());
      expect({ status, errors: body.errors }).toEqual({ status: 200, errors: undefined });
      const held = await heldBytes(server);
      expect(held).toBeLessThan(maxHeldBytes);
    }
  } finally {
    killAtExit();
    process.off("exit", killAtExit);
    await ended;
  }

  // Beside connections to Redis that were opened later, and those of the other token, which are kept.
  await expect.poll(() => openSockets(server)).toBeLessThan(idleSockets + 15);
  const metrics = await fetch(`${server.url}/metrics`, { headers: bearer("other") });
  expect(await metrics.text()).toMatch(/^queue_latency_open_subscriptions 0$/m);
  // Its requests in flight, its bytes and its share of the CPU are free again.
  const large = { query: "{ __typename }", extensions: { padding: "x".repeat(1_000_000) } };
  const answers = await Promise.all(Array.from({ length: 12 }, () => ask("flood", large)));
  expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(200));
  expect(server.stderr()).toBe("");
});

async function openSockets({ pid }: TestServer): Promise<number> {
  const dir = `/proc/${pid}/fd`;
  const links = await Promise.all((await readdir(dir)).map((fd) => readlink(`${dir}/${fd}`).catch(() => "")));
  return links.filter((link) => link.startsWith("socket:")).length;
}
