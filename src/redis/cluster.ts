import { Cluster, type Redis, type RedisOptions } from "ioredis";
import type { Logger } from "../runtime/logger.ts";
import type { OutageLog } from "../runtime/outage-log.ts";
import { nodeAccess, redisOptions } from "../settings/redis-url.ts";
import { serverName } from "../settings/tls-options.ts";
import { createDisconnectionLog } from "./outages.ts";

export interface ClusterOptions {
  /** Some of its nodes, from which the others are learned; all with the same scheme, user and password. */
  readonly urls: readonly string[];
  /** For the connection to each node. */
  readonly redisOptions: Omit<RedisOptions, "replyMapping">;
  /** Shown in our log. */
  readonly name: string;
  readonly logger: Logger;
}

/** How often is asked who serves what, also when no command has found out that it changed. */
const refreshEveryMs = 2_000;
/**
 * Of one command, also while its slot moves: then it is refused until all its keys have moved. Each try may be redirected
 * twice, and the command's own time limit comes first.
 */
const maxRedirections = 100;
const slotCount = 16_384;

/**
 * A client of a Redis Cluster that is not connected yet. Each command behaves as {@link createRedis} says: it fails at
 * once while its node is unreachable, gets an answer within the time limit of one command, and is never sent again when
 * it may have run. A command that a node refuses because its slot has moved, or is moving, goes to the node that the
 * refusal names.
 *
 * The event `node ready` says that a node has a new connection, or has taken over from another: it may have lost writes.
 */
export function createCluster({ urls, redisOptions, name, logger }: ClusterOptions): Cluster {
  const cluster = new FailFastCluster(urls.map(hostOf), {
    lazyConnect: true,
    // Else `connect` would never settle when the cluster is there, but does not serve; we ask that ourselves.
    enableReadyCheck: false,
    // Names of nodes are resolved when a connection is made, so that TLS can compare them with the certificates.
    dnsLookup: (host, callback) => callback(null, host),
    clusterRetryStrategy: (attempt) => Math.min(50 * 2 ** Math.min(attempt, 5), 1_000),
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    retryDelayOnTryAgain: 50,
    maxRedirections,
    slotsRefreshInterval: refreshEveryMs,
    redisOptions: { ...redisOptions, ...accessOf(urls[0] ?? "") },
  });
  // Before it connects, and before any command can reach it.
  cluster.on("+node", nameServer);
  cluster.on("+node", neverSendLate);
  emitNodeReady(cluster);
  logDisconnections(cluster, name, logger);
  return cluster;
}

/** @throws Error unless each slot has a master that answers us, and sees all slots served. */
export async function assertClusterServes(cluster: Cluster): Promise<void> {
  const masters = cluster.nodes("master");
  const connected = new Set(masters.map(nodeOf));
  const away = new Set(cluster.slots.flatMap(([master]) => (connected.has(master ?? "") ? [] : [master])));
  if (away.size > 0) throw new Error(`no connection to ${[...away].join(", ")}`);
  const infos = await Promise.all(masters.map((master) => master.cluster("INFO")));
  if (!infos.every((info) => String(info).includes(`\ncluster_slots_ok:${slotCount}\r`))) {
    throw new Error("not all slots of the Redis Cluster are served");
  }
}

/** Has a connection that is closed go to another node when it connects the next time: its own may be dead, or hang. */
export function connectElsewhere(redis: Redis, cluster: Cluster): void {
  const others = cluster.nodes("master").filter((node) => nodeOf(node) !== nodeOf(redis));
  const next = others[Math.floor(Math.random() * others.length)];
  if (next === undefined) return;
  const { host, port } = next.options;
  Object.assign(redis.options, { host, port });
  nameServer(redis);
}

/** Over TLS a node gets its own name (SNI): the options are those of all nodes. */
function nameServer({ options }: Redis): void {
  if (options.tls === undefined) return;
  const { servername: _, ...ofAllNodes } = options.tls;
  options.tls = { ...ofAllNodes, ...serverName(options.host ?? "") };
}

