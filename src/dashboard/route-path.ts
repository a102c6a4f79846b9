/** A page of the dashboard. */
export type Route =
  | { readonly page: "overview" }
  | { readonly page: "queue"; readonly queue: string }
  | { readonly page: "alerts" };

/** The page of a path below the dashboard's own, such as `queues/mail%2Fbulk`. Unknown paths are the overview. */
export function routeOf(path: string): Route {
  if (/^alerts\/?$/.test(path)) return { page: "alerts" };
  const name = /^queues\/(.+)$/.exec(path)?.[1];
  return name === undefined ? { page: "overview" } : { page: "queue", queue: decoded(name) };
}

/** A slash of a name may come as it is: proxies decode it, and people type it. */
export function pathOf(route: Route): string {
  if (route.page === "overview") return "";
  return route.page === "alerts" ? "alerts" : `queues/${encodeURIComponent(route.queue)}`;
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
