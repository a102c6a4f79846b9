import type { Socket } from "node:net";
import { Redis } from "ioredis";
import { messageOf } from "../../core/errors.ts";

/** Every process that uses an embedded Redis holds one connection whose name begins like this: it is counted by them. */
export const controlNamePrefix = "queue-latency:";

/** The connection by which a process says that it uses an embedded Redis, asks who else does, and ends it. */
export interface ControlConnection {
  /** The redis-server's own. */
  readonly redisPid: number;
  /** Resolves when the connection has gone, whoever ended it. Never rejects. */
  readonly lost: Promise<void>;
  isOpen(): boolean;
  /** "loading": it reads its append-only file and will answer later. @throws when it says nothing, or something else. */
  ping(): Promise<"ready" | "loading">;
  /** How many others hold such a connection. */
  others(): Promise<number>;
  /** Gives up the name: others do not count this connection any more, whenever redis-server notices its end. */
  unregister(): Promise<void>;
  /** Asks redis-server to write everything down and end. Resolves, with what it objects, if it answers at all. */
  shutdown(): Promise<string | null>;
  /** Whether the connection alone keeps this process alive; at first it does. */
  setKeepsProcess(keeps: boolean): void;
  close(): void;
}

/**
 * Connects under a name, which is set when this resolves; null when nothing listens at the socket.
 *
 * @throws Error when something listens there, but is not a Redis that answers; trying again may help.
 */
export async function connectControl(socketPath: string, name: string): Promise<ControlConnection | null> {
  const redis = new Redis({
    path: socketPath,
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
    await redis.client("SETNAME", name);
    return controlConnection(redis, lost, name, await processId(redis));
  } catch (error) {
    close(redis);
    if (isNobodyThere(failure)) return null;
    throw failure ?? error;
  }
}

const answerTimeoutMs = 5_000;

function controlConnection(
  redis: Redis,
  lost: Promise<void>,
  name: string,
  redisPid: number,
): ControlConnection {
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
    others: async () => {
      const clients = String(await redis.client("LIST"));
      const names = [...clients.matchAll(/ name=(\S*)/g)].map((match) => match[1] ?? "");
      return names.filter((other) => other.startsWith(controlNamePrefix) && other !== name).length;
    },
    unregister: async () => {
      await redis.client("SETNAME", "");
    },
    shutdown: async () => {
      try {
        await redis.shutdown();
      } catch (error) {
        // The answer to SHUTDOWN is the end of the connection.
        if (redis.status === "ready") return messageOf(error);
      }
      return null;
    },
    setKeepsProcess: (keeps) => {
      // Declared as a stream; over a Unix socket it is one with ref and unref.
      const socket = redis.stream as Socket;
      if (keeps) socket.ref();
      else socket.unref();
    },
    close: () => close(redis),
  };
}

/** Asked of a connection that has ended, ioredis would start a timer of 2 s that keeps the process alive. */
function close(redis: Redis): void {
  if (redis.status !== "end") redis.disconnect();
}

async function processId(redis: Redis): Promise<number> {
  const [, pid] = /^process_id:(\d+)/m.exec(await redis.info("server")) ?? [];
  if (pid === undefined) throw new Error("INFO does not tell a process_id");
  return Number(pid);
}

/** No socket file, or the file of one that has died. */
function isNobodyThere(error: unknown): boolean {
  return (
    error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ECONNREFUSED")
  );
}
