/** A page of the dashboard. */
export type Route =
  | { readonly page: "overview" }
  | { readonly page: "queue"; readonly queue: string }
  | { readonly page: "alerts" };

/** The page of a path below the dashboard's own, such as `queues/mail%2Fbulk`. Unknown paths are the overview. */
export function routeOf(path: string): Route {
  if (/^alerts\/?$/.test(path)) return { page: "alerts" };
  const queue = queueOf(/^queues\/(.+)$/.exec(path)?.[1] ?? "");
  return queue === "" ? { page: "overview" } : { page: "queue", queue };
}

export function pathOf(route: Route): string {
  if (route.page === "overview") return "";
  return route.page === "alerts" ? "alerts" : `queues/${encodeURIComponent(starred(route.queue))}`;
}

/** A slash of a name may come as it is: proxies decode it, and people type it. */
function queueOf(text: string): string {
  return decoded(text).replaceAll("*", "");
}

/**
 * With a star in front of the parts `.`, `..` and ``, which browsers and proxies take out of a path, encoded or not. No name has a star of
 * its own.
 */
function starred(name: string): string {
  return name
    .split("/")
    .map((part) => (/^\.{0,2}$/.test(part) ? `*${part}` : part))
    .join("/");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
