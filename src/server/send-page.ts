import { createHash } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";

/** A tag that changes with the content. */
export function etagOf(content: Buffer): string {
  return `"${createHash("sha256").update(content).digest("base64url")}"`;
}

/**
 * Whether the client has what it asks for, by `If-None-Match`: a list of tags, or `*` for whatever there is (RFC 9110, 13.1.2). Proxies that
 * compress an answer anew call its tag weak: whether one of the two is weak makes no difference here.
 */
export function hasCurrent(request: IncomingMessage, etag: string): boolean {
  const tags = request.headers["if-none-match"];
  return tags !== undefined && (tags.trim() === "*" || tags.includes(etag.replace(/^W\//, "")));
}

/** Answers with a page, or what belongs to it, unless the browser has it already. */
export function sendPage(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  headers: OutgoingHttpHeaders & { readonly ETag: string },
): void {
  if (hasCurrent(request, headers.ETag)) {
    // With all headers: a browser takes them for those of the page that it has, the policy too.
    response.writeHead(304, headers).end();
    return;
  }
  response.writeHead(200, { ...headers, "Content-Length": body.length }).end(body);
}
