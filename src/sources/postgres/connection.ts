import { Socket } from "node:net";
import { Client, DatabaseError, type QueryConfig, type QueryResult } from "pg";
import type { PostgresAddress } from "../../settings/postgres-url.ts";

export type Row = Readonly<Record<string, unknown>>;

export interface PostgresAnswer {
  readonly rows: readonly Row[];
  readonly columns: readonly PostgresColumn[];
  /** For how long the server was busy with it, in ms, by its own clock. */
  readonly tookMs: number;
  /** Whether the server replays what another one writes. */
  readonly isStandby: boolean;
}

export interface PostgresColumn {
  readonly name: string;
  /** Its type, by the number that it has in `pg_type`. */
  readonly typeId: number;
}

export interface PostgresConnection {
  /**
   * Sends one SELECT, with the settings that it is to run with. Opens the connection first where there is none; after any failure
   * but a refused statement, the next call opens another one.
   */
  select(statement: string, settings: readonly string[], signal: AbortSignal): Promise<PostgresAnswer>;
  /** Has the server plan one SELECT, and run nothing. A text of several statements is refused. */
  costOf(statement: string, signal: AbortSignal): Promise<number>;
  close(): void;
}

/** What stands before a statement that is explained: a position in an error counts from there. */
export const explain = "EXPLAIN (FORMAT JSON) ";

/** Longer than this no statement may run. */
export const statementTimeoutMs = 500;

/**
 * Before each statement. A message of several statements is one transaction, which is over with the message, even when the connection
 * is cut: none is ever idle, and nothing is left behind for the next client of a PgBouncer. For the same reason nothing is set
 * for the session, and no startup parameter is sent that a PgBouncer refuses.
 */
export const settingsAsPlanned = [
  "transaction_read_only = on",
  `statement_timeout = ${statementTimeoutMs}`,
  "timezone = 'UTC'",
  "jit = off",
  "max_parallel_workers_per_gather = 0",
].map((setting) => `SET LOCAL ${setting}`);

/** Row counts that the planner guesses wrong must not lead it to read a whole table: what is asked for has an index. */
export const settingsByIndex = [
  ...settingsAsPlanned,
  "SET LOCAL enable_seqscan = off",
  "SET LOCAL enable_bitmapscan = off",
];

/** When the message came, and now. */
const took =
  "SELECT (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000)::float8 AS took_ms, pg_is_in_recovery() AS is_standby";

/**
 * One connection, by `pg`: it opens one socket when it is asked to, and reports when that ends. The other client, `postgres`, has a
 * pool that opens connections again by itself, and would hide an outage.
 */
export function createPostgresConnection(
  address: PostgresAddress,
  applicationName: string,
): PostgresConnection {
  let open: Client | null = null;
  let socket: Socket | null = null;

  function close(): void {
    open = null;
    socket?.destroy();
    socket = null;
  }

  async function connect(tls: PostgresAddress["attempts"][number]): Promise<Client> {
    const { host, port, user, password, database } = address;
    const ownSocket = new Socket();
    socket = ownSocket;
    const client = new Client({
      ...{ host, port, user, password, database },
      ssl: tls ?? false,
      stream: () => ownSocket,
      application_name: applicationName,
      keepAlive: true,
    });
    // Of a connection that nothing is asked of; the next statement reports what is wrong.
    client.on("error", () => {
      if (open === client) close();
    });
    await client.connect();
    return client;
  }

  async function connected(signal: AbortSignal): Promise<Client> {
    for (const [i, tls] of address.attempts.entries()) {
      try {
        return await connect(tls);
      } catch (error) {
        // An abort closes this socket, and not the next one.
        if (signal.aborted || i === address.attempts.length - 1 || !isAboutTls(error)) throw error;
      }
    }
    throw new Error("no way to connect");
  }

  async function use<T>(signal: AbortSignal, ask: (client: Client) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    signal.addEventListener("abort", close);
    try {
      open ??= await connected(signal);
      return await ask(open);
    } catch (error) {
      if (!(error instanceof DatabaseError && error.severity === "ERROR")) close();
      throw error;
    } finally {
      signal.removeEventListener("abort", close);
    }
  }

  return {
    select: (statement, settings, signal) =>
      use(signal, async (client) => {
        const results: unknown = await client.query([...settings, statement, took].join(";\n"));
        const [answer, timing] = (results as readonly QueryResult<Row>[]).slice(-2);
        return {
          rows: answer?.rows ?? [],
          columns: (answer?.fields ?? []).map(({ name, dataTypeID }) => ({ name, typeId: dataTypeID })),
          tookMs: Number(timing?.rows[0]?.took_ms),
          isStandby: timing?.rows[0]?.is_standby === true,
        };
      }),
    costOf: (statement, signal) =>
      use(signal, async (client) => {
        await client.query(["BEGIN READ ONLY", ...settingsAsPlanned].join(";\n"));
        // By the extended protocol a message is one statement: a text cannot end this one and begin another.
        const extended = { text: explain + statement, queryMode: "extended" } as QueryConfig;
        const answer = await client.query<Row>(extended).catch(async (error: unknown) => {
          await client.query("ROLLBACK").catch(close);
          throw error;
        });
        await client.query("ROLLBACK");
        const plans = answer.rows[0]?.["QUERY PLAN"] as readonly { readonly Plan: Row }[] | undefined;
        return Number(plans?.[0]?.Plan["Total Cost"]);
      }),
    close,
  };
}

/** Whether a connection may be had with TLS where this was without it, or the other way round. */
function isAboutTls(error: unknown): boolean {
  // What `pg_hba.conf` refuses: 28000. A wrong password is 28P01.
  if (error instanceof DatabaseError) return error.code === "28000";
  // What the system refuses has the name of the call.
  return !(error instanceof Error && "syscall" in error);
}
