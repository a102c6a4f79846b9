import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { QueueEvent } from "../../src/core/events.ts";
import { createChangeFeed } from "../../src/live/change-feed.ts";
import { createConnections, type RedisConnections } from "../../src/redis/connections.ts";
import { createKeys, type Keys } from "../../src/redis/keys.ts";
import { createTracker, type Tracker } from "../../src/tracker/tracker.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { startCluster, type TestCluster } from "../support/cluster.ts";
import { recordingLogger, silentLogger } from "../support/logger.ts";
import { startRedis, type TestRedis, uniquePrefix } from "../support/redis.ts";
import { allParts } from "../support/tracker.ts";
import { until } from "../support/until.ts";

let cluster: TestCluster;
let connections: RedisConnections;
let logger: ReturnType<typeof recordingLogger>;
let keys: Keys;
let tracker: Tracker;

beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster?.stop());
beforeEach(async () => {
  logger = recordingLogger();
  connections = createConnections({ urls: cluster.url.split(","), logger });
  await connections.start();
  keys = createKeys(uniquePrefix());
  tracker = createTracker({
    ...{ redis: connections.commands, keys, logger: silentLogger },
    ...{ eventWindowMs: 60_000, maxWaitMs: 60_000 },
  });
});
afterEach(async () => {
  await connections.stop();
  for (const node of cluster.nodes) {
    if (node.isAlive) process.kill(node.pid, "SIGCONT");
    else await node.restart();
  }
  await cluster.setNodeTimeout(60_000);
  await cluster.settle();
});

const record = (queue: string, jobId = "job") => {
  const event: QueueEvent = { type: "ENQUEUED", queue, jobId, attempt: 0, atMs: null, availableAtMs: null };
  return tracker.record([event], null);
};
const depthOf = async (queue: string) => (await tracker.read([queue], allParts))[0]?.depth;
const unavailable = { code: "SERVICE_UNAVAILABLE" };

/** The name of a queue whose master is this one, or is not. */
async function queueOf(master: TestRedis, isIt = true): Promise<string> {
  for (let i = 0; i < 1_000; i++) {
    if (((await cluster.masterOf(keys.state(`q${i}`))) === master) === isIt) return `q${i}`;
  }
  throw new Error("there is none");
}

/** A queue, its master, which has the index of all queues, too, and another master. */
async function aQueue(): Promise<{ queue: string; master: TestRedis; other: TestRedis }> {
  const master = await cluster.masterOf(keys.index);
  const other = await cluster.masterOf(keys.state(await queueOf(master, false)));
  return { queue: await queueOf(master), master, other };
}

/** What the log says of a node, or of all of them, being away. */
const saidOf = (node?: TestRedis) =>
  logger.lines
    .filter(({ level }) => level !== "debug")
    .filter(({ fields }) => fields.connection === (node ? `commands 127.0.0.1:${node.port}` : "commands"))
    .map(({ message }) => message)
    .filter((message) => /^Redis (un)?reachable/.test(message));

describe("a slot that moves", () => {
  it.each([
    { jobs: ["before"], why: "some of its keys are there, and some are nowhere" },
    { jobs: [], why: "none of its keys is anywhere" },
  ])("fails nothing that is asked meanwhile, though neither node can answer it: $why", async ({ jobs }) => {
    const { queue, other } = await aQueue();
    for (const job of jobs) await record(queue, job);
    const move = await cluster.beginMove(keys.state(queue), other);
    const asked = [record(queue, "while"), depthOf(queue)];
    // Later than they have been asked for.
    await depthOf(await queueOf(other));
    await move.finish();
    await Promise.all(asked);
    expect(await depthOf(queue)).toBe(jobs.length + 1);
    expect(await cluster.masterOf(keys.state(queue))).toBe(other);
  });

  it("refuses within two seconds what cannot be sent meanwhile, and does not apply it later", async () => {
    const { queue, other } = await aQueue();
    await record(queue, "before");
    const move = await cluster.beginMove(keys.state(queue), other);
    const startedAtMs = performance.now();
    await expect(record(queue, "refused")).rejects.toMatchObject(unavailable);
    expect(performance.now() - startedAtMs).toBeLessThan(onThisMachine(2_000));
    await move.finish();
    for (let i = 0; i < 20; i++) await record(queue, "after");
    expect(await depthOf(queue)).toBe(2);
  });

  it("to a node that hangs fails what asks for it, and nothing else", async () => {
    const { queue, other } = await aQueue();
    const move = await cluster.beginMove(keys.state(queue), other);
    process.kill(other.pid, "SIGSTOP");
    // The key is not there, so it can only be where the slot goes.
    await expect(connections.commands.get(keys.state(queue))).rejects.toThrow("timed out");
    process.kill(other.pid, "SIGCONT");
    await move.finish();
    expect(await connections.commands.get(keys.state(queue))).toBeNull();
  });
});

