import { setTimeout as sleep } from "node:timers/promises";
import { messageOf, StartError } from "../../core/errors.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { type AppendOnlyTail, cutZeros, repairAdvice, reportCut } from "./append-only-file.ts";
import { type ControlConnection, connectControl } from "./control-connection.ts";
import { type RedisDirectory, unusableDataDir } from "./redis-directory.ts";
import { endProcess, hasEnded, redisServersIn } from "./redis-processes.ts";
import { type RedisServerProcess, spawnRedisServer } from "./redis-server-process.ts";

export interface StartOptions {
  /** Its lock is ours: no other server starts or ends a redis-server in it. */
  readonly directory: RedisDirectory;
  /** The redis-server program. */
  readonly command: string;
  readonly logger: Logger;
  /** Gives up: the reason is thrown. */
  readonly signal: AbortSignal;
}

/** A redis-server that answers and has loaded its data. */
export interface RunningRedis {
  readonly connection: ControlConnection;
  /** It was running already. */
  readonly adopted: boolean;
  /** The end of its data was lost: what was written last before a power failure. */
  readonly isCut: boolean;
}

/** Loading takes as long as it takes; but no answer at all, not even that it loads, is a failure. */
const maxSilenceMs = 30_000;
/** How long redis-server may take to write its data and end. */
const endTimeoutMs = 5_000;
const pollMs = 20;

/**
 * Makes sure that one redis-server runs in the directory: adopts the one that listens there, or starts one.
 *
 * @throws StartError that names what is missing or broken. What then still runs in the directory, {@link endRedis} ends.
 */
export async function startRedis(options: StartOptions): Promise<RunningRedis> {
  const { directory, logger, signal } = options;
  try {
    const { connection, spawned, tail } = await connectOrSpawn(options);
    try {
      await waitUntilLoaded(options, connection, spawned);
    } catch (error) {
      connection.close();
      throw error;
    }
    const log = (await spawned?.lastLogLines()) ?? "";
    const isCut = tail !== null && reportCut(tail, log, logger);
    return { connection, adopted: spawned === null, isCut };
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof Error && "syscall" in error ? unusableDataDir(directory, error) : error;
  }
}

interface Connected {
  readonly connection: ControlConnection;
  /** Null when it ran already. */
  readonly spawned: RedisServerProcess | null;
  /** What it has to load, if it is known. */
  readonly tail: AppendOnlyTail | null;
}

async function connectOrSpawn(options: StartOptions): Promise<Connected> {
  const { directory, command, logger, signal } = options;
  let spawned: RedisServerProcess | null = null;
  let tail: AppendOnlyTail | null = null;
  for (const deadline = monotonicClock.now() + maxSilenceMs; ; ) {
    signal.throwIfAborted();
    const answer = await connect(directory);
    if (answer.connection !== null) return { connection: answer.connection, spawned, tail };
    if (spawned !== null && !spawned.isRunning()) throw await endedAtOnce(spawned, options);
    if (spawned === null && answer.silence === null) {
      await assertNotRemoved(directory);
      // One that cannot be reached, since its socket was removed, must not write beside the next one.
      await endAll(directory);
      tail = await cutZeros(directory, logger);
      spawned = await spawnRedisServer(command, directory);
    }
    if (monotonicClock.now() >= deadline) throw tooSilent(options, answer.silence);
    await sleep(pollMs, undefined, { signal });
  }
}

/** The data of a redis-server whose directory was removed is in its memory alone, and a server may still use it. */
async function assertNotRemoved(directory: RedisDirectory): Promise<void> {
  const { removed } = await redisServersIn(directory);
  if (removed.length === 0) return;
  throw new StartError(
    `${directory.path} was removed while redis-server (process ${removed.join(", ")}) works in it: end that process, or the server that has started it, first.`,
  );
}

interface Answer {
  readonly connection: ControlConnection | null;
  /** What went wrong with a process that listens; null when none does. */
  readonly silence: string | null;
}

async function connect({ socketPath }: RedisDirectory): Promise<Answer> {
  try {
    return { connection: await connectControl(socketPath), silence: null };
  } catch (error) {
    return { connection: null, silence: messageOf(error) };
  }
}

/** Has every redis-server in the directory write its data to disk and end; resolves when none is left. */
export async function endRedis(
  { directory, logger }: Pick<StartOptions, "directory" | "logger">,
  running: RunningRedis | null,
): Promise<void> {
  // Its directory may have been removed.
  const own = running?.connection.isOpen() === true ? [running.connection.redisPid] : [];
  running?.connection.close();
  for (const { pid, signal } of await endAll(directory, own)) {
    if (signal === "SIGTERM") logger.info({ pid }, "redis-server has stopped");
    else logger.error({ pid }, "redis-server did not stop in time and was killed");
  }
}

async function endAll(
  directory: RedisDirectory,
  own: readonly number[] = [],
): Promise<readonly EndedProcess[]> {
  const { working } = await redisServersIn(directory);
  const pids = [...new Set([...own, ...working])];
  return await Promise.all(pids.map(async (pid) => ({ pid, signal: await endProcess(pid, endTimeoutMs) })));
}

interface EndedProcess {
  readonly pid: number;
  readonly signal: "SIGTERM" | "SIGKILL";
}

/** @throws StartError when it ends meanwhile, or does not answer for too long. */
async function waitUntilLoaded(
  options: StartOptions,
  connection: ControlConnection,
  spawned: RedisServerProcess | null,
): Promise<void> {
  const { logger, signal } = options;
  let isLogged = false;
  for (let deadline = monotonicClock.now() + maxSilenceMs; ; ) {
    signal.throwIfAborted();
    const state = await connection.ping().catch(messageOf);
    if (state === "ready") return;
    if (!connection.isOpen()) {
      if (spawned !== null && (await hasEnded(spawned.pid, 1_000))) throw await endedAtOnce(spawned, options);
      throw new StartError(`redis-server ended while it loaded its data; see ${options.directory.logPath}.`);
    }
    if (state === "loading") {
      deadline = monotonicClock.now() + maxSilenceMs;
      if (!isLogged) logger.info({ pid: connection.redisPid }, "redis-server is loading its data");
      isLogged = true;
    } else if (monotonicClock.now() >= deadline) {
      throw tooSilent(options, state);
    }
    await sleep(pollMs, undefined, { signal });
  }
}

async function endedAtOnce(server: RedisServerProcess, { directory }: StartOptions): Promise<StartError> {
  const lines = await server.lastLogLines();
  const log = lines === "" ? "It has logged nothing." : `The last lines of ${directory.logPath}:\n${lines}`;
  return new StartError(
    `redis-server ended while starting (${await server.ended}). ${log}${repairAdvice(directory, lines)}`,
  );
}

function tooSilent({ directory }: StartOptions, silence: string | null): StartError {
  return new StartError(
    `redis-server has not answered at ${directory.socketPath} for ${maxSilenceMs / 1000} s (${silence ?? "no socket"}); see ${directory.logPath}.`,
  );
}
