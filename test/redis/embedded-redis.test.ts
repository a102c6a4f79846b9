import { execFile } from "node:child_process";
import { chmod, mkdir, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { describe, expect, it } from "vitest";
import { StartError } from "../../src/core/errors.ts";
import {
  clientOf,
  type EmbeddedRedisUnderTest,
  embeddedRedis,
  programInPlaceOfRedis,
  redisPids,
  temporaryDataDir,
} from "../support/embedded-redis.ts";
import { until } from "../support/until.ts";

describe("a life", () => {
  it("answers on its socket when it has started, and leaves nothing running when it has stopped", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir);
    await redis.start();
    expect(redis.socketPath).toBe(join(dataDir, "redis", "redis.sock"));
    expect(await clientOf(redis).ping()).toBe("PONG");
    const [pid, ...others] = await redisPids(dataDir);
    expect(others).toEqual([]);
    expect(redis.log).toEqual([
      {
        level: "info",
        message: "redis-server is ready",
        fields: { socketPath: redis.socketPath, pid, adopted: false },
      },
    ]);

    await redis.stop();
    expect(await redisPids(dataDir)).toEqual([]);
    expect((await readdir(join(dataDir, "redis"))).sort()).toEqual(["appendonlydir", "redis.log"]);
    expect(messages(redis)).toEqual(["redis-server is ready", "redis-server has stopped"]);
  });

  it("keeps its data from one start to the next", async () => {
    const dataDir = await temporaryDataDir();
    const first = embeddedRedis(dataDir);
    await first.start();
    await clientOf(first).set("key", "kept");
    await first.stop();

    const second = embeddedRedis(dataDir);
    await second.start();
    expect(await clientOf(second).get("key")).toBe("kept");
  });

  it("listens on no port, writes every second, and frees memory in the background", async () => {
    const redis = embeddedRedis(await temporaryDataDir());
    await redis.start();
    const expected = {
      port: "0",
      save: "",
      appendonly: "yes",
      appendfsync: "everysec",
      "lazyfree-lazy-expire": "yes",
      "lazyfree-lazy-user-del": "yes",
    };
    const found = await clientOf(redis).config("GET", ...Object.keys(expected));
    const pairs = found as readonly string[];
    const settings = Object.fromEntries(
      pairs.flatMap((name, index) => (index % 2 === 0 ? [[name, pairs[index + 1]]] : [])),
    );
    expect(settings).toEqual(expected);
  });

  it("is out of reach of a Ctrl-C in the terminal, which ends what is under way in order", async () => {
    const dataDir = await temporaryDataDir();
    await embeddedRedis(dataDir).start();
    const [pid] = await redisPids(dataDir);
    const { stdout } = await promisify(execFile)("ps", ["-o", "pgid=", "-p", String(pid)]);
    expect(Number(stdout)).toBe(pid);
  });

  it("lets only its owner in, also when the directory was open before", async () => {
    const dataDir = await temporaryDataDir();
    await mkdir(join(dataDir, "redis"));
    await chmod(join(dataDir, "redis"), 0o777);
    const redis = embeddedRedis(dataDir);
    await redis.start();
    expect((await stat(join(dataDir, "redis"))).mode & 0o777).toBe(0o700);
    expect((await stat(redis.socketPath)).mode & 0o777).toBe(0o600);
  });

  it("may be stopped twice, and without having been started", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir);
    await redis.stop();
    await redis.stop();
    expect(await readdir(dataDir)).toEqual([]);
  });

  it("kills a redis-server of its own that does not answer any more, and says so", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir);
    await redis.start();
    process.kill((await redisPids(dataDir))[0]!, "SIGSTOP");
    await redis.stop();
    expect(redis.log.at(-1)).toMatchObject({
      level: "error",
      message: "redis-server did not stop in time and was killed",
    });
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("leaves nothing behind when it is stopped at any moment of its start", async () => {
    const dataDir = await temporaryDataDir();
    for (const delayMs of [0, 1, 3, 6, 10, 15, 20, 30, 45, 60, 100]) {
      const redis = embeddedRedis(dataDir);
      const outcome = redis.start().then(
        () => "started",
        (error: unknown) => (error instanceof StartError ? error.message : error),
      );
      await sleep(delayMs);
      await redis.stop();
      // A process ends then, without waiting for the start.
      expect(await redisPids(dataDir)).toEqual([]);
      expect(["started", "Redis was stopped while it was starting."]).toContain(await outcome);
    }
    const redis = embeddedRedis(dataDir);
    await redis.start();
    expect(await clientOf(redis).ping()).toBe("PONG");
  });
});

