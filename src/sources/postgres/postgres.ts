import { DatabaseError } from "pg";
import { StartError } from "../../core/errors.ts";
import type { FollowSink } from "../../core/log-following.ts";
import type { ObservedSource } from "../../core/observation.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { createOutageLog } from "../../runtime/outage-log.ts";
import { pause } from "../../runtime/pause.ts";
import type { Service } from "../../runtime/service.ts";
import type { PostgresQuery } from "../../settings/parse-postgres-queries.ts";
import { type PostgresSystemName, postgresAddress, postgresProblem } from "../../settings/postgres-url.ts";
import { createSourceOutages } from "../source-outages.ts";
import {
  createPostgresConnection,
  type PostgresAnswer,
  settingsAsPlanned,
  settingsByIndex,
  statementTimeoutMs,
} from "./connection.ts";
import { discoveryOf, tablesIn } from "./discover.ts";
import { fairPeriodsMs } from "./fair-periods.ts";
import { createQueryReaders } from "./query-readers.ts";
import { type PostgresQueries, QueryRefusal, type QueueReader } from "./queue-reader.ts";
import { createStandbyCheck, standbyLag } from "./standby-lag.ts";
import { createSystemReader } from "./system-reader.ts";
import { postgresSystems } from "./systems.ts";

export interface PostgresSourceOptions {
  /** `postgres://user[:password]@host[:5432]/database[?schema=...&sslmode=...]`. */
  readonly url: string;
  /** From one reading of the heads to the next, in ms; longer where those would take more than a share of a core. */
  readonly intervalMs: number;
  readonly sink: Pick<FollowSink, "observe" | "notes" | "answered">;
  readonly logger: Logger;
  /** Of each job system to look for: what stands before the slash in the names of its queues. */
  readonly prefixes: Readonly<Record<string, string>>;
  /** SELECTs of the operator's for this database; asked again before each reading. @default none */
  readonly queries?: () => readonly PostgresQuery[];
  /** Has the names of those that are refused. */
  readonly refusedQueries?: Set<string>;
  /** For the log, and for the name of the connection. @default "postgres" */
  readonly source?: string;
  /** How often to look for job systems, and to ask again what was refused, in ms. @default 10_000 */
  readonly discoverEveryMs?: number;
  /** How often to count the jobs of each queue, in ms. @default 5_000 */
  readonly countEveryMs?: number;
  /**
   * After the database was busy for us, how many times as long it has no such work: discovery, heads and depths take 2 % of a core
   * at most. @default 149
   */
  readonly restPerWork?: number;
}

/** Longer than this no answer may take, with connecting. */
const answerTimeoutMs = 3_000;

/** When one reader was read last, and what that cost. */
interface Turn {
  workMs: number;
  startedAtMs: number;
  endedAtMs: number;
  /** When its jobs may be counted again. */
  depthsAtMs: number;
}

/**
 * Reads every queue of the job systems in one database, by one connection that never writes, and reports to the sink about all
 * queues of a system at once.
 *
 * - The systems are found by their tables. One that may not be read, or is of another version, is warned of once and tried again;
 *   it hides no other.
 * - The heads of each system are read each `intervalMs`, the depth of each queue every 5 s. Heads, depths and the search for tables
 *   may each take a 150th of a core: 2 % at most, however slow the database is. A slow system is read less often, and delays no other.
 * - The server cancels a statement after 500 ms; without an answer for 3 s the connection is closed, and the next reading opens
 *   another one.
 * - A standby that is behind its primary by more than three intervals (at least 2 s), or has lost it, counts as away.
 *
 * While the database is away it warns once and tries each interval; nothing is reported, and the last reading becomes stale.
 * `start()` does not wait for the database.
 *
 * @throws StartError when the URL is not that of a Postgres.
 */
