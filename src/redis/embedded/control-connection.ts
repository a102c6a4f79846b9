import type { Socket } from "node:net";
import { Redis } from "ioredis";
import { messageOf } from "../../core/errors.ts";

/** The connection by which the owner of an embedded Redis notices that it loads, is ready, or has ended. */
export interface ControlConnection {
  /** The redis-server's own. */
  readonly redisPid: number;
  /** Resolves when the connection has ended, for whatever reason. Never rejects. */
  readonly lost: Promise<void>;
  isOpen(): boolean;
  /** "loading": it reads its append-only file and will answer later. @throws Error when it does not answer, or answers something else. */
  ping(): Promise<"ready" | "loading">;
  /** From now on the connection does not keep this process alive. */
  unref(): void;
  close(): void;
}

/**
 * Connects; null when nothing listens at the socket.
 *
 * @throws Error when something listens there, but is not a Redis that answers; trying again may help.
 */
export async function connectControl(socketPath: string): Promise<ControlConnection | null> {
  const redis = new Redis({
    path: socketPath,
    connectionName: "queue-latency-owner",
    lazyConnect: true,
    protocol: 2,
    // While it loads, redis-server answers what is asked here; ioredis would wait for the end of it.
    enableReadyCheck: false,
    disableClientInfo: true,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    commandTimeout: answerTimeoutMs,
  });
  let failure: unknown = null;
  redis.on("error", (error) => {
    failure = error;
  });
  const lost = new Promise<void>((resolve) => {
    redis.once("end", resolve);
  });
  try {
    await redis.connect();
    return controlConnection(redis, lost, await processId(redis));
  } catch (error) {
    close(redis);
    if (isNotListening(failure)) return null;
    throw failure ?? error;
  }
}

const answerTimeoutMs = 5_000;

function controlConnection(redis: Redis, lost: Promise<void>, redisPid: number): ControlConnection {
  return {
    redisPid,
    lost,
    isOpen: () => redis.status === "ready",
    ping: async () => {
      try {
        await redis.ping();
        return "ready";
      } catch (error) {
        if (messageOf(error).startsWith("LOADING ")) return "loading";
        throw error;
      }
    },
    // Declared as a stream; over a Unix socket it is one with unref.
    unref: () => void (redis.stream as Socket).unref(),
    close: () => close(redis),
  };
}

/** Asked of a connection that has ended, ioredis would start a timer of 2 s that keeps the process alive. */
function close(redis: Redis): void {
  if (redis.status !== "end") redis.disconnect();
}

async function processId(redis: Redis): Promise<number> {
  const [, pid] = /^process_id:(\d+)/m.exec(await redis.info("server")) ?? [];
  if (pid === undefined) throw new Error("INFO has no process_id");
  return Number(pid);
}

/** No socket file, or the file of one that has died. */
function isNotListening(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ECONNREFUSED")
  );
}