class FailFastCluster extends Cluster {
  /** While no node is known a command would wait for one with no limit, or end the wait for the first connection. */
  override sendCommand(...args: Parameters<Cluster["sendCommand"]>): unknown {
    const [command] = args;
    if (this.status === "ready") return super.sendCommand(...args);
    command.reject(new Error("no node of the Redis Cluster answers"));
    return command.promise;
  }
}

/**
 * ioredis goes on redirecting a command, or sends it when a connection has opened, though its time limit has passed: it would
 * run after its caller got an error. And no caller gets the error when the ASKING in front of a redirected command fails,
 * which would end the process; the command itself fails with it.
 */
function neverSendLate(node: Redis): void {
  const { sendCommand, asking } = node;
  node.sendCommand = (command, stream) =>
    command.isSettled ? command.promise : sendCommand.call(node, command, stream);
  node.asking = (...args) => asking.apply(node, args).catch(() => "OK");
}

function emitNodeReady(cluster: Cluster): void {
  const emit = () => cluster.emit("node ready");
  cluster.on("+node", (node: Redis) => node.on("ready", emit));
  let masters = new Set<string>();
  cluster.on("refresh", () => {
    const before = masters;
    masters = new Set(cluster.nodes("master").map(nodeOf));
    // It may have been connected to as a replica.
    if (!masters.isSubsetOf(before)) emit();
  });
}

/** Logs which node is away that we need, or that all are; and the end of that: it is back, or no longer needed. */
function logDisconnections(cluster: Cluster, connection: string, logger: Logger): void {
  const ofAll = createDisconnectionLog(connection, logger);
  const ofNodes = createNodeLogs((name) => createDisconnectionLog(`${connection} ${name}`, logger));
  let wasReady = false;
  /** The masters; null until they are known. */
  let needed: ReadonlySet<string> | null = null;

  cluster.on("+node", (node: Redis) => {
    const outage = ofNodes.of(nodeOf(node));
    node.on("error", (error: Error) => {
      // The error of a first attempt goes to the caller that opens the connection. A master that a replica has followed
      // is listed, and connected to, for as long as it fails.
      if (wasReady && needed?.has(nodeOf(node)) !== false) outage.failed(error);
    });
    node.on("ready", outage.recovered);
  });
  cluster.on("refresh", () => {
    needed = new Set(cluster.nodes("master").map(nodeOf));
    ofNodes.keep(needed, new Set([...cluster.nodes("all").map(nodeOf), ...cluster.slots.flat()]));
  });
  cluster.on("reconnecting", () => wasReady && ofAll.failed("no node answers"));
  cluster.on("ready", () => {
    wasReady = true;
    ofAll.recovered();
  });
  // Without a listener ioredis prints that no node answers, every time that it has tried all.
  cluster.on("error", () => {});
}

/** The log of each node by its address, which outlives connections to it. */
export interface NodeLogs {
  of(name: string): OutageLog;
  /** Ends the outage of nodes that are not needed, and forgets those that the cluster does not list any more. */
  keep(needed: ReadonlySet<string>, listed: ReadonlySet<string>): void;
  /** How many there are. */
  readonly size: number;
}

export function createNodeLogs(create: (name: string) => OutageLog): NodeLogs {
  const logs = new Map<string, OutageLog>();
  return {
    of(name) {
      const log = logs.get(name) ?? create(name);
      logs.set(name, log);
      return log;
    },
    keep(needed, listed) {
      for (const [name, log] of logs) {
        if (!needed.has(name)) log.recovered();
        // Nodes in containers have another address after each start.
        if (!needed.has(name) && !listed.has(name)) logs.delete(name);
      }
    },
    get size() {
      return logs.size;
    },
  };
}

/** As {@link Cluster.slots} has it. */
function nodeOf({ options: { host, port } }: Redis): string {
  return `${host}:${port}`;
}

function hostOf(url: string): { readonly host: string; readonly port: number } {
  const { host = "", port = 6379 } = redisOptions(url);
  return { host, port };
}

function accessOf(url: string): Pick<RedisOptions, "username" | "password" | "tls"> {
  return nodeAccess(redisOptions(url));
}
