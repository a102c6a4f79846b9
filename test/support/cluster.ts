import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { startRedis, type TestRedis } from "./redis.ts";
import { hangsAfterMs } from "./until.ts";

/** A real Redis Cluster of three masters with a replica each, on loopback. */
export interface TestCluster extends AsyncDisposable {
  /** All of its nodes, as REDIS_URL wants them. */
  readonly url: string;
  /** At first three masters, then their replicas in the same order. */
  readonly nodes: readonly TestRedis[];
  /** The node that serves a key now, even when it is dead. */
  masterOf(key: string): Promise<TestRedis>;
  /** Has another master serve the slot of a key, and moves all that is in it; resolves when every master knows. */
  move(key: string, to: TestRedis): Promise<void>;
  /** Begins to, with the keys where they are: what needs more than one key of the slot is refused until it is finished. */
  beginMove(key: string, to: TestRedis): Promise<{ finish(): Promise<void> }>;
  /** Resolves when a master has sent its replica all that it has acknowledged: then it may die. */
  replicate(master: TestRedis): Promise<void>;
  /** Has the replica of a master that is dead take over from it at once, however short it has been dead. */
  takeOver(master: TestRedis): Promise<void>;
  /** How long a node must be silent to count as dead, from now on. */
  setNodeTimeout(ms: number): Promise<void>;
  /** Resolves when every node that lives sees all slots served by masters that live, with replicas if all live. */
  settle(): Promise<void>;
  /** On one node, by a connection of the test's own. */
  control(node: TestRedis): Redis;
  stop(): Promise<void>;
}

export interface TestClusterOptions {
  /**
   * How long a node must be silent to count as dead. Short only where a replica is to take over: a busy machine may look
   * dead, too.
   *
   * @default 60_000 // a minute
   */
  readonly nodeTimeoutMs?: number;
  /** More options of redis-server's command line. */
  readonly args?: readonly string[];
}

const masterCount = 3;
const slotCount = 16_384;
/** Short, so that nodes send each other quickly what they know. */
const timeoutWhileJoiningMs = 1_000;

