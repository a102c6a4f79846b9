import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, StartError } from "../../core/errors.ts";
import { type ControlConnection, connectControl } from "./control-connection.ts";
import { type JoinedRedis, leaveRedis, type RedisUser } from "./leave-redis.ts";
import { prepareRedisDirectory, unusableDataDir } from "./redis-directory.ts";
import { type RedisServerProcess, spawnRedisServer } from "./redis-server-process.ts";
import { acquireStartLock } from "./start-lock.ts";

export interface JoinOptions extends RedisUser {
  /** The redis-server program. */
  readonly command: string;
  /** Gives up: nothing is left behind, and the reason is thrown. */
  readonly signal: AbortSignal;
}

/**
 * Makes sure that one redis-server runs on the directory: takes the one that is there, or starts one; resolves when it has
 * loaded its data.
 *
 * @param own The child of ours that was used before, if any.
 * @throws StartError that says what is missing or broken; then nothing is left of what was started here.
 */
export async function joinRedis(options: JoinOptions, own: RedisServerProcess | null): Promise<JoinedRedis> {
  try {
    let known = own;
    for (let attempt = 1; attempt <= maxAttempts; attempt++) {
      const joined = await adoptOrSpawn(options, known);
      if (await isLoaded(options, joined)) return joined;
      if (joined.server !== null && (await hasEnded(joined.server)))
        throw await endedAtOnce(joined.server, options);
      known = joined.server;
    }
    await known?.kill();
    throw new StartError(
      `redis-server ends again and again while it loads; see ${options.directory.logPath}.`,
    );
  } catch (error) {
    options.signal.throwIfAborted();
    throw error instanceof Error && "syscall" in error ? unusableDataDir(options.directory, error) : error;
  }
}

const maxAttempts = 3;
/** Loading takes as long as it takes; but saying nothing at all, not even that, is a failure. */
const maxSilenceMs = 30_000;
const pollMs = 20;

/**
 * One at a time: two redis-servers on one directory would write one append-only file, and the second to start takes the
 * socket's path away from the first. Once we are connected by name, whoever stops sees that it is not the last.
 */
async function adoptOrSpawn(options: JoinOptions, own: RedisServerProcess | null): Promise<JoinedRedis> {
  const { directory, signal } = options;
  await prepareRedisDirectory(directory);
  const lock = await acquireStartLock(directory.lockPath, { timeoutMs: maxSilenceMs, signal });
  let spawned: RedisServerProcess | null = null;
  try {
    const deadline = performance.now() + maxSilenceMs;
    for (;;) {
      signal.throwIfAborted();
      const answer = await connect(options);
      if (answer.connection !== null) return await settle(answer.connection, spawned, own);
      if (spawned !== null && !spawned.isRunning()) throw await endedAtOnce(spawned, options);
      if (spawned === null && answer.silence === null) {
        // Should a child of ours still run without a socket, it must not write beside the next one.
        await own?.kill();
        spawned = await spawnRedisServer(options.command, directory);
      }
      if (performance.now() >= deadline) throw tooSilent(options, answer.silence);
      await sleep(pollMs, undefined, { signal });
    }
  } catch (error) {
    await spawned?.kill();
    throw error;
  } finally {
    await lock.release();
  }
}

interface Answer {
  readonly connection: ControlConnection | null;
  /** What went wrong with something that listens; null when nothing does. */
  readonly silence: string | null;
}

async function connect(options: JoinOptions): Promise<Answer> {
  try {
    return { connection: await connectControl(options.directory.socketPath, options.name), silence: null };
  } catch (error) {
    return { connection: null, silence: messageOf(error) };
  }
}

/** Who has answered? Perhaps not the one we started: somebody may have started another one by hand. */
async function settle(
  connection: ControlConnection,
  spawned: RedisServerProcess | null,
  own: RedisServerProcess | null,
): Promise<JoinedRedis> {
  if (spawned?.pid === connection.redisPid) return { connection, server: spawned, adopted: false };
  // By SIGKILL: in an orderly end it would remove the socket file, which by now is the other's.
  await spawned?.kill();
  return { connection, server: own?.pid === connection.redisPid ? own : null, adopted: true };
}

/** Waits until it answers; false when the connection is lost before. If it cannot be waited for, it is left again. */
async function isLoaded(options: JoinOptions, joined: JoinedRedis): Promise<boolean> {
  let deadline = performance.now() + maxSilenceMs;
  let isTold = false;
  try {
    for (;;) {
      options.signal.throwIfAborted();
      const state = await joined.connection.ping().catch(messageOf);
      if (state === "ready") return true;
      if (!joined.connection.isOpen()) return false;
      if (state === "loading") {
        deadline = performance.now() + maxSilenceMs;
        if (!isTold)
          options.logger.info({ pid: joined.connection.redisPid }, "redis-server is loading its data");
        isTold = true;
      } else if (performance.now() >= deadline) {
        throw tooSilent(options, state);
      }
      await sleep(pollMs, undefined, { signal: options.signal });
    }
  } catch (error) {
    await leaveRedis(options, joined);
    throw error;
  }
}

/** Its connections end a moment before a process does. */
async function hasEnded(server: RedisServerProcess): Promise<boolean> {
  const timeout = new AbortController();
  const stillRuns = sleep(1_000, false, { signal: timeout.signal }).catch(() => false);
  const ended = await Promise.race([server.ended.then(() => true), stillRuns]);
  timeout.abort();
  return ended;
}

async function endedAtOnce(server: RedisServerProcess, options: JoinOptions): Promise<StartError> {
  const words = await server.lastWords();
  const log =
    words === "" ? "It has logged nothing." : `The last lines of ${options.directory.logPath}:\n${words}`;
  return new StartError(`redis-server ended while starting (${await server.ended}). ${log}`);
}

function tooSilent(options: JoinOptions, silence: string | null): StartError {
  const { socketPath, logPath } = options.directory;
  const seconds = maxSilenceMs / 1000;
  return new StartError(
    `redis-server has not answered at ${socketPath} for ${seconds} s (${silence ?? "no socket"}); see ${logPath}.`,
  );
}