describe("a master that is away", () => {
  it("fails those who ask for its queues at once, and those who ask for others not at all", async () => {
    const { queue, master } = await aQueue();
    const sound = await queueOf(master, false);
    for (const each of [queue, sound]) await record(each);
    await master.kill();
    for (let i = 0; i < 10; i++) {
      const startedAtMs = performance.now();
      const [ofIts, ofOthers] = await Promise.allSettled([depthOf(queue), depthOf(sound)]);
      expect(ofIts).toMatchObject({ reason: unavailable });
      expect(ofOthers).toMatchObject({ value: 1 });
      expect(performance.now() - startedAtMs).toBeLessThan(onThisMachine(500));
    }
    await expect(connections.assertServes()).rejects.toThrow();
    await until(() => expect(saidOf(master)).toEqual(["Redis unreachable"]));
    await master.restart();
    await until(async () => expect(await depthOf(queue)).toBe(0));
    await until(() => expect(saidOf(master)).toEqual(["Redis unreachable", "Redis reachable again"]));
  });

  it("is not sent again what was on its way to it when it died", async () => {
    const { queue, master } = await aQueue();
    const key = keys.state(queue);
    await connections.commands.set(key, "before");
    await cluster.replicate(master);
    // A busy machine is not to look dead.
    await cluster.setNodeTimeout(3_000);
    process.kill(master.pid, "SIGSTOP");
    const lost = connections.commands.append(key, " and after");
    await Promise.all([expect(lost).rejects.toThrow("Connection is closed"), master.kill()]);
    await until(async () => expect(await connections.commands.get(key)).toBe("before"));
  });

  it("and hangs fails within two seconds what asks for its queues, and works when it goes on", async () => {
    const { queue, master } = await aQueue();
    await record(queue);
    process.kill(master.pid, "SIGSTOP");
    const startedAtMs = performance.now();
    await Promise.all([
      expect(record(queue, "late")).rejects.toMatchObject(unavailable),
      expect(connections.assertServes()).rejects.toThrow(),
    ]);
    expect(performance.now() - startedAtMs).toBeLessThan(onThisMachine(2_000));
    process.kill(master.pid, "SIGCONT");
    // It had arrived there: it was applied, but not acknowledged.
    await until(async () => expect(await depthOf(queue)).toBe(2));
  });

  it.each([
    { how: "is killed", signal: "SIGKILL" },
    { how: "hangs", signal: "SIGSTOP" },
  ] as const)("permanently, since it $how, is followed by its replica", async ({ signal }) => {
    const { queue, master } = await aQueue();
    await record(queue);
    await cluster.replicate(master);
    // A busy machine is not to look dead.
    await cluster.setNodeTimeout(3_000);
    process.kill(master.pid, signal);
    await until(() => record(queue, "later"));
    // What one node has learned, another may not know yet.
    await until(async () => expect(await depthOf(queue)).toBe(2));
    await until(() => connections.assertServes());
    await until(() => expect(saidOf(master)).toEqual(["Redis unreachable", "Redis reachable again"]));
  });
});

it("a queue of which a master died with what its replica never received says so by itself", async () => {
  const { queue, master } = await aQueue();
  await tracker.start();
  const control = cluster.control(master);
  try {
    await record(queue, "known");
    await cluster.replicate(master);
    await control.config("SET", "requirepass", "not for replicas");
    await control.call("CLIENT", "KILL", "TYPE", "replica");
    await record(queue, "lost");
    await master.kill();
    await cluster.takeOver(master);
    const heir = cluster.control(await cluster.masterOf(keys.state(queue)));
    // No client reads the queue through the server that was answered.
    await until(async () => {
      expect(await heir.hget(keys.state(queue), "doubt")).not.toBeNull();
    });
    expect(await tracker.read([queue], allParts)).toMatchObject([{ depth: 1, accuracy: "INCOMPLETE" }]);
  } finally {
    await tracker.stop();
  }
});

