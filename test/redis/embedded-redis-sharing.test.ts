import { describe, expect, it, vi } from "vitest";
import {
  clientOf,
  embeddedRedis,
  programInPlaceOfRedis,
  redisPids,
  startServerProcess,
  temporaryDataDir,
} from "../support/embedded-redis.ts";

describe("several servers on one DATA_DIR", () => {
  it("adopts what a process that was killed has left, with everything that was acknowledged", async () => {
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

  it("adopts what a process that ended without stop has left; nothing of it kept that process alive", async () => {
    const dataDir = await temporaryDataDir();
    const forgetful = await startServerProcess(dataDir, "forgetful");
    expect(await forgetful.ended()).toBe(0);
    const redis = embeddedRedis(dataDir);
    await redis.start();
    expect(redis.log[0]?.fields).toMatchObject({ pid: forgetful.redisPid, adopted: true });
  });

  it("starts one redis-server when several start at the same time, and ends it when they all stop at once", async () => {
    const dataDir = await temporaryDataDir();
    for (let round = 0; round < 4; round++) {
      const servers = await Promise.all([1, 2, 3].map(() => startServerProcess(dataDir)));
      const pids = await redisPids(dataDir);
      expect(pids).toHaveLength(1);
      expect(servers.map(({ redisPid }) => redisPid)).toEqual([pids[0], pids[0], pids[0]]);
      expect(servers.filter(({ adopted }) => !adopted)).toHaveLength(1);
      for (const server of servers) expect(await clientOf(server).incr("count")).toBeGreaterThan(3 * round);
      if (round % 2 === 0) {
        expect(await Promise.all(servers.map((server) => server.stop()))).toEqual([0, 0, 0]);
      } else {
        // The next round finds a socket that nobody listens to any more.
        await Promise.all(servers.map((server) => server.kill()));
        process.kill(pids[0]!, "SIGKILL");
      }
      await vi.waitFor(async () => expect(await redisPids(dataDir)).toEqual([]), { timeout: 5_000 });
    }
  });

  it.each([
    { first: "the one that started redis-server", order: [0, 1] as const },
    { first: "the one that adopted it", order: [1, 0] as const },
  ])("goes on when $first stops first, and is ended by the last", async ({ order }) => {
    const dataDir = await temporaryDataDir();
    const servers = [await startServerProcess(dataDir), await startServerProcess(dataDir)];
    const [first, last] = order.map((index) => servers[index]!);
    await clientOf(first!).set("key", "value");
    expect(await first!.stop()).toBe(0);
    expect(await redisPids(dataDir)).toEqual([last!.redisPid]);
    expect(await clientOf(last!).get("key")).toBe("value");
    expect(await last!.stop()).toBe(0);
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("counts every user, also two of one process", async () => {
    const dataDir = await temporaryDataDir();
    const [first, last] = [embeddedRedis(dataDir), embeddedRedis(dataDir)];
    await Promise.all([first.start(), last.start()]);
    const [pid] = await redisPids(dataDir);
    await first.stop();
    expect(first.log.at(-1)).toEqual({
      level: "info",
      message: "redis-server is left to the others that use it",
      fields: { pid, others: 1 },
    });
    expect(await redisPids(dataDir)).toEqual([pid]);
    await last.stop();
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("comes back as one redis-server for all of them after it was killed", async () => {
    const dataDir = await temporaryDataDir();
    const users = [embeddedRedis(dataDir), embeddedRedis(dataDir), embeddedRedis(dataDir)];
    for (const user of users) await user.start();
    process.kill((await redisPids(dataDir))[0]!, "SIGKILL");
    for (const user of users) {
      await vi.waitFor(() => expect(user.log.at(-1)?.message).toBe("redis-server is back"), {
        timeout: 10_000,
      });
    }
    const pids = await redisPids(dataDir);
    expect(pids).toHaveLength(1);
    expect(users.map((user) => user.log.at(-1)?.fields.pid)).toEqual([pids[0], pids[0], pids[0]]);
    await Promise.all(users.map((user) => user.stop()));
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("never meets a redis-server on its way out when one stops while another starts", async () => {
    const dataDir = await temporaryDataDir();
    let before = embeddedRedis(dataDir);
    await before.start();
    for (let round = 0; round < 20; round++) {
      const next = embeddedRedis(dataDir);
      await Promise.all([before.stop(), next.start()]);
      expect(await clientOf(next).incr("rounds")).toBe(round + 1);
      expect(await redisPids(dataDir)).toHaveLength(1);
      expect(next.log.filter(({ level }) => level !== "info")).toEqual([]);
      before = next;
    }
  });

  it("uses the redis-server that answers, when it is not the one it has started", async () => {
    const dataDir = await temporaryDataDir();
    // What is started is a shell, and the redis-server is somebody else's.
    const command = await programInPlaceOfRedis(dataDir, 'redis-server "$@" & wait');
    const redis = embeddedRedis(dataDir, command);
    await redis.start();
    const [pid] = await redisPids(dataDir);
    expect(redis.log[0]?.fields).toMatchObject({ pid, adopted: true });
    expect(await clientOf(redis).ping()).toBe("PONG");
    await redis.stop();
    expect(await redisPids(dataDir)).toEqual([]);
  });
});
