import { StartError } from "../core/errors.ts";
import { NamingSentinelConnector } from "./sentinel-connector.ts";
import { type TlsOptions, tlsOptions } from "./tls-options.ts";

/** The parts of the URL of a Redis. */
export interface RedisUrl {
  /** Of the Redis; of its Sentinels; none for a Unix socket. */
  readonly hosts: readonly RedisHost[];
  /** The path of a Unix socket; else null. */
  readonly socketPath: string | null;
  /** The name by which Sentinels know the master; null without Sentinel. */
  readonly masterName: string | null;
  readonly username: string;
  readonly password: string;
  readonly db: number;
  readonly isTls: boolean;
  /** Everything behind the `?`. */
  readonly parameters: URLSearchParams;
}

export interface RedisHost {
  readonly host: string;
  readonly port: number;
}

/** Parameters that say how to connect, of the URL of any Redis. */
export const redisParameters = ["db", "tls", "ca", "sentinelUser", "sentinelPassword"] as const;

/**
 * Reads `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, `redis+sentinel://[user:password@]host[:port][,…]/MASTER`,
 * `rediss+sentinel://`, or `unix://[user:password@]/PATH`. User, password, path and master are percent-encoded. `?db=` names the
 * database where the path is something else.
 *
 * @returns null when the text is no such URL.
 */
export function parseRedisUrl(text: string): RedisUrl | null {
  const match =
    /^(rediss?(?:\+sentinel)?|(?:redis\+)?unix):\/\/(?:([^/?#]*)@)?([^@/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(
      text,
    );
  if (match === null) return null;
  const [, scheme = "", login = "", hostText = "", path = "", query = ""] = match;
  const parameters = new URLSearchParams(query);
  const [username, password] = [login.replace(/:.*$/s, ""), login.replace(/^[^:]*:?/, "")].map(decode);
  const isUnix = scheme.endsWith("unix");
  const isSentinel = scheme.endsWith("+sentinel");
  const hosts = hostsIn(hostText, isSentinel ? 26379 : 6379);
  const name = decode(isUnix ? path : path.slice(1));
  const dbText = parameters.get("db") ?? "";
  const pathDb = isUnix || isSentinel ? "" : path.slice(1);
  const isRight =
    (isUnix ? hostText === "" && path.length > 1 : hosts !== null && (isSentinel || hosts.length === 1)) &&
    (!isSentinel || /^\/[^/]+$/.test(path)) &&
    /^\d{0,5}$/.test(pathDb + dbText) &&
    (pathDb === "" || dbText === "");
  if (!isRight || username === null || password === null || name === null) return null;
  return {
    hosts: hosts ?? [],
    socketPath: isUnix ? name : null,
    masterName: isSentinel ? name : null,
    username: username ?? "",
    password: password ?? "",
    db: Number(pathDb + dbText),
    isTls: scheme.startsWith("rediss"),
    parameters,
  };
}

/** Options of ioredis that say where a Redis is and how to log in; its `lua`, retries and time limits are the caller's. */
export interface RedisConnectionOptions {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly sentinels?: { readonly host: string; readonly port: number }[];
  readonly name?: string;
  readonly sentinelCommandTimeout?: number;
  readonly sentinelUsername?: string;
  readonly sentinelPassword?: string;
  readonly sentinelTLS?: TlsOptions;
  readonly enableTLSForSentinelMode?: boolean;
  readonly Connector?: typeof NamingSentinelConnector;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly tls?: TlsOptions;
}

/** @throws StartError when the text is no URL of a Redis, which it does not repeat, or its `?ca=` cannot be read. */
export function redisOptions(text: string): RedisConnectionOptions {
  const url = parseRedisUrl(text);
  if (url === null) throw new StartError("this is not the URL of a Redis");
  const { username, password, db, isTls } = url;
  // Sentinels and their masters have names of their own.
  const host = url.masterName === null ? url.hosts[0]?.host : undefined;
  const tls = isTls ? tlsOptions(url.parameters, host) : null;
  return {
    ...placeOptions(url, tls),
    ...(username === "" ? {} : { username }),
    ...(password === "" ? {} : { password }),
    ...(tls === null ? {} : { tls }),
    db,
  };
}

/** What it takes to be let in by any node of a Redis Cluster, whose names differ. */
export function nodeAccess({
  username,
  password,
  tls,
}: RedisConnectionOptions): Pick<RedisConnectionOptions, "username" | "password" | "tls"> {
  const { servername: _, ...ofAllNodes } = tls ?? {};
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls === undefined ? {} : { tls: ofAllNodes }),
  };
}

function placeOptions(url: RedisUrl, tls: TlsOptions | null): Partial<RedisConnectionOptions> {
  const { hosts, socketPath, masterName, parameters } = url;
  if (socketPath !== null) return { path: socketPath };
  if (masterName === null) return { ...hosts[0] };
  const sentinelUsername = parameters.get("sentinelUser");
  const sentinelPassword = parameters.get("sentinelPassword");
  return {
    sentinels: [...hosts],
    name: masterName,
    sentinelCommandTimeout: 1_500,
    ...(sentinelUsername === null ? {} : { sentinelUsername }),
    ...(sentinelPassword === null ? {} : { sentinelPassword }),
    ...(tls === null
      ? {}
      : { sentinelTLS: tls, enableTLSForSentinelMode: true, Connector: NamingSentinelConnector }),
  };
}

/** Where a URL points, for a message: without user, password and parameters. */
export function redisPlace(text: string): string {
  const url = parseRedisUrl(text);
  if (url === null) return "an unknown place";
  const { hosts, socketPath, masterName } = url;
  if (socketPath !== null) return socketPath;
  const places = hosts
    .map(({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`)
    .join(", ");
  return masterName === null ? places : `${masterName} of the Sentinels ${places}`;
}

function hostsIn(text: string, defaultPort: number): readonly RedisHost[] | null {
  const hosts: RedisHost[] = [];
  for (const item of text.split(",")) {
    const [, host, port] = /^(\[[\da-f:.]+\]|[^\s:[\],]+)(?::(\d{1,5}))?$/i.exec(item) ?? [];
    if (host === undefined || !URL.canParse(`http://${item}`)) return null;
    hosts.push({ host: host.replace(/^\[|\]$/g, ""), port: port === undefined ? defaultPort : Number(port) });
  }
  return hosts;
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