it("a slot that no node serves is reported, though every master answers", async () => {
  const { queue, master } = await aQueue();
  const control = cluster.control(master);
  const slot = await control.cluster("KEYSLOT", keys.state(queue));
  await control.cluster("DELSLOTS", slot);
  await expect(connections.assertServes()).rejects.toThrow("not all slots");
  await control.cluster("ADDSLOTS", slot);
  await connections.assertServes();
});

it("all nodes away, and back: is said once each, and everything is served again", async () => {
  await Promise.all(cluster.nodes.map((node) => node.kill()));
  await until(async () => {
    await expect(record("q")).rejects.toMatchObject(unavailable);
    expect(saidOf()).toEqual(["Redis unreachable"]);
  });
  await Promise.all(cluster.nodes.map((node) => node.restart()));
  await until(() => record("q"));
  await until(() => connections.assertServes());
  expect(await depthOf("q")).toBe(1);
  await until(() => expect(saidOf()).toEqual(["Redis unreachable", "Redis reachable again"]));
});

describe("the change feed", () => {
  it.each([
    { how: "is killed", signal: "SIGKILL" },
    { how: "hangs", signal: "SIGSTOP" },
  ] as const)("is received at another node when its own $how", async ({ signal }) => {
    const received: string[] = [];
    const { changes } = connections;
    const feed = createChangeFeed({ redis: changes, channel: keys.changes, pingEveryMs: 200 });
    const onConnected = vi.fn();
    feed.listen({ onChange: (queue) => received.push(queue), onConnected, onDisconnected() {} });
    await feed.start();
    try {
      const node = cluster.nodes.find(({ port }) => port === changes.options.port)!;
      const other = await cluster.masterOf(keys.state(await queueOf(node, false)));
      await cluster.control(other).publish(keys.changes, "before");
      await until(() => expect(received).toEqual(["before"]));
      process.kill(node.pid, signal);
      await until(() => expect(onConnected).toHaveBeenCalledTimes(2));
      await cluster.control(other).publish(keys.changes, "after");
      await until(() => expect(received).toEqual(["before", "after"]));
    } finally {
      await feed.stop();
    }
  });
});

describe("the start", () => {
  async function startAt(...urls: readonly string[]): Promise<void> {
    const another = createConnections({ urls, logger: silentLogger });
    try {
      await another.start();
    } finally {
      await another.stop();
    }
  }
  const closedPort = "redis://127.0.0.1:1";
  const urls = () => cluster.url.split(",");

  it("needs one of the nodes that are named, and finds the others", async () => {
    await startAt(closedPort, urls()[4]!);
  });

  it("needs every slot to be served", async () => {
    const { master } = await aQueue();
    await master.kill();
    await expect(startAt(...urls())).rejects.toThrow(new RegExp(`${master.port}.*REDIS_URL`));
  });

  it("lets itself in at the nodes that are not named as at those that are", async () => {
    const setPassword = (password: string) =>
      Promise.all(cluster.nodes.map((node) => cluster.control(node).config("SET", "requirepass", password)));
    await setPassword("pass,word");
    try {
      const named = urls().slice(0, 2);
      await startAt(...named.map((url) => url.replace("//", "//:pass,word@")));
      await expect(startAt(...named.map((url) => url.replace("//", "//:wrong@")))).rejects.toThrow(
        /WRONGPASS/,
      );
      await expect(startAt(...named)).rejects.toThrow(/NOAUTH/);
    } finally {
      await setPassword("");
    }
  });

  it("is refused when one node of a cluster is named as if it were one Redis", async () => {
    await expect(startAt(urls()[0]!)).rejects.toThrow(/is one node of a Redis Cluster.*several/);
  });

  it("is refused when several are named that are no cluster", async () => {
    await using one = await startRedis();
    await using other = await startRedis();
    await expect(startAt(one.url, other.url)).rejects.toThrow(/cluster support disabled.*REDIS_URL/);
  });

  it("is refused when none of the nodes answers", async () => {
    await expect(startAt(closedPort, closedPort)).rejects.toThrow(/127\.0\.0\.1:1.*REDIS_URL/);
  });
});