/** Starts six nodes and joins them; resolves when each of them sees the whole cluster as it should be. */
export async function startCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const args = [
    ...["--cluster-enabled", "yes", "--cluster-node-timeout", String(timeoutWhileJoiningMs)],
    // A replica takes over however long it has received nothing from its master, and is known as soon as it has caught up.
    ...["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"],
    ...["--repl-ping-replica-period", "1", ...(options.args ?? [])],
  ];
  const starts = await Promise.allSettled(
    Array.from({ length: 2 * masterCount }, () => startRedis({ args })),
  );
  const nodes = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  const clients = new Map(nodes.map((node) => [node, new Redis(node.url, { retryStrategy: () => 50 })]));
  // Nodes are killed: a client of one that is dead gets an error.
  for (const client of clients.values()) client.on("error", () => {});
  const control = (node: TestRedis) => clients.get(node)!;
  const living = () => nodes.filter(({ isAlive }) => isAlive);
  const setNodeTimeout = async (ms: number) => {
    for (const node of living()) await control(node).config("SET", "cluster-node-timeout", ms);
  };
  const stop = async () => {
    for (const client of clients.values()) client.disconnect();
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    const failed = starts.find((start) => start.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    await join(nodes.map(control));
    await setNodeTimeout(options.nodeTimeoutMs ?? 60_000);
  } catch (error) {
    await stop();
    throw error;
  }
  async function ask(...command: (string | number)[]): Promise<unknown> {
    const [node] = living();
    return await control(node!).call("CLUSTER", ...command.map(String));
  }

  async function masterOfSlot(slot: number): Promise<TestRedis> {
    const ranges = (await ask("SLOTS")) as SlotRange[];
    const port = ranges.find(([from, to]) => from <= slot && slot <= to)?.[2][1];
    return nodes.find((node) => node.port === port)!;
  }

  async function beginMove(key: string, to: TestRedis) {
    const slot = Number(await ask("KEYSLOT", key));
    const from = await masterOfSlot(slot);
    const [fromId, toId] = await Promise.all([from, to].map((node) => control(node).cluster("MYID")));
    await control(to).call("CLUSTER", "SETSLOT", slot, "IMPORTING", String(fromId));
    await control(from).call("CLUSTER", "SETSLOT", slot, "MIGRATING", String(toId));
    return {
      async finish() {
        for (;;) {
          const keys = (await control(from).call("CLUSTER", "GETKEYSINSLOT", slot, 10)) as string[];
          if (keys.length === 0) break;
          await control(from).call("MIGRATE", "127.0.0.1", to.port, "", 0, 5_000, "KEYS", ...keys);
        }
        // Who gets it first: should another fail, the slot is served all the same. Replicas get it from their masters.
        for (const node of [to, from, ...living()]) {
          const [role] = await control(node).role();
          if (role === "master") await control(node).call("CLUSTER", "SETSLOT", slot, "NODE", String(toId));
        }
      },
    };
  }

  return {
    url: nodes.map(({ url }) => url.replace(/\/$/, "")).join(","),
    nodes,
    control,
    masterOf: async (key) => await masterOfSlot(Number(await ask("KEYSLOT", key))),
    beginMove,
    move: async (key, to) => await (await beginMove(key, to)).finish(),
    async replicate(master) {
      const [, offset] = (await control(master).role()) as [string, number];
      await until(async () => {
        const replicas = /slave\d+:.*offset=(\d+)/.exec(await control(master).info("replication"));
        return Number(replicas?.[1]) >= offset;
      });
    },
    async takeOver(master) {
      const replicas = await Promise.all(
        living().map(async (node) => ({ node, role: (await control(node).role()) as unknown[] })),
      );
      const replica = replicas.find(({ role }) => role[0] === "slave" && role[2] === master.port);
      await control(replica!.node).cluster("FAILOVER", "TAKEOVER");
      await settle(living().map(control), nodes.length);
    },
    setNodeTimeout,
    settle: () => settle(living().map(control), nodes.length),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** First and last slot, then the nodes that have them, the master first. */
type SlotRange = [from: number, to: number, master: [host: string, port: number], ...replicas: unknown[]];

async function join(clients: readonly Redis[]): Promise<void> {
  const ids = await Promise.all(clients.map(async (client) => String(await client.cluster("MYID"))));
  const ports = clients.map(({ options }) => Number(options.port));
  await Promise.all(
    clients.map(async (client, i) => {
      await client.cluster("SET-CONFIG-EPOCH", i + 1);
      if (i < masterCount) await client.call("CLUSTER", "ADDSLOTSRANGE", ...slotsOf(i));
      // All with all: what nodes learn of each other by gossip alone takes seconds.
      await Promise.all(ports.map((port) => client.cluster("MEET", "127.0.0.1", port)));
    }),
  );
  await Promise.all(
    clients.map(async (client, i) => {
      // While they shake hands, nodes go by other names.
      await until(async () => {
        const known = String(await client.cluster("NODES")).split("\n");
        return ids.every((id) => known.some((line) => line.startsWith(id) && / connected/.test(line)));
      });
      if (i >= masterCount) await client.cluster("REPLICATE", ids[i - masterCount]!);
    }),
  );
  await settle(clients, clients.length);
}

function slotsOf(master: number): [from: number, to: number] {
  const from = (i: number) => Math.ceil((i * slotCount) / masterCount);
  return [from(master), from(master + 1) - 1];
}

/**
 * Resolves when every node that lives sees all slots served by masters that live, and when all do, each by one with a replica
 * that has caught up.
 */
async function settle(living: readonly Redis[], nodeCount: number): Promise<void> {
  const ports = living.map(({ options }) => options.port);
  const perRange = living.length === nodeCount ? 2 : 1;
  const isSettled = async (client: Redis) => {
    const [state, slots, info] = await Promise.all([
      client.cluster("INFO"),
      client.cluster("SLOTS") as Promise<unknown> as Promise<SlotRange[]>,
      client.info("replication"),
    ]);
    return (
      /cluster_state:ok/.test(String(state)) &&
      String(state).includes(`cluster_slots_ok:${slotCount}`) &&
      slots.every(([, , [, port], ...replicas]) => ports.includes(port) && replicas.length >= perRange - 1) &&
      (perRange === 1 || /role:master|master_link_status:up/.test(info)) &&
      !/state=(?!online)/.test(info)
    );
  };
  await Promise.all(living.map((client) => until(() => isSettled(client))));
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + hangsAfterMs;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error("the Redis Cluster was not as it should be in time");
    await delay(20);
  }
}
