import { DatabaseError } from "pg";
import { StartError } from "../../core/errors.ts";
import type { EventSink } from "../../core/observation.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { createOutageLog } from "../../runtime/outage-log.ts";
import { pause } from "../../runtime/pause.ts";
import type { Service } from "../../runtime/service.ts";
import { type PostgresSystemName, postgresAddress, postgresProblem } from "../../settings/postgres-url.ts";
import { createSourceOutages } from "../source-outages.ts";
import { createPostgresConnection, type PostgresAnswer, statementTimeoutMs } from "./connection.ts";
import { discoveryOf, tablesIn } from "./discover.ts";
import { createSystemReader, type SystemReader } from "./system-reader.ts";
import { postgresSystems } from "./systems.ts";

export interface PostgresSourceOptions {
  /** `postgres://user[:password]@host[:5432]/database[?schema=...&sslmode=...]`. */
  readonly url: string;
  /** From one reading of the heads to the next, in ms; longer where those would take more than 1 % of a core. */
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** Of each job system to look for: what stands before the slash in the names of its queues. */
  readonly prefixes: Readonly<Record<string, string>>;
  /** For the log, and for the name of the connection. @default "postgres" */
  readonly source?: string;
  /** How often to look for job systems, in ms. @default 10_000 */
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

/**
 * Reads every queue of the job systems in one database, by one connection that never writes, and reports to the sink about all
 * queues of a system at once.
 *
 * - The systems are found by their tables. One that may not be read, or is of another version, is warned of once and tried again;
 *   it hides no other.
 * - The heads are read each `intervalMs`, the depth of each queue every 5 s. Either pauses for 149 times as long as the server was busy
 *   with it, and so does the search for tables: 2 % of a core at most, however slow it is.
 * - The server cancels a statement after 500 ms; without an answer for 3 s the connection is closed, and the next reading opens
 *   another one.
 *
 * While the database is away it warns once and tries each interval; nothing is reported, and the last reading becomes stale.
 * `start()` does not wait for the database.
 *
 * @throws StartError when the URL is not that of a Postgres.
 */
export function createPostgresSource(options: PostgresSourceOptions): Service {
  const { url, intervalMs, sink, logger, prefixes, source = "postgres" } = options;
  const { discoverEveryMs = 10_000, countEveryMs = 5_000, restPerWork = 149 } = options;
  const problem = postgresProblem(url);
  if (problem !== null) throw new StartError(`expected ${problem}`);
  const address = postgresAddress(url);
  const connection = createPostgresConnection(address, `queue-latency ${source}`);
  const { away, unstored } = createSourceOutages(logger, source);
  const none = createOutageLog({
    logger,
    begins: "no job tables found",
    ends: "job tables found",
    fields: { source },
  });
  const systems = Object.keys(prefixes).map((name) => postgresSystems[name as PostgresSystemName]);
  const readers = systems.map((system) => {
    const isWanted = address.systems !== null;
    return createSystemReader({
      system,
      source: prefixes[system.name] ?? system.name,
      isWanted,
      countEveryMs,
      logger,
    });
  });
  const stopping = new AbortController();
  let discoverAtMs = 0;
  /** When each may be counted again: one system with many queues must not use up what the others may cost. */
  const depthsAtMs = new Map<SystemReader, number>();
  let restMs = 0;
  /** The rest after the last reading of all systems, which a system that is read early does not know yet. */
  let lastRestMs = 0;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = monotonicClock.now();
      await tick();
      await pause(Math.max(restMs, startedAtMs + intervalMs - monotonicClock.now()), stopping.signal);
    }
    connection.close();
  }

  async function tick(): Promise<void> {
    const startedAtMs = monotonicClock.now();
    restMs = 0;
    try {
      if (startedAtMs >= discoverAtMs) await discover();
      for (const reader of readers) if (reader.isFound()) await read(reader);
      lastRestMs = restMs;
      away.recovered();
    } catch (error) {
      if (!stopping.signal.aborted) away.failed(error);
    }
  }

  async function discover(): Promise<void> {
    const { rows } = await select(discoveryOf(systems, address.schema));
    discoverAtMs = monotonicClock.now() + Math.max(discoverEveryMs, restMs);
    restMs = 0;
    const tables = tablesIn(rows);
    for (const reader of readers) reader.discover(tables);
    if (readers.some((reader) => reader.isFound())) none.recovered();
    else none.failed("none of a known job system; ?schema= and ?system= limit what is looked for");
  }

  async function read(reader: SystemReader): Promise<void> {
    try {
      await reader.readHeads(select);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      // The tables may be other ones now.
      if (error.code !== canceled) discoverAtMs = 0;
      reader.failed(error);
      return;
    }
    if (monotonicClock.now() >= (depthsAtMs.get(reader) ?? 0)) {
      const headsRestMs = restMs;
      restMs = 0;
      await reader.readDepths(select).catch((error: unknown) => {
        if (!isRefusal(error)) throw error;
        logger.debug({ source: reader.source, err: error }, "depths of queues not read");
      });
      const sharing = readers.filter((each) => each.isFound()).length;
      depthsAtMs.set(reader, monotonicClock.now() + sharing * restMs);
      restMs = headsRestMs;
    }
    const freshForMs = Math.max(2_000, 3 * Math.max(intervalMs, restMs), 1.5 * lastRestMs);
    try {
      await sink.observe({ source: reader.source, queues: reader.observations(), freshForMs });
      unstored.recovered();
    } catch (error) {
      unstored.failed(error);
    }
  }

  /** Adds to `restMs` what this statement costs. */
  async function select(statement: string): Promise<PostgresAnswer> {
    const late = AbortSignal.timeout(answerTimeoutMs);
    try {
      const answer = await connection.select(statement, AbortSignal.any([stopping.signal, late]));
      restMs += restPerWork * answer.tookMs;
      return answer;
    } catch (error) {
      if (isRefusal(error) && error.code === canceled) restMs += restPerWork * statementTimeoutMs;
      if (!late.aborted) throw error;
      throw new Error(`no full answer within ${answerTimeoutMs} ms`, { cause: error });
    }
  }

  return {
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** Of `query_canceled`: it took too long. */
const canceled = "57014";

/** Whether the server refused one statement, and the connection goes on. */
function isRefusal(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && error.severity === "ERROR";
}
