import { type ConnectionOptions, getCACertificates } from "node:tls";
import { messageOf } from "../core/errors.ts";
import { isLoopback } from "./fields.ts";
import { readCertificates } from "./tls-options.ts";
import { parametersProblem } from "./url-parameters.ts";

/** The job systems that keep their jobs in tables of Postgres, by the names behind `?system=`. */
export const postgresSystemNames = [
  "oban",
  "river",
  "pg-boss",
  "graphile-worker",
  "procrastinate",
  "good_job",
  "solid_queue",
  "que",
  "delayed_job",
] as const;

export type PostgresSystemName = (typeof postgresSystemNames)[number];

/**
 * As in libpq. `allow` and `prefer` try both, without TLS or with it first. `require` verifies the certificate where there is a
 * `sslrootcert`, and the last two always do; all but `verify-full` leave out the name in it.
 */
const sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
type SslMode = (typeof sslModes)[number];

export interface PostgresAddress {
  /** Starts with a slash: the directory of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** What to try, in this order, while the server refuses; null: without TLS. */
  readonly attempts: readonly (ConnectionOptions | null)[];
  /** Null: all that are known. */
  readonly systems: readonly PostgresSystemName[] | null;
  /** Null: every schema is searched. */
  readonly schema: string | null;
}

const parameters = ["as", "schema", "sslmode", "sslrootcert", "system"];

export const postgresForm =
  "postgres://user[:password]@host[:port]/database[?system=A,B&schema=SCHEMA&sslmode=MODE&sslrootcert=FILE&as=NAME] (percent-encode reserved characters in user and password, and the / of a socket's directory)";

/** What was expected of such a URL; null when it is right. */
export function postgresProblem(text: string): string | null {
  const url = URL.parse(text);
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) return postgresForm;
  const wrong = parametersProblem(url.searchParams, parameters);
  if (wrong !== null) return wrong;
  const unknown = systemsIn(url)?.some((name) => !postgresSystemNames.some((known) => known === name));
  if (unknown) return `names behind ?system= out of: ${postgresSystemNames.join(", ")}`;
  if (url.searchParams.get("schema") === "") return "the name of a schema behind ?schema=";
  const mode = url.searchParams.get("sslmode");
  if (mode !== null && !sslModes.some((known) => known === mode)) return `sslmode=${sslModes.join(", ")}`;
  const root = url.searchParams.get("sslrootcert");
  if (root === "system" && modeOf(url) !== "verify-full")
    return "sslrootcert=system with sslmode=verify-full";
  if (root !== null && !["require", "verify-ca", "verify-full"].includes(modeOf(url)))
    return "sslrootcert with sslmode=require, verify-ca or verify-full";
  try {
    const { host, user, database } = postgresAddress(text);
    return host === "" || user === "" || database === "" ? postgresForm : null;
  } catch (error) {
    return error instanceof URIError ? postgresForm : messageOf(error).replace(/^expected /, "");
  }
}

/** Of a URL in which {@link postgresProblem} finds nothing wrong. Reads the file of `sslrootcert`. */
export function postgresAddress(text: string): PostgresAddress {
  const url = new URL(text);
  return {
    host: decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 5432 : Number(url.port),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)),
    attempts: isSocket(url) ? [null] : attemptsOf(url),
    systems: systemsIn(url) as readonly PostgresSystemName[] | null,
    schema: url.searchParams.get("schema"),
  };
}

/** Whether TLS may be used that verifies no certificate, with a host on another machine. */
export function hasUnverifiedTls(text: string): boolean {
  const url = new URL(text);
  const { host, attempts } = postgresAddress(text);
  return !isSocket(url) && !isLoopback(host) && attempts.some((tls) => tls?.rejectUnauthorized === false);
}

function isSocket(url: URL): boolean {
  return /^%2f/i.test(url.hostname);
}

function modeOf(url: URL): SslMode {
  const { searchParams } = url;
  const usual = searchParams.get("sslrootcert") === "system" ? "verify-full" : "prefer";
  return (searchParams.get("sslmode") ?? usual) as SslMode;
}

function attemptsOf(url: URL): PostgresAddress["attempts"] {
  const tls = tlsOf(url);
  const attempts = { disable: [null], allow: [null, tls], prefer: [tls, null] } as const;
  const mode = modeOf(url);
  return mode === "disable" || mode === "allow" || mode === "prefer" ? attempts[mode] : [tls];
}

function tlsOf(url: URL): ConnectionOptions {
  const mode = modeOf(url);
  const root = url.searchParams.get("sslrootcert");
  if (root === null && !mode.startsWith("verify-")) return { rejectUnauthorized: false };
  const names = mode === "verify-full" ? {} : { checkServerIdentity: () => undefined };
  if (root === null) return { rejectUnauthorized: true, ...names };
  const ca = root === "system" ? getCACertificates("system") : readCertificates(root, "sslrootcert");
  return { rejectUnauthorized: true, ca, ...names };
}

function systemsIn(url: URL): readonly string[] | null {
  const text = url.searchParams.get("system");
  return text === null ? null : [...new Set(text.split(","))];
}

/** Of each system that a URL names, or of all: what stands before the slash in the names of its queues. */
export function postgresPrefixes(text: string, as: string | null): Readonly<Record<string, string>> {
  const systems = postgresAddress(text).systems ?? postgresSystemNames;
  const prefixOf = (system: string) => (as === null ? system : systems.length === 1 ? as : `${as}.${system}`);
  return Object.fromEntries(systems.map((system) => [system, prefixOf(system)]));
}
