import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { endpoint } from "./endpoint.ts";

/** A tab that a first visitor finds. */
export interface ExampleTab {
  readonly query: string;
}

interface Page {
  readonly body: Buffer;
  readonly contentSecurityPolicy: string;
}

/** Whether a browser asks for a page, rather than a program for data. */
export function wantsPage(request: IncomingMessage): boolean {
  return (
    ["GET", "HEAD"].includes(request.method ?? "") && request.headers.accept?.includes("text/html") === true
  );
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
  let page: Promise<Page> | undefined;

  async function render(): Promise<Page> {
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
    const firstQuery = firstQueryScript(tabs[0]?.query ?? "");
    const reconnect = await readFile(new URL("graphiql-reconnect.js", import.meta.url), "utf8");
    const scripts = [firstQuery, reconnect].map((script) => `<script>${script}</script>`).join("");
    const amended = html.replace("</head>", () => `${tabStyle}${scripts}</head>`);
    return {
      body: await promisify(gzip)(amended),
      contentSecurityPolicy: policyFor([firstQuery, reconnect, scriptOf(html)]),
    };
  }

  return async (response) => {
    page ??= render().catch((error: unknown) => {
      page = undefined;
      throw error;
    });
    const { body, contentSecurityPolicy } = await page;
    response.writeHead(200, {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Encoding": "gzip",
      "Content-Length": body.length,
      "Content-Security-Policy": contentSecurityPolicy,
      "Cache-Control": "no-cache",
    });
    response.end(body);
  };
}

/** A tab jumps aside when it gets the focus, and so a click misses it: drag and drop has given it a place that it is not in. */
const tabStyle = "<style>.graphiql-tab { transform: none !important; }</style>";

/**
 * A page that is loaded again before anything was edited gets one more tab, with nothing in it (graphql/graphiql#4476): it
 * looks for what was edited last, which here is said to be the first tab.
 */
function firstQueryScript(query: string): string {
  return `localStorage["graphiql:query"] ??= ${JSON.stringify(query).replaceAll("<", "\\u003c")};`;
}

/** The page's one script, which has markup in its texts, and so goes on to the last end of a script. */
function scriptOf(html: string): string {
  const begin = "<script>";
  return html.slice(html.indexOf(begin) + begin.length, html.lastIndexOf("</script>"));
}

/**
 * Only these scripts run, and only this server is talked to. The editor makes its workers out of texts, writes style elements
 * and attributes, and has its fonts and pictures in its styles.
 */
function policyFor(scripts: readonly string[]): string {
  const hashes = scripts.map((script) => `'sha256-${createHash("sha256").update(script).digest("base64")}'`);
  return [
    "default-src 'none'",
    `script-src ${hashes.join(" ")}`,
    "worker-src blob:",
    "style-src 'unsafe-inline'",
    "img-src data:",
    "font-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
