import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { policyOf } from "./http-response.ts";
import { prefersPage } from "./media-types.ts";
import { etagOf, sendPage } from "./send-page.ts";

/** A tab that a first visitor finds. */
export interface ExampleTab {
  readonly query: string;
}

interface Page {
  readonly body: Buffer;
  readonly etag: string;
  readonly contentSecurityPolicy: string;
}

/** Whether a browser asks for a page, rather than a program for data. */
export function wantsPage(request: IncomingMessage): boolean {
  return ["GET", "HEAD"].includes(request.method ?? "") && prefersPage(request.headers);
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
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  let page: Promise<Page> | undefined;

  async function render(): Promise<Page> {
    const { renderGraphiQL } = await import("@graphql-yoga/render-graphiql");
    const html = renderGraphiQL({
      title: "queue-latency",
      // No endpoint: it asks where it was loaded from, also behind a proxy under a path.
      defaultTabs: tabs.map(({ query }) => ({ query, headers: needsToken ? headerExample : null })),
      // Of the first tab, which the page finds in another way, and of new ones.
      ...(needsToken ? { headers: headerExample, defaultHeaders: headerExample } : {}),
      // Without tokens variables and headers are folded away: the examples need the room more.
      defaultEditorToolsVisibility: needsToken ? "headers" : false,
    });
    const parts = [
      firstQueryScript(tabs[0]?.query ?? ""),
      await scriptFile("graphiql-reconnect.js"),
      ...(needsToken ? [await scriptFile("graphiql-token.js")] : []),
    ];
    const script = parts.join("\n");
    const head = `${viewport}${style}<script>${script}</script>`;
    const body = await promisify(gzip)(html.replace("</head>", () => `${head}</head>`));
    return {
      body,
      etag: etagOf(body),
      contentSecurityPolicy: policyFor([script, scriptOf(html)]),
    };
  }

  return async (request, response) => {
    page ??= render().catch((error: unknown) => {
      page = undefined;
      throw error;
    });
    const { body, etag, contentSecurityPolicy } = await page;
    sendPage(request, response, body, {
      ETag: etag,
      // Asked for each time, and sent only when it is another one.
      "Cache-Control": "no-cache",
      "Content-Security-Policy": contentSecurityPolicy,
      "Content-Type": "text/html; charset=utf-8",
      "Content-Encoding": "gzip",
    });
  };
}

function scriptFile(name: string): Promise<string> {
  return readFile(new URL(name, import.meta.url), "utf8");
}

/** A phone would draw the page as wide as a desktop, and too small to read. */
const viewport = '<meta name="viewport" content="width=device-width, initial-scale=1">';

/**
 * A tab jumps aside when it gets the focus, and so a click misses it: drag and drop has given it a place that it is not in. Without a
 * token the documentation would show only that the schema cannot be fetched.
 */
const style = `<style>
.graphiql-tab { transform: none !important; }
@media (max-width: 700px) {
  .graphiql-sessions > :has(> .graphiql-editors) { flex-direction: column; }
  .graphiql-horizontal-drag-bar, .graphiql-logo { display: none; }
}
.needs-token .graphiql-doc-explorer-error { font-size: 0; }
.needs-token .graphiql-doc-explorer-error::after {
  content: "This server needs a token. Write it into the editor Headers in place of TOKEN, then press the button Re-fetch GraphQL schema.";
  font-size: 1rem;
}
</style>`;

/**
 * A page that is loaded again before anything was edited gets one more tab, with nothing in it (graphql/graphiql#4476): it
 * looks for what was edited last, and finds the first tab here.
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
  return policyOf(
    `script-src ${hashes.join(" ")}`,
    "worker-src blob:",
    "style-src 'unsafe-inline'",
    "img-src data:",
    "font-src data:",
    "connect-src 'self'",
  );
}
