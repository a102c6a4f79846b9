import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Cluster, Redis } from "ioredis";
import type { RedisClient } from "../../src/redis/connect.ts";
import { hangsAfterMs } from "./until.ts";

/** A real redis-server that belongs to one test (or to the whole run): no other process knows its port. */
export interface TestRedis extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now, or ran last: another one after `restart()`. */
  readonly pid: number;
  /** Whether it runs now. */
  readonly isAlive: boolean;
  /** Ends it and removes its directory; may be called again. */
  stop(): Promise<void>;
  /** Ends it, if it runs, and starts it on the same port and directory: what was appended is there, all else is gone. */
  restart(): Promise<void>;
  /** Ends it by SIGKILL, with no chance to say goodbye. */
  kill(): Promise<void>;
}

export interface TestRedisOptions {
  /** Keeps an append-only file, which has each write before it is answered, so that `restart()` finds all. @default false */
  readonly appendonly?: boolean;
  /** More options of redis-server's command line, such as `["--maxmemory", "2mb"]`. */
  readonly args?: readonly string[];
}

/** Starts a redis-server on a free port of 127.0.0.1, in a temporary directory; resolves when it answers. */
export async function startRedis(options: TestRedisOptions = {}): Promise<TestRedis> {
  const dir = await mkdtemp(join(tmpdir(), "ql-redis-"));
  const args = (port: number): readonly string[] => [
    ...["--port", String(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--logfile", ""],
    ...["--appendonly", options.appendonly === true ? "yes" : "no", "--appendfsync", "always"],
    ...(options.args ?? []),
  ];
  let port = 0;
  let child: ChildProcess;
  try {
    // Between finding a port free and binding it another process may take it: then another one is tried.
    child = await attempts(10, async () => {
      port = await freePort();
      return await launch(args(port));
    });
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
  // An operator who ends the test process in the middle of a test must not leave a redis-server behind.
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);

  const stop = async (): Promise<void> => {
    process.off("exit", killAtExit);
    await end(child, "SIGTERM");
    await rm(dir, { recursive: true, force: true });
  };
  return {
    url: `redis://127.0.0.1:${port}/`,
    port,
    get pid() {
      return child.pid ?? -1;
    },
    get isAlive() {
      return child.exitCode === null && child.signalCode === null;
    },
    stop,
    restart: async () => {
      await end(child, "SIGTERM");
      child = await attempts(10, () => launch(args(port)));
    },
    kill: () => end(child, "SIGKILL"),
    [Symbol.asyncDispose]: stop,
  };
}

/** A client that nothing under test uses, of one Redis or of a Redis Cluster. */
export function connectTo(redisUrl: string): RedisClient {
  const urls = redisUrl.split(",");
  return urls.length > 1 ? new Cluster(urls) : new Redis(redisUrl);
}

/** The one, or each of those that share the keys. */
export function mastersOf(redis: RedisClient): readonly Redis[] {
  return redis instanceof Cluster ? redis.nodes("master") : [redis];
}

/** All keys that begin so, wherever they are. */
export async function keysWith(redis: RedisClient, prefix: string): Promise<string[]> {
  return (await Promise.all(mastersOf(redis).map((master) => master.keys(`${prefix}*`)))).flat();
}

/** A key prefix that no other test uses; without braces, so that it is no hash tag. */
export function uniquePrefix(): string {
  return `test-${randomBytes(6).toString("hex")}`;
}

/** What redis-server logs when it has loaded its data and has bound its port: the proof that it is ours that answers. */
const readyLine = "Ready to accept connections";

async function launch(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const started = new Promise<void>((resolve, reject) => {
    const receive = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4000);
      if (output.includes(readyLine)) resolve();
    };
    child.stdout.on("data", receive);
    child.stderr.on("data", receive);
    child.once("error", reject);
    child.once("exit", (code, signal) =>
      reject(new Error(`redis-server ended (${signal ?? code}): ${output}`)),
    );
    setTimeout(
      () => reject(new Error(`redis-server was not ready in time: ${output}`)),
      hangsAfterMs,
    ).unref();
  });
  try {
    await started;
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  // Its log must still be read, or redis-server blocks on a full pipe.
  child.stdout.removeAllListeners("data").resume();
  child.stderr.removeAllListeners("data").resume();
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  const forced = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await exited;
  clearTimeout(forced);
}

/**
 * A port of 127.0.0.1 that is free now; another process may take it before it is bound. The system gives none of these to
 * connections and to servers that ask for any, so that a server that is away for a while finds its own free; that plus 10,000 is
 * the bus of a Redis Cluster.
 */
export async function freePort(): Promise<number> {
  return await attempts(20, async () => {
    const port = randomInt(11_000, 20_000);
    const server = createServer().listen(port, "127.0.0.1");
    await once(server, "listening");
    server.close();
    await once(server, "close");
    return port;
  });
}

/** The result of the first that does not fail; a program that is not there is not tried again. @throws the last one's error. */
export async function attempts<T>(count: number, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    if (count <= 1 || missing) throw error;
    return await attempts(count - 1, attempt);
  }
}
