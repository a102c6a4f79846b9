import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { messageOf } from "../core/errors.ts";
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
] as const;

export type PostgresSystemName = (typeof postgresSystemNames)[number];

/** As in libpq: `prefer` uses TLS where the server has it; only the last two verify the certificate. */
const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"] as const;

export interface PostgresAddress {
  /** Starts with a slash: the directory of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** Null: no TLS. */
  readonly tls: ConnectionOptions | null;
  /** Whether a server without TLS will do. */
  readonly isTlsOptional: boolean;
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
  if (url.searchParams.has("sslrootcert") && !mode?.startsWith("verify-"))
    return "sslrootcert with sslmode=verify-ca or verify-full";
  try {
    const { host, user, database } = postgresAddress(text);
    return host === "" || user === "" || database === "" ? postgresForm : null;
  } catch (error) {
    return error instanceof URIError ? postgresForm : `sslrootcert=FILE: ${messageOf(error)}`;
  }
}

/** Of a URL in which {@link postgresProblem} finds nothing wrong. Reads the file of `sslrootcert`. */
export function postgresAddress(text: string): PostgresAddress {
  const url = new URL(text);
  const mode = url.searchParams.get("sslmode") ?? "prefer";
  return {
    host: decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 5432 : Number(url.port),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)),
    tls: mode === "disable" || url.hostname.startsWith("%2F") ? null : tlsOf(mode, url),
    isTlsOptional: mode === "prefer",
    systems: systemsIn(url) as readonly PostgresSystemName[] | null,
    schema: url.searchParams.get("schema"),
  };
}

function tlsOf(mode: string, url: URL): ConnectionOptions {
  if (!mode.startsWith("verify-")) return { rejectUnauthorized: false };
  const file = url.searchParams.get("sslrootcert");
  const authorities = file === null ? {} : { ca: readFileSync(file, "utf8") };
  // What verify-ca leaves out is the name in the certificate.
  const names = mode === "verify-ca" ? { checkServerIdentity: () => undefined } : {};
  return { rejectUnauthorized: true, ...authorities, ...names };
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
