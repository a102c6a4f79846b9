import { createHash } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";

/** A tag that changes with the content. */
export function etagOf(content: Buffer): string {
  return `"${createHash("sha256").update(content).digest("base64url")}"`;
}

/** Answers with a page, or what belongs to it, unless the browser has it already. */
export function sendPage(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  headers: OutgoingHttpHeaders & { readonly ETag: string },
): void {
  // Proxies that compress an answer anew call its tag weak.
  if (request.headers["if-none-match"]?.includes(headers.ETag) === true) {
    // With all headers: a browser takes them for those of the page that it has, the policy too.
    response.writeHead(304, headers).end();
    return;
  }
  response.writeHead(200, { ...headers, "Content-Length": body.length }).end(body);
}
