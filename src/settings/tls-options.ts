import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import { messageOf, StartError } from "../core/errors.ts";

/** Options of Node's `tls.connect`. */
export interface TlsOptions {
  readonly rejectUnauthorized?: false;
  readonly ca?: string;
  readonly servername?: string;
}

/** A file of certificates is a few kB; all that a system trusts are 0.3 MB. */
const maxBytes = 1_000_000;

/**
 * What the parameters of a URL say of TLS: `tls=insecure` accepts any certificate, `ca=FILE` those that are signed by an authority
 * in that file (PEM), and by no other.
 *
 * @param host is sent as the server's name (SNI), which proxies of several servers need; Node sends none by itself. An IP address
 * is no such name.
 * @throws StartError when the file of `ca` cannot be read or has no certificate.
 */
export function tlsOptions(parameters: URLSearchParams, host = ""): TlsOptions {
  const file = parameters.get("ca");
  return {
    ...(parameters.get("tls") === "insecure" ? { rejectUnauthorized: false } : {}),
    ...(file === null ? {} : { ca: readCertificates(file, "ca") }),
    ...serverName(host),
  };
}

/** A host as the server's name; an IP address is none. */
export function serverName(host: string): Pick<TlsOptions, "servername"> {
  return host === "" || isIP(host) !== 0 ? {} : { servername: host };
}

/**
 * @param parameter of a URL, which names the file
 * @throws StartError when the file cannot be read or has no certificate.
 */
export function readCertificates(file: string, parameter: string): string {
  try {
    const text = readPem(file);
    new X509Certificate(text);
    return text;
  } catch (error) {
    throw new StartError(
      `expected a readable file of certificates (PEM) behind ${parameter}=, but with ${file}: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

/** @throws Error when the file cannot be read. */
export function readPem(file: string): string {
  const found = statSync(file);
  // Reading a FIFO or a device could wait for ever.
  if (!found.isFile()) throw new Error("it is not a regular file");
  if (found.size > maxBytes) throw new Error(`it has more than ${maxBytes} bytes`);
  return readFileSync(file, "utf8");
}
