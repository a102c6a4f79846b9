import { Client } from "faktory-worker";
import { Connection } from "faktory-worker/lib/connection.js";
import { StartError } from "../core/errors.ts";
import { tlsOptions } from "../settings/tls-options.ts";

/** What Faktory can be asked while its connection is open. Every method throws when the connection is lost. */
export interface FaktorySession {
  /**
   * `INFO`: how many jobs each queue holds; empty when there are no queues.
   * @throws Error when Faktory is too old to know latencies.
   */
  sizes(): Promise<ReadonlyMap<string, number>>;
  /**
   * `QUEUE LATENCY`: the age of each queue's head, in seconds by Faktory's clock. 0: the queue is empty, or unknown;
   * below 0: the head claims to come from the future. The names must be ones that Faktory allows.
   * @throws FaktoryRefusal when the head of any of these queues has no time that Faktory can read.
   */
  latencies(names: readonly string[]): Promise<ReadonlyMap<string, number>>;
}

/** One connection to Faktory, opened when it is needed and kept for the next use. */
export interface FaktoryClient {
  /**
   * Runs `work` on the connection. Whatever fails (or is aborted) throws the connection away; the next use opens another.
   * One use at a time.
   */
  use<T>(signal: AbortSignal, work: (faktory: FaktorySession) => Promise<T>): Promise<T>;
  /** Resolves when the socket is gone. */
  close(): Promise<void>;
}

/** Faktory answered, and the answer was an error: the connection is as good as before. */
export class FaktoryRefusal extends Error {
  override readonly name = "FaktoryRefusal";
}

/**
 * Speaks Faktory's protocol, version 2, as a client and not as a worker: no wid, no heartbeat.
 *
 * Of the package `faktory-worker` its handshake and its `Connection` are used, but not `Client.send`, whose pool
 * - has no time-out: a server that falls silent is waited for without end, by `close()` too;
 * - tries again by itself, prints each failure with `console.error`, and reports to the caller only that it timed out, so that
 *   a wrong password looks like a silent server;
 * - closes the connection after each ERR, which is a normal answer here.
 *
 * @param url `tcp://[:password@]host[:7419]`, or `tcp+tls://...` for TLS, whose certificate must be one that Node trusts,
 * or that `?ca=FILE` or `?tls=insecure` accepts. In the password, what a URL reserves is %-escaped.
 * @throws StartError when the URL is another one; it does not repeat it, since it may have a password.
 */
export function createFaktoryClient(url: string): FaktoryClient {
  const { protocol, hostname, port, searchParams } = parseUrl(url);
  // A URL's brackets round an IPv6 address belong to the URL; the package would look them up as a name.
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const tls = protocol === "tcp+tls:" ? tlsOptions(searchParams, host) : undefined;
  // It knows the handshake, and takes the password out of the URL. Its pool, never used, opens nothing.
  const greeter = new Client({ url, poolSize: 1 });
  let kept: Connection | undefined;

  async function open(connection: Connection): Promise<void> {
    // Without a listener an "error" event is thrown; the call that waits is rejected with the same error.
    connection.on("error", () => {});
    await greeter.handshake(connection, await connection.open());
  }

  return {
    async use(signal, work) {
      signal.throwIfAborted();
      const reused = kept?.connected === true ? kept : undefined;
      // The package looks at its URL's host and port only: TLS is its caller's business.
      const connection = reused ?? new Connection(port || 7419, host, tls);
      kept = connection;
      const { promise: aborted, reject } = Promise.withResolvers<never>();
      const abort = () => reject(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      const attempt = async () => {
        if (reused === undefined) await open(connection);
        return await work(sessionOn(connection));
      };
      try {
        return await Promise.race([attempt(), aborted]);
      } catch (error) {
        // Without its socket everything in the attempt that still waits for an answer is rejected.
        await destroy(connection);
        throw error;
      } finally {
        signal.removeEventListener("abort", abort);
      }
    },
    close: async () => {
      if (kept !== undefined) await destroy(kept);
    },
  };
}

function parseUrl(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.hostname && ["tcp:", "tcp+tls:"].includes(parsed.protocol)) return parsed;
  throw new StartError(
    "Faktory's URL must be tcp://[:password@]host[:port] or tcp+tls://..., and this one is not",
  );
}

function destroy(connection: Connection): Promise<void> {
  // The package's types do not say that there is no socket before `open()`.
  const socket: Connection["socket"] | undefined = connection.socket;
  if (socket === undefined || socket.closed) return Promise.resolve();
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
    socket.destroy();
  });
}

function sessionOn(connection: Connection): FaktorySession {
  async function ask(...command: readonly string[]): Promise<unknown> {
    // What is sent on a closed connection is never answered, and never rejected.
    if (!connection.connected) throw connection.lastError ?? new Error("Faktory closed the connection");
    try {
      return JSON.parse(await connection.send([...command]));
    } catch (error) {
      const refused = error instanceof Error && error.name === "ReplyError";
      throw refused ? new FaktoryRefusal(error.message, { cause: error }) : error;
    }
  }
  return {
    async sizes() {
      const info = await ask("INFO");
      checkVersion(field(field(info, "server"), "faktory_version"));
      return numbers("INFO", field(field(info, "faktory"), "queues"));
    },
    latencies: async (names) => numbers("QUEUE LATENCY", await ask("QUEUE", "LATENCY", ...names)),
  };
}

/** `QUEUE LATENCY` came with 1.9.2: an older Faktory refuses it, which would look like one unreadable queue after another. */
function checkVersion(version: unknown): void {
  if (typeof version !== "string") return;
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number.parseFloat);
  const order = major - 1 || minor - 9 || patch - 2;
  if (order < 0) throw new Error(`Faktory 1.9.2 or later reports latencies, this is ${version}`);
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function numbers(command: string, reply: unknown): ReadonlyMap<string, number> {
  if (typeof reply !== "object" || reply === null)
    throw new Error(`${command} must answer an object by queue`);
  const entries = new Map<string, number>();
  for (const [name, value] of Object.entries(reply)) {
    if (!Number.isFinite(value)) throw new Error(`${command} must answer a number for each queue`);
    entries.set(name, value);
  }
  return entries;
}
