import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { createEmbeddedRedis, type EmbeddedRedis } from "../../src/redis/embedded/embedded-redis.ts";
import { type LogEntry, recordingLogger } from "./logger.ts";

/** A DATA_DIR of the running test's own. At the end of the test nothing that uses it is left, nor itself. */
export async function temporaryDataDir(): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), "ql-data-"));
  onTestFinished(async () => {
    await killRedis(dataDir);
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  });
  return dataDir;
}

/** Kills the redis-servers that run on a DATA_DIR. */
export async function killRedis(dataDir: string): Promise<void> {
  for (const pid of await redisPids(dataDir)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      // One that was ending has ended meanwhile.
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }
}

/** The redis-servers that run on a DATA_DIR. */
export async function redisPids(dataDir: string): Promise<readonly number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-ww", "-o", "pid=,stat=,args="]);
  const socketPath = join(dataDir, "redis", "redis.sock");
  const lines = stdout.split("\n").map((line) => line.trim().split(/\s+/));
  return lines
    .filter(([, state, program, ...args]) => {
      const isRedis = program?.endsWith("redis-server") && args.some((arg) => arg.endsWith(socketPath));
      return isRedis && !state?.startsWith("Z");
    })
    .map(([pid]) => Number(pid));
}

export interface EmbeddedRedisUnderTest extends EmbeddedRedis {
  /** Without the line that says that data is being loaded: on a busy machine that can be seen at any start. */
  readonly log: readonly LogEntry[];
  /** Every line. */
  readonly wholeLog: readonly LogEntry[];
}

/** An embedded Redis that is stopped at the end of the test, with what it has logged. */
export function embeddedRedis(dataDir: string, command?: string): EmbeddedRedisUnderTest {
  const logger = recordingLogger();
  const redis = createEmbeddedRedis({ dataDir, logger, ...(command === undefined ? {} : { command }) });
  onTestFinished(() => redis.stop());
  return {
    ...redis,
    get log() {
      return logger.lines.filter(({ message }) => message !== "redis-server is loading its data");
    },
    wholeLog: logger.lines,
  };
}

/** A client of the socket, as the server has them: it connects again by itself. */
export function clientOf(redis: Pick<EmbeddedRedis, "socketPath">): Redis {
  const client = new Redis({ path: redis.socketPath, retryStrategy: () => 50, maxRetriesPerRequest: null });
  client.on("error", () => {}); // While redis-server is away.
  onTestFinished(() => client.disconnect());
  return client;
}

/** Makes a shell script of one line to be run in the place of redis-server; its path. */
export async function programInPlaceOfRedis(dataDir: string, line: string): Promise<string> {
  const path = join(dataDir, "redis-server.sh");
  await writeFile(path, `#!/bin/sh\n${line}\n`, { mode: 0o700 });
  return path;
}

/** Another server process that uses the embedded Redis of a DATA_DIR. */
export interface ServerProcess {
  readonly child: ChildProcess;
  readonly socketPath: string;
  readonly redisPid: number;
  readonly adopted: boolean;
  /** Stops it in an orderly way; resolves with its exit code. */
  stop(): Promise<number | null>;
  /** Ends it by SIGKILL. */
  kill(): Promise<void>;
  /** Resolves with its exit code when it has ended. */
  ended(): Promise<number | null>;
}

export async function startServerProcess(
  dataDir: string,
  ...args: readonly string[]
): Promise<ServerProcess> {
  const script = fileURLToPath(new URL("./embedded-redis-process.ts", import.meta.url));
  const child = spawn(process.execPath, [script, dataDir, ...args], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit").then(([code]) => (typeof code === "number" ? code : null));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  const lines = createInterface({ input: child.stdout });
  const [line] = await Promise.race([
    once(lines, "line"),
    exited.then((code) => Promise.reject(new Error(`the server process ended with ${code}`))),
  ]);
  const { pid, adopted, socketPath } = JSON.parse(String(line));
  return {
    child,
    socketPath,
    adopted,
    redisPid: pid,
    stop: () => {
      child.stdin.end();
      return exited;
    },
    kill: async () => {
      child.kill("SIGKILL");
      await exited;
    },
    ended: () => exited,
  };
}
