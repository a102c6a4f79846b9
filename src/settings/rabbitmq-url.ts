import { isDecodable, isUrl } from "./fields.ts";
import { type TlsOptions, tlsOptions } from "./tls-options.ts";
import { parametersProblem, tlsProblem } from "./url-parameters.ts";

export interface RabbitmqAddress {
  readonly isTls: boolean;
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  /** The path under which the management API is served, without a slash at the end. */
  readonly path: string;
  readonly tls: TlsOptions;
  /** Null: all that the user may see. */
  readonly vhosts: readonly string[] | null;
}

export const rabbitmqForm =
  "http://user:password@host[:15672][/path][?vhosts=A,B&as=NAME], the URL of the management API, or https:// (percent-encode reserved characters in user and password)";

/** What was expected of such a URL; null when it is right. */
export function rabbitmqProblem(text: string): string | null {
  const url = URL.parse(text);
  if (url === null || !isUrl(`${url.protocol}//${url.host}`, ["http:", "https:"])) return rabbitmqForm;
  const parts = [url.username, url.password, url.pathname];
  if (url.username === "" || url.hash !== "" || !parts.every(isDecodable)) return rabbitmqForm;
  return (
    parametersProblem(url.searchParams, ["as", "vhosts", "tls", "ca"]) ??
    tlsProblem(url.searchParams, url.protocol === "https:", "https://")
  );
}

/** Of a URL in which {@link rabbitmqProblem} finds nothing wrong. Reads the file of `ca`. */
export function rabbitmqAddress(text: string): RabbitmqAddress {
  const url = new URL(text);
  const isTls = url.protocol === "https:";
  const vhosts = (url.searchParams.get("vhosts") ?? "").split(",").filter((name) => name !== "");
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return {
    ...{ isTls, host },
    // The default ports of http and https are no part of a parsed URL; RabbitMQ's are 15672 and 15671.
    port:
      url.port !== ""
        ? Number(url.port)
        : namesDefaultPort(text)
          ? isTls
            ? 443
            : 80
          : isTls
            ? 15671
            : 15672,
    username: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    path: url.pathname.replace(/\/+$/, ""),
    tls: isTls ? tlsOptions(url.searchParams, host) : {},
    vhosts: vhosts.length === 0 ? null : vhosts,
  };
}

function namesDefaultPort(text: string): boolean {
  return /^[^/]*\/\/[^/?#]*:(?:80|443)(?:[/?#]|$)/.test(text);
}