describe("a redis-server that is still loading", () => {
  it("is waited for", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir, await fillAndSlowDown(dataDir));
    const started = redis.start();
    await loading(redis);
    const impatient = new Redis({ path: redis.socketPath, enableReadyCheck: false });
    await impatient.config("SET", "key-load-delay", 0).finally(() => impatient.disconnect());
    await started;
    expect(wholeLog(redis)).toEqual(["redis-server is loading its data", "redis-server is ready"]);
    expect(await clientOf(redis).dbsize()).toBe(keys);
  });

  it("is ended when its owner stops", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir, await fillAndSlowDown(dataDir));
    const outcome = redis.start().catch((error: unknown) => error);
    await loading(redis);
    await redis.stop();
    expect(await redisPids(dataDir)).toEqual([]);
    expect(await outcome).toEqual(new StartError("Redis was stopped while it was starting."));
  });

  it("fails the start with its last lines when it dies", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir, await fillAndSlowDown(dataDir));
    const outcome = redis.start().catch((error: unknown) => error);
    await loading(redis);
    process.kill((await redisPids(dataDir))[0]!, "SIGKILL");
    expect(await outcome).toBeInstanceOf(StartError);
    expect(String(await outcome)).toContain(
      "redis-server ended while starting (SIGKILL). The last lines of ",
    );
  });

  const keys = 10_240;

  /** Leaves data that takes five seconds to load, by the program that is returned. */
  async function fillAndSlowDown(dataDir: string): Promise<string> {
    const redis = embeddedRedis(dataDir);
    await redis.start();
    const filling = clientOf(redis).pipeline();
    for (let key = 0; key < keys; key++) filling.set(`key:${key}`, "value");
    await filling.exec();
    await redis.stop();
    // Loading stops for a while after each key; after every 1024 it looks at its connections.
    return await programInPlaceOfRedis(dataDir, 'exec redis-server "$@" --key-load-delay 500');
  }

  async function loading(redis: EmbeddedRedisUnderTest): Promise<void> {
    await until(() => expect(wholeLog(redis)).toEqual(["redis-server is loading its data"]), 5);
  }
});

describe("an outage", () => {
  it("ends by itself after redis-server was killed, with all data, one error and one info", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir);
    await redis.start();
    const client = clientOf(redis);
    await client.set("key", "kept");
    const [pid = 0] = await redisPids(dataDir);

    process.kill(pid, "SIGKILL");
    expect(await client.get("key")).toBe("kept");
    await until(() => expect(redis.log).toHaveLength(3));
    const [newPid] = await redisPids(dataDir);
    expect(newPid).not.toBe(pid);
    const { socketPath } = redis;
    expect(redis.log.slice(1)).toEqual([
      { level: "error", message: "redis-server went away, it is started again", fields: { socketPath, pid } },
      {
        level: "info",
        message: "redis-server is back",
        fields: { socketPath, pid: newPid, adopted: false },
      },
    ]);
    await redis.stop();
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("says once why redis-server cannot be started again, and ends as soon as it can", async () => {
    const dataDir = await temporaryDataDir();
    const command = await programInPlaceOfRedis(dataDir, 'exec redis-server "$@"');
    const redis = embeddedRedis(dataDir, command);
    await redis.start();
    await chmod(command, 0o600);
    process.kill((await redisPids(dataDir))[0]!, "SIGKILL");
    const complaints = () => redis.log.filter(({ level }) => level === "error" || level === "warn");
    await until(() => expect(complaints()).toHaveLength(2));
    // Further attempts have nothing new to say.
    await until(() => expect(redis.log.filter(({ level }) => level === "debug").length).toBeGreaterThan(1));
    await chmod(command, 0o700);
    await until(() => expect(redis.log.at(-1)?.message).toBe("redis-server is back"));
    expect(complaints().map(({ level, message }) => [level, message])).toEqual([
      ["error", "redis-server went away, it is started again"],
      ["warn", "redis-server cannot be started, trying again"],
    ]);
    expect(await clientOf(redis).ping()).toBe("PONG");
  });

  it("is over at once when only the connection was lost, and stop still ends redis-server", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir);
    await redis.start();
    const pids = await redisPids(dataDir);
    await clientOf(redis).call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await until(() => expect(redis.log[2]).toMatchObject({ message: "redis-server is back" }));
    expect(await redisPids(dataDir)).toEqual(pids);
    await redis.stop();
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("does not keep stop from ending, nor from ending redis-server", async () => {
    const dataDir = await temporaryDataDir();
    const redis = embeddedRedis(dataDir);
    await redis.start();
    await clientOf(redis).call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await until(() => expect(redis.log.length).toBeGreaterThanOrEqual(2), 1);
    await redis.stop();
    expect(await redisPids(dataDir)).toEqual([]);
  });
});

function messages(redis: EmbeddedRedisUnderTest): readonly string[] {
  return redis.log.map(({ message }) => message);
}

function wholeLog(redis: EmbeddedRedisUnderTest): readonly string[] {
  return redis.wholeLog.map(({ message }) => message);
}
