import { createPrivateKey, X509Certificate } from "node:crypto";
import { messageOf } from "../core/errors.ts";
import type { Given } from "./otlp-values.ts";
import { readPem } from "./tls-options.ts";

/** PEM texts for a collector behind `https://`. */
export interface OtlpTls {
  /** The authorities that sign the collector's certificate, in place of those of Node. */
  readonly ca?: string;
  /** The certificate that this server shows, and its key. */
  readonly cert?: string;
  readonly key?: string;
}

export interface ReadOtlpTls {
  readonly tls: OtlpTls;
  readonly problems: readonly string[];
}

/**
 * Reads the files here, since the SDK ignores one that it cannot read.
 *
 * @param nameOf the variable with this ending that counts.
 */
export function readOtlpTls(given: Given, nameOf: (ending: string) => string): ReadOtlpTls {
  const problems: string[] = [];
  function read<T>(ending: string, what: string, parse: (pem: string) => T) {
    const name = nameOf(ending);
    const file = given[name];
    if (file === undefined) return null;
    try {
      const pem = readPem(file);
      return { pem, parsed: parse(pem) };
    } catch (error) {
      problems.push(
        `${name}: expected a readable file of ${what} (PEM), but with ${file}: ${messageOf(error)}`,
      );
      return null;
    }
  }
  const ca = read("CERTIFICATE", "certificates", (pem) => new X509Certificate(pem));
  const cert = read("CLIENT_CERTIFICATE", "certificates", (pem) => new X509Certificate(pem));
  const key = read("CLIENT_KEY", "a private key without a passphrase", createPrivateKey);
  const [certName, keyName] = [nameOf("CLIENT_CERTIFICATE"), nameOf("CLIENT_KEY")];
  if (cert !== null && given[keyName] === undefined)
    problems.push(`${certName}: expected ${keyName} as well`);
  if (key !== null && given[certName] === undefined)
    problems.push(`${keyName}: expected ${certName} as well`);
  if (cert !== null && key !== null && !cert.parsed.checkPrivateKey(key.parsed))
    problems.push(`${keyName}: expected the key of ${certName}, got another one`);
  return {
    tls: {
      ...(ca !== null && { ca: ca.pem }),
      ...(cert !== null && { cert: cert.pem }),
      ...(key !== null && { key: key.pem }),
    },
    problems,
  };
}
