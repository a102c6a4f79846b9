import type { DocumentNode } from "graphql";
import { AppError } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";

/** What a transport received: a text, or parameters that are parsed already. */
export type Sent = SentText | { readonly params: unknown };

/** The body of a POST, or the target of a GET. */
export type SentText = { readonly body: string } | { readonly target: string };

/**
 * The parameters of an operation, or a list of them, unchecked.
 *
 * @throws AppError BAD_USER_INPUT, VARIABLES_TOO_DEEP or VARIABLES_TOO_LARGE.
 */
export function parseText(sent: SentText, guard: RequestGuard<DocumentNode>): unknown {
  return "body" in sent ? parseBody(sent.body, guard) : paramsOf(sent.target, guard);
}

function parseBody(text: string, guard: RequestGuard<DocumentNode>): object {
  const body = parseJson(text, "the body", guard);
  if (typeof body === "object" && body !== null) return body;
  const got = body === null ? "null" : `a ${typeof body}`;
  throw new AppError("BAD_USER_INPUT", `expected the body to be an object or a list, got ${got}`);
}

function paramsOf(url: string, guard: RequestGuard<DocumentNode>): object {
  const search = new URLSearchParams(url.includes("?") ? url.slice(url.indexOf("?") + 1) : "");
  const json = (name: string) => {
    const text = search.get(name);
    return text ? parseJson(text, name, guard) : null;
  };
  return {
    query: search.get("query"),
    operationName: search.get("operationName") || null,
    variables: json("variables"),
    extensions: json("extensions"),
    documentId: search.get("documentId"),
    doc_id: search.get("doc_id"),
    id: search.get("id"),
  };
}

function parseJson(text: string, what: string, guard: RequestGuard<DocumentNode>): unknown {
  try {
    return guard.parseJson(text);
  } catch (error) {
    // The parser's own message repeats what was sent.
    if (error instanceof SyntaxError) throw new AppError("BAD_USER_INPUT", `expected ${what} to be JSON`);
    throw error;
  }
}
