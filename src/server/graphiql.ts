import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { endpoint } from "./graphql.ts";

/** A tab that a first visitor finds. */
export interface ExampleTab {
  readonly query: string;
}

/** Whether a browser asks for a page, rather than a program for data. */
export function wantsPage(request: IncomingMessage): boolean {
  return request.method === "GET" && request.headers.accept?.includes("text/html") === true;
}

/**
 * GraphiQL as one page from this server, with no request to any other. It weighs 9 MB, so it is made and packed when the
 * first visitor comes, and then kept.
 */
export function createGraphiQL(tabs: readonly ExampleTab[]): (response: ServerResponse) => Promise<void> {
  let page: Promise<Buffer> | undefined;

  async function render(): Promise<Buffer> {
    const { renderGraphiQL } = await import("@graphql-yoga/render-graphiql");
    const html = renderGraphiQL({
      title: "queue-latency",
      endpoint,
      defaultTabs: tabs.map(({ query }) => ({ query })),
      // Variables and headers are folded away: the examples need the room more.
      defaultEditorToolsVisibility: false,
      ...(tabs[0] === undefined ? {} : { defaultQuery: tabs[0].query }),
    });
    return promisify(gzip)(html);
  }

  return async (response) => {
    page ??= render();
    const body = await page;
    response.writeHead(200, {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Encoding": "gzip",
      "Content-Length": body.length,
      "Cache-Control": "no-cache",
    });
    response.end(body);
  };
}
