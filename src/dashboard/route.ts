import { batch, signal } from "@preact/signals";
import { pathOf, type Route, routeOf } from "./route-path.ts";
import { newEntryState, noteScrollPosition, scrollWhenDrawn } from "./scroll-position.ts";

/** Where the dashboard is served, such as `/` or `/queues/` behind a proxy: this script is in `assets/` below it. */
const basePath = new URL("..", import.meta.url).pathname;

export const graphqlPath = `${basePath}graphql`;

/** The page that is shown. */
export const route = signal<Route>(currentRoute());
/** The query string: all else that a page shows by choice. */
export const params = signal(new URLSearchParams(location.search));

type Changes = Readonly<Record<string, string | null>>;

export function hrefOf(to: Route, query: URLSearchParams | Changes = {}): string {
  const text = String(query instanceof URLSearchParams ? query : changed(new URLSearchParams(), query));
  return `${basePath}${pathOf(to)}${text === "" ? "" : `?${text}`}`;
}

/** @param scrollPx how far down the page is shown. */
export function navigate(to: Route, query: URLSearchParams | Changes = {}, scrollPx = 0): void {
  history.pushState(newEntryState(), "", hrefOf(to, query));
  readAddress();
  scrollWhenDrawn(scrollPx);
}

/**
 * Changes parts of the query string; null removes one.
 *
 * @param entry `push` makes an entry of the browser's history, for what the button Back is to undo.
 */
export function setParams(changes: Changes, entry: "push" | "replace" = "replace"): void {
  const href = hrefOf(route.value, changed(new URLSearchParams(params.value), changes));
  if (entry === "push") history.pushState(newEntryState(), "", href);
  else history.replaceState(history.state, "", href);
  noteScrollPosition();
  readAddress();
}

addEventListener("popstate", readAddress);

function readAddress(): void {
  batch(() => {
    route.value = currentRoute();
    params.value = new URLSearchParams(location.search);
  });
}

function currentRoute(): Route {
  return routeOf(location.pathname.startsWith(basePath) ? location.pathname.slice(basePath.length) : "");
}

function changed(query: URLSearchParams, changes: Changes): URLSearchParams {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  return query;
}
