import { Socket } from "node:net";
import { Client, DatabaseError } from "pg";
import { messageOf } from "../../core/errors.ts";
import type { PostgresAddress } from "../../settings/postgres-url.ts";

export type Row = Readonly<Record<string, unknown>>;

export interface PostgresAnswer {
  readonly rows: readonly Row[];
  /** For how long the server was busy with it, in ms, by its own clock. */
  readonly tookMs: number;
}

export interface PostgresConnection {
  /**
   * Sends one SELECT. Opens the connection first where there is none; after any failure but a refused statement, the next call
   * opens another one.
   */
  select(statement: string, signal: AbortSignal): Promise<PostgresAnswer>;
  close(): void;
}

/** Longer than this no statement may run. */
export const statementTimeoutMs = 500;

/**
 * Before each statement. A message of several statements is one transaction, which is over with the message, even when the connection
 * is cut: none is ever idle, and nothing is left behind for the next client of a PgBouncer. For the same reason nothing is set
 * for the session, and no startup parameter is sent that a PgBouncer refuses.
 *
 * Row counts that the planner guesses wrong must not lead it to read a whole table: what is asked for has an index.
 */
export const settings = [
  "transaction_read_only = on",
  `statement_timeout = ${statementTimeoutMs}`,
  "timezone = 'UTC'",
  "enable_seqscan = off",
  "enable_bitmapscan = off",
  "jit = off",
  "max_parallel_workers_per_gather = 0",
].map((setting) => `SET LOCAL ${setting}`);

/** When the message came, and now. */
const took =
  "SELECT (extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000)::float8 AS took_ms";

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

  async function connect(tls: PostgresAddress["tls"]): Promise<Client> {
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

  async function connected(): Promise<Client> {
    try {
      return await connect(address.tls);
    } catch (error) {
      if (!address.isTlsOptional || !messageOf(error).includes("does not support SSL")) throw error;
      return await connect(null);
    }
  }

  return {
    async select(statement, signal) {
      signal.throwIfAborted();
      signal.addEventListener("abort", close);
      try {
        open ??= await connected();
        const results: unknown = await open.query([...settings, statement, took].join(";\n"));
        const [rows, timing] = (results as readonly { readonly rows: readonly Row[] }[]).slice(-2);
        return { rows: rows?.rows ?? [], tookMs: Number(timing?.rows[0]?.took_ms) };
      } catch (error) {
        if (!(error instanceof DatabaseError && error.severity === "ERROR")) close();
        throw error;
      } finally {
        signal.removeEventListener("abort", close);
      }
    },
    close,
  };
}