export function createPostgresSource(options: PostgresSourceOptions): Service {
  const { url, intervalMs, sink, logger, prefixes, source = "postgres", queries = () => [] } = options;
  const { discoverEveryMs = 10_000, countEveryMs = 5_000, restPerWork = 149 } = options;
  const share = 1 / (restPerWork + 1);
  const problem = postgresProblem(url);
  if (problem !== null) throw new StartError(`expected ${problem}`);
  const address = postgresAddress(url);
  const connection = createPostgresConnection(address, `queue-latency ${source}`);
  const { away, unstored } = createSourceOutages(logger, source, sink);
  const none = createOutageLog({
    logger,
    begins: "no job tables found",
    ends: "job tables found",
    fields: { source },
  });
  const systems = Object.keys(prefixes).map((name) => postgresSystems[name as PostgresSystemName]);
  const systemReaders = systems.map((system) => {
    const isWanted = address.systems !== null;
    return createSystemReader({
      system,
      source: prefixes[system.name] ?? system.name,
      isWanted,
      countEveryMs,
      logger,
    });
  });
  const queryReaders = createQueryReaders({
    queries,
    retryMs: discoverEveryMs,
    refused: options.refusedQueries ?? new Set(),
    logger,
  });
  const stopping = new AbortController();
  const turns = new WeakMap<QueueReader, Turn>();
  let discoverAtMs = 0;
  /** Before this there is no search for tables, though something seems to have changed. */
  let discoverRestedAtMs = 0;
  /** Whether the server that answered last is a standby, and when it is asked how far behind it is. */
  let isStandby = false;
  let lagAtMs = 0;
  const standby = createStandbyCheck(Math.max(2_000, 3 * intervalMs));
  /** For how long the database was busy with what is asked now. */
  let workMs = 0;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const isAway = await tick();
      const nextAtMs = isAway
        ? monotonicClock.now() + intervalMs
        : Math.min(discoverAtMs, ...found().map(dueAtMs));
      await pause(Math.max(minPauseMs, nextAtMs - monotonicClock.now()), stopping.signal);
    }
    connection.close();
    queryReaders.stop();
  }

  /** @returns whether the database does not answer. */
  async function tick(): Promise<boolean> {
    try {
      if (monotonicClock.now() >= discoverAtMs) await discover();
      await checkLag();
      for (const gone of queryReaders.update())
        await report({ source: gone, queues: [], freshForMs: countEveryMs });
      for (const reader of found()) if (monotonicClock.now() >= dueAtMs(reader)) await read(reader);
      away.recovered();
      return false;
    } catch (error) {
      if (!stopping.signal.aborted) away.failed(error);
      return true;
    }
  }

  function found(): readonly QueueReader[] {
    return [...systemReaders, ...queryReaders.all()].filter((reader) => reader.isFound());
  }

  function turnOf(reader: QueueReader): Turn {
    const never = Number.NEGATIVE_INFINITY;
    const turn = turns.get(reader) ?? { workMs: 0, startedAtMs: never, endedAtMs: never, depthsAtMs: never };
    turns.set(reader, turn);
    return turn;
  }

  function dueAtMs(reader: QueueReader): number {
    const readers = found();
    const worksMs = readers.map((each) => turnOf(each).workMs);
    const periodMs = fairPeriodsMs(worksMs, intervalMs, share)[readers.indexOf(reader)] ?? intervalMs;
    const turn = turnOf(reader);
    return Math.max(turn.startedAtMs + intervalMs, turn.endedAtMs - turn.workMs + periodMs);
  }

  async function discover(): Promise<void> {
    workMs = 0;
    const { rows } = await asked.byIndex(discoveryOf(systems, address.schema));
    discoverRestedAtMs = monotonicClock.now() + restPerWork * workMs;
    discoverAtMs = Math.max(monotonicClock.now() + discoverEveryMs, discoverRestedAtMs);
    const tables = tablesIn(rows);
    for (const reader of systemReaders) reader.discover(tables);
    if (queries().length > 0 || systemReaders.some((reader) => reader.isFound())) none.recovered();
    else none.failed("none of a known job system; ?schema= and ?system= limit what is looked for");
  }

  /** Of one that is behind nothing is read: what it has is as old as a reading that is not believed any more. */
  async function checkLag(): Promise<void> {
    if (!isStandby || monotonicClock.now() < lagAtMs) return;
    const answer = await asked.byIndex(standbyLag).catch((error: unknown) => {
      // Not every service that is like Postgres says it.
      if (!isRefusal(error)) throw error;
      return null;
    });
    const nowMs = monotonicClock.now();
    if (answer?.isStandby) standby.assertNotBehind(answer.rows, nowMs);
    lagAtMs = nowMs + Math.max(intervalMs, 1_000);
  }

  async function read(reader: QueueReader): Promise<void> {
    const turn = turnOf(reader);
    turn.startedAtMs = monotonicClock.now();
    workMs = 0;
    const failure = await reader.readHeads(asked).then(
      () => null,
      (error: unknown) => ({ error }),
    );
    Object.assign(turn, { workMs, endedAtMs: monotonicClock.now() });
    if (failure !== null) {
      const { error } = failure;
      if (!isRefusal(error)) throw error;
      // The tables may be other ones now.
      if (!isCanceled(error)) discoverAtMs = discoverRestedAtMs;
      reader.failed(error);
      return;
    }
    // The connection may be one to a standby since these heads.
    await checkLag();
    if (monotonicClock.now() >= turn.depthsAtMs) await readDepths(reader, turn);
    const observations = reader.observations();
    if (observations === null) return;
    // When others become slow, too, it may have to wait for as long as an equal part of the share asks for.
    const worstMs = (turn.workMs * found().length) / share;
    const periodMs = dueAtMs(reader) - turn.startedAtMs;
    const freshForMs = Math.max(2_000, 3 * periodMs, 1.5 * worstMs);
    const sinceMs = turn.startedAtMs;
    if (await report({ source: reader.source, queues: observations, freshForMs, sinceMs }))
      reader.reported?.();
  }

  async function readDepths(reader: QueueReader, turn: Turn): Promise<void> {
    const logRefusal = (message: string) => (error: unknown) => {
      if (!isRefusal(error)) throw error;
      logger.debug({ source: reader.source, err: error }, message);
    };
    workMs = 0;
    await reader.readDepths(asked).catch(logRefusal("depths of queues not read"));
    await reader.readOvertaken?.(asked).catch(logRefusal("overtaken jobs not read"));
    // One system with many queues must not use up what the others may cost.
    turn.depthsAtMs = monotonicClock.now() + found().length * restPerWork * workMs;
  }

  async function report(observed: ObservedSource): Promise<boolean> {
    try {
      await sink.observe(observed);
      unstored.recovered();
      return true;
    } catch (error) {
      unstored.failed(error);
      return false;
    }
  }

  /** Adds to `workMs` what is asked. */
  async function metered<T>(
    ask: (signal: AbortSignal) => Promise<T>,
    workOf: (answer: T) => number,
  ): Promise<T> {
    const late = AbortSignal.timeout(answerTimeoutMs);
    try {
      const answer = await ask(AbortSignal.any([stopping.signal, late]));
      workMs += workOf(answer);
      return answer;
    } catch (error) {
      if (isCanceled(error)) workMs += statementTimeoutMs;
      if (!late.aborted) throw error;
      throw new Error(`no full answer within ${answerTimeoutMs} ms`, { cause: error });
    }
  }

  function workIn(answer: PostgresAnswer): number {
    isStandby = answer.isStandby;
    if (!isStandby) lagAtMs = 0;
    return answer.tookMs;
  }

  const asked: PostgresQueries = {
    byIndex: (statement) =>
      metered((signal) => connection.select(statement, settingsByIndex, signal), workIn),
    asPlanned: (statement) =>
      metered((signal) => connection.select(statement, settingsAsPlanned, signal), workIn),
    costOf: (statement) =>
      metered(
        (signal) => connection.costOf(statement, signal),
        () => 0,
      ),
  };

  return {
    async start() {
      for (const reader of systemReaders) reader.restore(await sink.notes(reader.source));
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** Between two rounds, also where every reading is due at once. */
const minPauseMs = 1;

/** Whether the server refused one statement, and the connection goes on; or we refuse its answer. */
function isRefusal(error: unknown): error is Error {
  if (error instanceof DatabaseError) return error.severity === "ERROR";
  return error instanceof QueryRefusal;
}

/** Whether a statement took too long: `query_canceled`. */
function isCanceled(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === "57014";
}
