import { Cluster, Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { bullmqVersions, openQueue, type TestQueue } from "../support/bullmq.ts";
import { jobs, useBullmqSource } from "../support/bullmq-source.ts";
import { startCluster } from "../support/cluster.ts";
import { recordingLogger } from "../support/logger.ts";
import { startRedis } from "../support/redis.ts";
import { until } from "../support/until.ts";

const bullmqSource = useBullmqSource();
const { follow, snapshot, agree } = bullmqSource;
const [five, six] = bullmqVersions.map(({ bullmq }) => bullmq);

describe("the source of BullMQ", () => {
  test("reads only the queues that its URL names, and looks through no keys", async () => {
    await using own = await startRedis();
    const [named, later, other] = await openAll(own, ["named", "later", "other"]);
    await Promise.all([named, other].map((queue) => queue!.queue.addBulk(jobs(2))));
    await later!.queue.obliterate({ force: true });
    await follow({ url: `${own.url}?queues=named,later` });
    await agree(named!, { depth: 2 });
    await later!.queue.addBulk(jobs(3));
    await agree(later!, { depth: 3 });
    expect(await snapshot(other!)).toMatchObject({ state: "MISSING" });
    const client = bullmqClient(own.url);
    expect(await client.info("commandstats")).not.toContain("cmdstat_scan:");
  });

  test("reads the named queues that it may look for, and logs once that it may not look for others", async () => {
    await using own = await startRedis();
    const [first] = await openAll(own, ["first"]);
    await first!.queue.addBulk(jobs(2));
    const at = bullmqClient(own.url);
    await at.acl("SETUSER", "default", "resetkeys", "~bull:first:*");
    const logger = recordingLogger();
    await follow({ url: `${own.url}?queues=first,second`, logger });
    await agree(first!, { depth: 2 });
    const logged = () => logger.lines.filter(({ level }) => level !== "debug");
    const refused = "EXISTS refused: some of the queues in ?queues= are not read";
    await until(async () => expect(logged()).toMatchObject([{ level: "warn", message: refused }]));
    await at.acl("SETUSER", "default", "allkeys");
    const allowed = "EXISTS allowed again: all queues in ?queues= are read";
    await until(async () => expect(logged().map(({ message }) => message)).toEqual([refused, allowed]));
  });

  test.each([
    { what: "a Redis with no queue", parameters: "", hint: "no key is named bull:NAME:meta" },
    { what: "another prefix", parameters: "?prefix=other", hint: "no key is named other:NAME:meta" },
    { what: "names of queues that there are not", parameters: "?queues=a,b", hint: "none of a, b exists" },
  ])("logs once that its URL leads to no queue: $what", async ({ parameters, hint }) => {
    await using own = await startRedis();
    const logger = recordingLogger();
    await follow({ url: own.url + parameters, logger });
    const logged = () => logger.lines.filter(({ level }) => level !== "debug");
    await until(async () => expect(logged()).not.toEqual([]));
    expect(logged()).toMatchObject([
      { level: "warn", message: "no queues found", fields: { err: expect.stringContaining(hint) } },
    ]);
    const prefix = parameters.includes("prefix") ? { prefix: "other" } : {};
    await using queue = await openQueue(six!, own, { name: "a", ...prefix });
    await queue.queue.addBulk(jobs(2));
    await agree(queue, { depth: 2 });
    expect(logged().map(({ message }) => message)).toEqual(["no queues found", "queues found"]);
  });

  test("finds a new queue within seconds among 100,000 keys, in few steps", async () => {
    await using own = await startRedis({ args: ["--enable-debug-command", "yes"] });
    const client = bullmqClient(own.url);
    await client.call("DEBUG", "POPULATE", 100_000, "bull:old:job", 64);
    await follow({ url: own.url });
    const [first] = await openAll(own, ["first"]);
    await first!.queue.addBulk(jobs(1));
    await agree(first!, { depth: 1 });
    await client.config("RESETSTAT");
    const resetAtMs = performance.now();
    const [second] = await openAll(own, ["second"]);
    await second!.queue.addBulk(jobs(1));
    await agree(second!, { depth: 1 });
    const [, calls] = /cmdstat_scan:calls=(\d+)/.exec(await client.info("commandstats")) ?? [];
    // 25 steps are all keys, which are looked through once a second.
    const seconds = (performance.now() - resetAtMs) / 1_000;
    expect(Number(calls)).toBeLessThan(25 * (seconds + 2));
  });

  test("reads the queues of all nodes of a Redis Cluster of which one is named", async () => {
    await using cluster = await startCluster();
    const nodes = cluster.url.split(",");
    const logger = recordingLogger();

    const connection = new Cluster(nodes);
    connection.on("error", () => {});
    onTestFinished(() => connection.disconnect());
    // Each queue has a slot of its own, or all have the same.
    const names = Array.from({ length: 6 }, (_, i) => `{q${i}}`);
    const queues = names.map((name) => new six!.Queue(name, { connection: connection as never }));
    const tagged = new five!.Queue("tagged", { connection: connection as never, prefix: "{all}" });
    onTestFinished(() => Promise.all([...queues, tagged].map((queue) => queue.close())).then(() => {}));
    await Promise.all(queues.map((queue, i) => queue.addBulk(jobs(i + 1))));
    await tagged.addBulk(jobs(9));
    await follow({ url: `${nodes[0]}/`, logger });
    await follow({ url: `${nodes[1]}/?prefix=%7Ball%7D`, source: "tagged" });
    for (const [i, name] of names.entries()) {
      await until(async () => expect(await snapshot({ name })).toMatchObject({ depth: i + 1, stale: false }));
    }
    await until(async () =>
      expect(await snapshot(tagged, "tagged")).toMatchObject({ depth: 9, accuracy: "EXACT" }),
    );
    await queues[2]!.drain();
    await until(async () => expect(await snapshot({ name: names[2]! })).toMatchObject({ depth: 0 }));
    expect(logger.lines.filter(({ level }) => level !== "debug")).toEqual([]);
  });
});

async function openAll(redis: { readonly port: number }, names: readonly string[]): Promise<TestQueue[]> {
  return await Promise.all(
    names.map(async (name) => {
      const queue = await openQueue(six!, redis, { name });
      onTestFinished(() => queue[Symbol.asyncDispose]());
      return queue;
    }),
  );
}

function bullmqClient(url: string): Redis {
  const client = new Redis(url);
  onTestFinished(() => client.disconnect());
  return client;
}
