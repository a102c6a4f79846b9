import { chmod, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
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

describe("a start that cannot be", () => {
  it("says how to get redis-server when there is none", async () => {
    const redis = embeddedRedis(await temporaryDataDir(), "no-such-redis-server");
    expect(await failure(redis)).toBe(
      "no-such-redis-server was not found. Install Redis 7 or later (apt-get install redis-server, or brew install redis), " +
        "or use one that runs: set REDIS_URL, or give --redis-url.",
    );
  });

  it("says that DATA_DIR is a file", async () => {
    const file = join(await temporaryDataDir(), "file");
    await writeFile(file, "");
    const message = await failure(embeddedRedis(file));
    expect(message).toContain(`DATA_DIR must be a directory that this user can write to; ${file}: `);
  });

  it("says that something is in the way of its directory", async () => {
    const dataDir = await temporaryDataDir();
    await writeFile(join(dataDir, "redis"), "");
    const message = await failure(embeddedRedis(dataDir));
    expect(message).toContain(`DATA_DIR must be a directory that this user can write to; ${dataDir}: `);
  });

  it("says that DATA_DIR cannot be written to", async () => {
    // Permissions do not stop root, but the kernel makes no directory there.
    const dataDir = process.getuid?.() === 0 ? "/sys/data" : await temporaryDataDir();
    if (dataDir !== "/sys/data") await chmod(dataDir, 0o500);
    const message = await failure(embeddedRedis(dataDir));
    expect(message).toContain(`DATA_DIR must be a directory that this user can write to; ${dataDir}: `);
  });

  it.each([
    { dataDir: "/proc/x", why: "mkdir says ENOENT though the parent is there" },
    { dataDir: "/proc/x/y/z", why: "the same, further down" },
    { dataDir: "/dev/null/x", why: "a device is no directory" },
    { dataDir: "/dev/fd/99999/x", why: "a link that leads nowhere" },
  ])("says that $dataDir is unusable: $why", async ({ dataDir }) => {
    const message = await failure(embeddedRedis(dataDir));
    expect(message).toContain(`DATA_DIR must be a directory that this user can write to; ${dataDir}: `);
  });

  it("says that DATA_DIR is too long for a Unix socket, and makes nothing", async () => {
    const dataDir = await temporaryDataDir();
    const long = join(dataDir, "d".repeat(108));
    const message = await failure(embeddedRedis(long));
    expect(message).toMatch(
      /^DATA_DIR must be shorter: the path of a Unix socket has at most 10[37] bytes, /,
    );
    expect(await readdir(dataDir)).toEqual([]);
  });

  it("takes the longest DATA_DIR that a Unix socket's path can have", async () => {
    const dataDir = await temporaryDataDir();
    const maxBytes = process.platform === "linux" ? 107 : 103;
    const longest = join(
      dataDir,
      "d".repeat(maxBytes - join(dataDir, "x", "redis", "redis.sock").length + 1),
    );
    const redis = embeddedRedis(longest);
    await redis.start();
    expect(redis.socketPath).toHaveLength(maxBytes);
    expect(await clientOf(redis).ping()).toBe("PONG");
    await redis.stop();
  });

  it("shows what redis-server logged when its append-only file is broken", async () => {
    const dataDir = await temporaryDataDir();
    const first = embeddedRedis(dataDir);
    await first.start();
    await clientOf(first).set("key", "value");
    await first.stop();
    const files = join(dataDir, "redis", "appendonlydir");
    const appended = (await readdir(files)).find((name) => name.endsWith(".incr.aof"));
    await writeFile(join(files, appended!), "this is no append-only file\n");

    const message = await failure(embeddedRedis(dataDir));
    expect(message).toContain("redis-server ended while starting (exit code 1). The last lines of ");
    expect(message).toContain("Bad file format reading the append only file");
    expect(message).not.toContain("Creating AOF"); // What the first one had logged.
    expect(message).toContain(`redis-check-aof --fix ${join(files, "appendonly.aof.manifest")}`);
    expect(await redisPids(dataDir)).toEqual([]);
  });

  it("shows what a redis-server said that does not know its options", async () => {
    const dataDir = await temporaryDataDir();
    const message = await failure(
      embeddedRedis(
        dataDir,
        await programInPlaceOfRedis(dataDir, 'exec redis-server "$@" --no-such-option 1'),
      ),
    );
    expect(message).toContain("no-such-option");
  });
});

/** What is said, without a stack, when it cannot be started. */
async function failure(redis: EmbeddedRedisUnderTest): Promise<string> {
  const error = await redis.start().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StartError);
  await redis.stop();
  return (error as StartError).message;
}
