import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, readdirSync, statfsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { expect } from "vitest";
import { isExecutable, isOnPath } from "./programs.ts";
import { attempts, freePort } from "./redis.ts";
import { until } from "./until.ts";

/** A real PostgreSQL, on a Unix socket and a port of 127.0.0.1 of its own. */
export interface TestPostgres extends AsyncDisposable {
  /** Without the database. */
  readonly url: string;
  /** With `tls`: the certificate it shows, in a PEM file, signed by itself for `localhost`. */
  readonly certificateFile: string;
  readonly port: number;
  /** Makes a new database, in which it runs the statements; resolves to its URL. */
  createDatabase(...statements: readonly string[]): Promise<string>;
  dropDatabase(url: string): Promise<void>;
  /** From now on it refuses a connection without a password. */
  requirePasswords(): Promise<void>;
  /** Ends the server at once, as a crash does, and keeps the data. */
  halt(): Promise<void>;
  resume(): Promise<void>;
  stop(): Promise<void>;
}

const programs = programDirectory();

/** Why tests with Postgres are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoPostgres: string | null =
  process.env.CI === "true" || programs !== null
    ? null
    : "PostgreSQL is not installed: on Debian, apt-get install postgresql";

export interface PostgresOptions {
  readonly tls?: boolean;
  /** Where another one was. @default a free one */
  readonly port?: number;
  /** Whether it can have standbys. @default false */
  readonly hasStandbys?: boolean;
  /** Makes it a hot standby of that one. */
  readonly standbyOf?: TestPostgres;
}

/** Starts one with an empty database directory; resolves when it answers. */
export async function startPostgres(options: PostgresOptions = {}): Promise<TestPostgres> {
  const { tls = false, hasStandbys = false, standbyOf } = options;
  if (programs === null) throw new Error("PostgreSQL is not installed");
  const user = unprivileged();
  const dir = await mkdtemp(join(roomInMemory() ? memory : tmpdir(), "ql-pg-"));
  const data = join(dir, "data");
  await mkdir(data, { mode: 0o700 });
  if (user !== null) for (const each of [dir, data]) chownSync(each, user.uid, user.gid);
  const as = user ?? {};
  const initdb = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"];
  const copy = ["-d", `${standbyOf?.url}/postgres`, "-R", "-c", "fast"];
  const [program, args] = standbyOf === undefined ? ["initdb", initdb] : ["pg_basebackup", copy];
  execFileSync(join(programs, program as string), ["-D", data, "--no-sync", ...(args as string[])], {
    ...as,
    ...{ cwd: dir, stdio: ["ignore", "ignore", "pipe"] },
  });
  const certificateFile = join(data, "server.crt");
  if (tls) {
    const key = [
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-keyout",
      join(data, "server.key"),
    ];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
    execFileSync("openssl", ["req", "-x509", ...key, ...subject, "-out", certificateFile], {
      ...as,
      stdio: "ignore",
    });
    await writeFile(join(data, "pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n");
  }
  // It survives a crash of its process, not of the machine.
  await writeFile(
    join(data, "postgresql.auto.conf"),
    [
      "fsync = off",
      "shared_buffers = 128MB",
      "max_wal_size = 4GB",
      ...(hasStandbys || standbyOf !== undefined
        ? ["wal_level = replica", "wal_retrieve_retry_interval = 100ms"]
        : ["wal_level = minimal", "max_wal_senders = 0"]),
      ...(standbyOf === undefined ? [] : [`primary_conninfo = '${standbyOf.url}/postgres'`]),
      "autovacuum = off",
      "log_min_messages = fatal",
      `unix_socket_directories = '${dir}'`,
      "listen_addresses = '127.0.0.1'",
      ...(tls ? ["ssl = on"] : []),
    ].join("\n"),
  );
  let port = 0;
  let child: ChildProcess;
  const url = () => `postgres://postgres@127.0.0.1:${port}`;

  async function launch(): Promise<void> {
    child = spawn(join(programs ?? "", "postgres"), ["-D", data, "-p", String(port)], {
      ...as,
      cwd: dir,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4000);
    });
    const answers = await until(async () => {
      if (child.exitCode !== null) return false;
      // Another server may have the port.
      const rows = await query(`${url()}/postgres`, "SHOW data_directory");
      expect(rows).toEqual([{ data_directory: data }]);
      return true;
    }, 50);
    if (!answers) throw new Error(`PostgreSQL ended: ${said}`);
  }
  async function halt(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGQUIT");
    await exited;
  }
  // Between finding a port free and binding it another process may take it: then another one is tried.
  await attempts(5, async () => {
    port = options.port ?? (await freePort());
    await launch();
  });
  const killAtExit = () => child.kill("SIGQUIT");
  process.on("exit", killAtExit);
  let databases = 0;
  async function stop(): Promise<void> {
    process.off("exit", killAtExit);
    await halt();
    await rm(dir, { recursive: true, force: true });
  }
  return {
    url: url(),
    certificateFile,
    port,
    async createDatabase(...statements) {
      databases += 1;
      const database = `${url()}/test_${databases}`;
      await query(`${url()}/postgres`, `CREATE DATABASE test_${databases}`);
      for (const statement of statements) await query(database, statement);
      return database;
    },
    async dropDatabase(database) {
      await query(`${url()}/postgres`, `DROP DATABASE ${new URL(database).pathname.slice(1)} WITH (FORCE)`);
    },
    async requirePasswords() {
      await writeFile(join(data, "pg_hba.conf"), "host all all 127.0.0.1/32 scram-sha-256\n");
      process.kill(child.pid ?? 0, "SIGHUP");
      await until(async () => {
        await expect(query(`${url()}/postgres`, "SELECT 1")).rejects.toThrow(/password/);
      });
    },
    halt,
    resume: launch,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** With TLS where the server has it. */
export async function connect(url: string): Promise<Client> {
  const open = async (ssl: false | { readonly rejectUnauthorized: false }) => {
    const client = new Client({ connectionString: url, ssl });
    client.on("error", () => {});
    await client.connect();
    return client;
  };
  try {
    return await open(false);
  } catch (error) {
    if (!String(error).includes("no encryption")) throw error;
    return await open({ rejectUnauthorized: false });
  }
}

/** Sends one message by a connection of its own; resolves to the rows of its last statement. */
export async function query(url: string, text: string): Promise<readonly Record<string, unknown>[]> {
  const client = await connect(url);
  try {
    const results: unknown = await client.query(text);
    const last = [results].flat().at(-1) as { readonly rows: Record<string, unknown>[] };
    return last.rows;
  } finally {
    await client.end();
  }
}

/** Debian keeps the programs of the server in a directory for each version, and not on the PATH. */
function programDirectory(): string | null {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const found = versions
    .map((version) => join(debian, version, "bin"))
    .find((dir) => isExecutable(join(dir, "initdb")));
  if (found !== undefined) return found;
  return isOnPath("initdb") && isOnPath("postgres") ? "" : null;
}

const memory = "/dev/shm";

/** The tests write hundreds of MB, which a disk that others use takes a minute for. */
function roomInMemory(): boolean {
  if (!existsSync(memory)) return false;
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize > 4e9;
}

/** PostgreSQL refuses to run as root. */
export function unprivileged(): { readonly uid: number; readonly gid: number } | null {
  if (userInfo().uid !== 0) return null;
  const id = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}
