import type { IncomingMessage } from "node:http";

/**
 * The request target from its path on, without the base path, whether a host stands before it (as for a proxy) or not; null when it is
 * neither.
 */
export function targetOf({ url = "" }: IncomingMessage, basePath: string): string | null {
  const absolute = /^https?:/i.test(url) ? URL.parse(url) : null;
  const target = absolute === null ? url : absolute.pathname + absolute.search;
  if (!target.startsWith("/")) return null;
  const inside = target.slice(basePath.length);
  if (basePath === "" || !target.startsWith(basePath) || !/^([/?]|$)/.test(inside)) return target;
  return inside.startsWith("/") ? inside : `/${inside}`;
}

/** The path of a target, without its search. */
export function pathOf(target: string): string {
  return target.split("?", 1)[0] ?? "";
}

/** What a request has that {@link hasSeveral} lets pass. */
export const oneOfEach = "one Host and one Authorization header at most";

/** Several hosts or tokens: Node takes the first, and a proxy may have taken another one. */
export function hasSeveral({ rawHeaders }: IncomingMessage): boolean {
  let hosts = 0;
  let authorizations = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
    else if (name.length === 13 && name.toLowerCase() === "authorization") authorizations += 1;
  }
  return hosts > 1 || authorizations > 1;
}
