import { messageOf } from "../core/errors.ts";
import { closest } from "./closest.ts";
import { tlsOptions } from "./tls-options.ts";

/**
 * What is wrong with the parameters behind a URL's `?`; null when nothing is. Neither a value nor the name of an unknown parameter
 * is repeated: it may be the rest of a password in which a `?` was not escaped.
 */
export function parametersProblem(parameters: URLSearchParams, known: readonly string[]): string | null {
  const names = [...parameters.keys()];
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    const meant = unknown.map((name) => closest(name, known)).filter((name) => name !== null);
    const hint = meant.length === 0 ? "" : ` (did you mean ${[...new Set(meant)].join(", ")}?)`;
    const allowed =
      known.length === 0 ? "no parameter" : `only these parameters behind the ?: ${known.join(", ")}`;
    return `${allowed}${hint}`;
  }
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  return repeated === undefined ? null : `the parameter ${repeated} once`;
}

/** What is wrong with `tls=` and `ca=`; null when nothing is. */
export function tlsProblem(parameters: URLSearchParams, isTls: boolean, schemes: string): string | null {
  const tls = parameters.get("tls");
  const ca = parameters.get("ca");
  if (tls === null && ca === null) return null;
  if (!isTls) return `${schemes} with the parameters tls and ca`;
  if (tls !== null && tls !== "insecure") return "tls=insecure, or no parameter tls";
  if (tls !== null && ca !== null) return "one of tls=insecure and ca=FILE";
  try {
    tlsOptions(parameters);
    return null;
  } catch (error) {
    return messageOf(error).replace(/^expected /, "");
  }
}
