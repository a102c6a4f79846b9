import { appendFile, readdir, readFile, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { clientOf, embeddedRedis, temporaryDataDir } from "../support/embedded-redis.ts";
import { ask, startApp } from "../support/server.ts";

/** The file that redis-server appends to, after `key` was set to `value` in two commands and it was stopped. */
async function writtenFile(dataDir: string, othersLastMs = 200): Promise<string> {
  const redis = embeddedRedis(dataDir);
  await redis.start();
  const commands = clientOf(redis).pipeline();
  for (let i = 0; i < 200; i++) commands.set(`${i}`, "", "PX", othersLastMs);
  await commands.set("key", "old").set("key", "value").exec();
  await redis.stop();
  const directory = join(dataDir, "redis", "appendonlydir");
  const name = (await readdir(directory)).find((file) => file.endsWith(".incr.aof"));
  const path = join(directory, name!);
  // On a busy machine some expire before, and that is appended: then all is written again, for longer.
  if (!(await readFile(path, "utf8")).endsWith("\r\nvalue\r\n")) {
    await rm(join(dataDir, "redis"), { recursive: true });
    return await writtenFile(dataDir, 2 * othersLastMs);
  }
  // Once they have expired, redis-server appends that as soon as it has loaded them.
  await sleep(othersLastMs + 100);
  return path;
}

describe("an append-only file whose end was damaged by a power failure", () => {
  it.each([
    { zeros: 1, cut: 0, value: "value", logged: { zeroBytes: 1 }, why: "one zero behind whole commands" },
    { zeros: 4096, cut: 0, value: "value", logged: { zeroBytes: 4096 }, why: "a page of zeros" },
    {
      zeros: 200_000,
      cut: 0,
      value: "value",
      logged: { zeroBytes: 200_000 },
      why: "more than is read at once",
    },
    { zeros: 0, cut: 4, value: "old", logged: { bytes: 29 }, why: "half a command at the end" },
    { zeros: 512, cut: 4, value: "old", logged: { bytes: 29 }, why: "half a command, then zeros" },
  ])("is read up to there, and the log says what was cut: $why", async ({ zeros, cut, value, logged }) => {
    const dataDir = await temporaryDataDir();
    const path = await writtenFile(dataDir);
    const whole = (await stat(path)).size;
    if (cut > 0) await truncate(path, whole - cut);
    await appendFile(path, Buffer.alloc(zeros));

    const redis = embeddedRedis(dataDir);
    await redis.start();
    expect(await clientOf(redis).get("key")).toBe(value);
    const warnings = redis.log.filter(({ level }) => level === "warn");
    expect(warnings.map(({ message }) => message)).toEqual([
      ...(zeros > 0 ? [expect.stringMatching(/^cut zeros from the end/)] : []),
      ...(cut > 0 ? [expect.stringMatching(/^redis-server cut an incomplete command/)] : []),
    ]);
    expect(warnings.at(-1)?.fields).toMatchObject({ path, ...logged });
    await redis.stop();
    expect((await readFile(path)).includes(0)).toBe(false);
  });

  it.each([
    { zeros: 0, accuracy: "EXACT", why: "it is whole" },
    { zeros: 4096, accuracy: "INCOMPLETE", why: "what was written there may have been of any queue" },
  ])("of $zeros zeros makes every recorded queue $accuracy: $why", async ({ zeros, accuracy }) => {
    const dataDir = await temporaryDataDir();
    const first = await startApp({ DATA_DIR: dataDir });
    const events = ["a", "b"].map((queue) => `{ type: ENQUEUED, queue: "${queue}", jobId: "1" }`).join();
    await ask(first.url, `mutation { recordEvents(events: [${events}]) { accepted } }`);
    await first.stop();
    const directory = join(dataDir, "redis", "appendonlydir");
    const name = (await readdir(directory)).find((file) => file.endsWith(".incr.aof"));
    await appendFile(join(directory, name!), Buffer.alloc(zeros));

    await using second = await startApp({ DATA_DIR: dataDir });
    const answer = await ask(second.url, `{ queueLatency(queues: ["a", "b", "c"]) { depth accuracy } }`);
    expect(answer.body.data.queueLatency).toEqual([
      { depth: 1, accuracy },
      { depth: 1, accuracy },
      { depth: null, accuracy: "UNKNOWN" },
    ]);
  });

  it("is left alone when it is whole, whatever zeros are in its values", async () => {
    const dataDir = await temporaryDataDir();
    const path = await writtenFile(dataDir);
    const redis = embeddedRedis(dataDir);
    await redis.start();
    await clientOf(redis).set("zeros", Buffer.alloc(100));
    await redis.stop();
    const before = await readFile(path);
    const again = embeddedRedis(dataDir);
    await again.start();
    expect(again.log.filter(({ level }) => level === "warn")).toEqual([]);
    expect(await clientOf(again).getBuffer("zeros")).toEqual(Buffer.alloc(100));
    await again.stop();
    expect(await readFile(path)).toEqual(before);
  });

  it("keeps the server from starting when other bytes are wrong, with the command that repairs it", async () => {
    const dataDir = await temporaryDataDir();
    const path = await writtenFile(dataDir);
    await appendFile(path, "garbage\r\nof another file\r\n");
    const before = await readFile(path);
    await expect(embeddedRedis(dataDir).start()).rejects.toThrow(
      /The append-only file is damaged\. Copy .*redis-check-aof --fix .*appendonly\.aof\.manifest/s,
    );
    expect(await readFile(path)).toEqual(before);
  });
});
