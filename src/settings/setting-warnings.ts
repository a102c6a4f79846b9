import { closest } from "./closest.ts";
import { hasUnverifiedTls } from "./postgres-url.ts";
import type { SourceConfig } from "./source-urls.ts";

/** Something for the log. The environment is shared with other programs, so an unknown variable is no error. */
export interface SettingWarning {
  readonly message: string;
  readonly setting?: string;
  /** The setting that was probably meant. */
  readonly meant?: string;
  readonly source?: string;
}

/** Shorter names (HOST, PORT) are close to those of many other programs. */
const minLength = 6;

/** Variables whose names are close to that of a setting. */
export function misspeltSettings(
  variables: readonly string[],
  settings: readonly string[],
): readonly SettingWarning[] {
  const long = settings.filter((name) => name.length >= minLength);
  return variables.flatMap((setting) => {
    if (settings.includes(setting) || setting.length < minLength) return [];
    const meant = closest(setting, long);
    return meant === null
      ? []
      : [{ setting, meant, message: "unknown setting ignored; it is close to one that exists" }];
  });
}

const unverifiedPostgres =
  "the TLS certificate of a Postgres is not verified: anyone on the network path can read and change the data; set sslmode=verify-full";

/** Connections whose certificates are not verified. */
export function unverifiedTls(
  redisUrls: readonly string[],
  sources: readonly SourceConfig[],
): readonly SettingWarning[] {
  const message =
    "TLS certificates are not verified (tls=insecure): anyone on the network path can read and change the data";
  const isInsecure = (url: string) => /[?&]tls=insecure(&|$)/.test(url);
  return [
    ...(redisUrls.some(isInsecure) ? [{ setting: "REDIS_URL", message }] : []),
    ...sources.filter(({ url }) => isInsecure(url)).map(({ name }) => ({ source: name, message })),
    ...sources
      .filter(({ kind, url }) => kind === "postgres" && hasUnverifiedTls(url))
      .map(({ name }) => ({ source: name, message: unverifiedPostgres })),
  ];
}
