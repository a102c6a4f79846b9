import { rm } from "node:fs/promises";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { StartError } from "../../src/core/errors.ts";
import { redisDirectory } from "../../src/redis/embedded/redis-directory.ts";
import { fromPs, redisServersIn } from "../../src/redis/embedded/redis-processes.ts";
import {
  clientOf,
  embeddedRedis,
  programInPlaceOfRedis,
  redisPids,
  startServerProcess,
  temporaryDataDir,
} from "../support/embedded-redis.ts";
import { until } from "../support/until.ts";

/** The message to a second owner. */
async function refusal(dataDir: string): Promise<string> {
  const error = await embeddedRedis(dataDir)
    .start()
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StartError);
  return (error as StartError).message;
}

describe("a second server on the same DATA_DIR", () => {
  it("is refused with the owner's process and URL, and with how to share", async () => {
    const dataDir = await temporaryDataDir();
    const owner = embeddedRedis(dataDir);
    await owner.start();
    const refused = `DATA_DIR ${dataDir} is in use by process ${process.pid}`;
    expect(await refusal(dataDir)).toBe(
      `${refused}. One server at a time owns the Redis in it: ` +
        "stop that server, choose another DATA_DIR, or run one Redis for all servers and set REDIS_URL.",
    );
    await owner.announce("http://127.0.0.1:4000");
    expect(await refusal(dataDir)).toContain(`${refused} (http://127.0.0.1:4000). `);
    expect(await clientOf(owner).ping()).toBe("PONG");
    expect(await redisPids(dataDir)).toHaveLength(1);
  });

  it.each([
    { removed: "redis.sock", why: "connections lead there" },
    { removed: "redis.sock.spare", why: "it is the socket's second name" },
    { removed: "owner", why: "it names the owner" },
    { removed: "redis.log", why: "redis-server writes there" },
    { removed: "appendonlydir", why: "the data is there" },
    { removed: ".", why: "all of it" },
    { removed: "..", why: "DATA_DIR itself" },
  ])("is refused also when $removed was removed, and the owner goes on: $why", async ({ removed }) => {
    const dataDir = await temporaryDataDir();
    const owner = await startServerProcess(dataDir);
    const client = clientOf(owner);
    await client.set("key", "value");
    await rm(resolve(dataDir, "redis", removed), { recursive: true, force: true });
    expect(await refusal(dataDir)).toMatch(
      / is in use by | was removed while redis-server \(process \d+\) works in it/,
    );
    expect(await redisPids(dataDir)).toEqual([owner.redisPid]);
    expect(await client.get("key")).toBe("value");
    if (removed === "redis.sock" || removed === "owner") {
      // It is there again, for the next connection, and the next message.
      expect(await clientOf(owner).get("key")).toBe("value");
      await until(async () => expect(await refusal(dataDir)).toContain(`process ${owner.child.pid}`));
    }
    expect(await owner.stop()).toBe(0);
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("is refused by one owner when several start at the same time", async () => {
    const dataDir = await temporaryDataDir();
    for (let round = 0; round < 3; round++) {
      const starts = [1, 2, 3].map(() => embeddedRedis(dataDir));
      const outcomes = await Promise.allSettled(starts.map((redis) => redis.start()));
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect(await redisPids(dataDir)).toHaveLength(1);
      await Promise.all(starts.map((redis) => redis.stop()));
      expect(await redisPids(dataDir)).toEqual([]);
    }
  });

  it("starts when the owner has stopped, with its data", async () => {
    const dataDir = await temporaryDataDir();
    const first = embeddedRedis(dataDir);
    await first.start();
    await clientOf(first).set("key", "value");
    await first.stop();
    const second = embeddedRedis(dataDir);
    await second.start();
    expect(await clientOf(second).get("key")).toBe("value");
  });
});

describe("a redis-server whose owner is gone", () => {
  it("is adopted after SIGKILL, with everything that was acknowledged, and ended by its new owner", async () => {
    const dataDir = await temporaryDataDir();
    const killed = await startServerProcess(dataDir);
    await clientOf(killed).set("key", "acknowledged");
    await killed.kill();

    const redis = embeddedRedis(dataDir);
    await redis.start();
    expect(redis.log[0]?.fields).toEqual({
      socketPath: redis.socketPath,
      pid: killed.redisPid,
      adopted: true,
    });
    expect(await clientOf(redis).get("key")).toBe("acknowledged");
    expect(await redisPids(dataDir)).toEqual([killed.redisPid]);
    await redis.stop();
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("is adopted after an owner that ended without stop; nothing of it kept that process alive", async () => {
    const dataDir = await temporaryDataDir();
    const forgetful = await startServerProcess(dataDir, "forgetful");
    expect(await forgetful.ended()).toBe(0);
    const redis = embeddedRedis(dataDir);
    await redis.start();
    expect(redis.log[0]?.fields).toMatchObject({ pid: forgetful.redisPid, adopted: true });
  });

  it("is ended in order when its socket was removed, and another one has its data", async () => {
    const dataDir = await temporaryDataDir();
    const killed = await startServerProcess(dataDir);
    await clientOf(killed).set("key", "acknowledged");
    await killed.kill();
    await rm(killed.socketPath);
    const redis = embeddedRedis(dataDir);
    await redis.start();
    const pids = await redisPids(dataDir);
    expect(pids).toHaveLength(1);
    expect(pids).not.toEqual([killed.redisPid]);
    expect(await clientOf(redis).get("key")).toBe("acknowledged");
  });

  it("is adopted also when it was started through a shell that stays", async () => {
    const dataDir = await temporaryDataDir();
    const command = await programInPlaceOfRedis(dataDir, 'redis-server "$@" & wait');
    const redis = embeddedRedis(dataDir, command);
    await redis.start();
    expect(await clientOf(redis).ping()).toBe("PONG");
    await redis.stop();
    expect(await redisPids(dataDir)).toEqual([]);
  });
});

it("finds the redis-servers of a directory without /proc, too", async () => {
  const dataDir = await temporaryDataDir();
  const directory = redisDirectory(dataDir);
  const redis = embeddedRedis(dataDir);
  await redis.start();
  const pids = await redisPids(dataDir);
  expect(await redisServersIn(directory)).toEqual({ working: pids, removed: [] });
  expect(await fromPs(directory)).toEqual(pids);
  await redis.stop();
  await until(async () => expect(await fromPs(directory)).toEqual([]));
});
