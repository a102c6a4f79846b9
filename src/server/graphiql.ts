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

const headerExample = `{
  "Authorization": "Bearer TOKEN"
}`;

/**
 * GraphiQL as one page from this server, with no request to any other. It weighs 9 MB, so it is made and packed when the
 * first visitor comes, and then kept.
 *
 * @param needsToken shows where a token is to be written. It is not kept when the page is left.
 */
export function createGraphiQL(
  tabs: readonly ExampleTab[],
  needsToken: boolean,
): (response: ServerResponse) => Promise<void> {
  let page: Promise<Buffer> | undefined;

  async function render(): Promise<Buffer> {
    const { renderGraphiQL } = await import("@graphql-yoga/render-graphiql");
    const html = renderGraphiQL({
      title: "queue-latency",
      endpoint,
      defaultTabs: tabs.map(({ query }) => ({ query, headers: needsToken ? headerExample : null })),
      // Of the first tab, which the page finds in another way, and of new ones.
      ...(needsToken ? { headers: headerExample, defaultHeaders: headerExample } : {}),
      // Variables and headers are folded away where nobody needs them: the examples need the room more.
      defaultEditorToolsVisibility: needsToken ? "headers" : false,
    });
    const amendments = amend(tabs[0]?.query ?? "");
    return promisify(gzip)(html.replace("</head>", () => `${amendments}</head>`));
  }

  return async (response) => {
    page ??= render().catch((error: unknown) => {
      page = undefined;
      throw error;
    });
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

/**
 * What GraphiQL 5 lacks. A tab jumps aside when it gets the focus, and so a click misses it: drag and drop has given it a
 * place that it is not in. And a page that is loaded again before anything was edited gets one more tab, with nothing in it
 * (graphql/graphiql#4476): it looks for what was edited last, which here is said to be the first tab.
 */
function amend(query: string): string {
  const quoted = JSON.stringify(query).replaceAll("<", "\\u003c");
  return `<style>.graphiql-tab { transform: none !important; }</style>
<script>localStorage["graphiql:query"] ??= ${quoted};</script>
`;
}
