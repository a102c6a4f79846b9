import type { DocumentNode } from "graphql";
import type { GraphQLParams, Plugin } from "graphql-yoga";
import { AppError } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import { accepts } from "./accepts.ts";

const answered = [
  "application/json",
  "application/graphql-response+json",
  "multipart/mixed",
  "text/event-stream",
] as const;

type ParseText = (text: string) => GraphQLParams | GraphQLParams[];

/**
 * Reads the parameters of an HTTP request in the place of Yoga: JSON is looked at before it is parsed, and what cannot be read
 * is refused in words of ours.
 */
export function useBoundedBody(guard: RequestGuard<DocumentNode>): Plugin {
  const parse: ParseText = (text) => parseBody(text, guard) as GraphQLParams | GraphQLParams[];
  // None that a page of another origin can send without the browser's asking first, such as a form.
  const parsers: ReadonlyMap<string, ParseText> = new Map<string, ParseText>([
    ["application/json", parse],
    ["application/graphql+json", parse],
  ]);

  function parseSearch(text: string): GraphQLParams {
    const search = new URLSearchParams(text);
    const jsonOf = (name: string) => {
      const json = search.get(name);
      return json ? { [name]: parseJson(json, name, guard) as Record<string, unknown> } : {};
    };
    return {
      query: search.get("query") || undefined,
      operationName: search.get("operationName") || undefined,
      ...jsonOf("variables"),
      ...jsonOf("extensions"),
    } as GraphQLParams;
  }

  return {
    onRequestParse({ request, setRequestParser }) {
      if (!accepts(request, ...answered)) {
        throw new AppError("NOT_ACCEPTABLE", `expected an Accept header with one of ${answered.join(", ")}`);
      }
      if (request.method === "GET") {
        setRequestParser(({ url }) => parseSearch(url.includes("?") ? url.slice(url.indexOf("?") + 1) : ""));
      } else if (request.method === "POST") {
        checkHeaders(request, guard.maxBodyBytes);
        const parser = parsers.get(mediaTypeOf(request));
        if (parser === undefined) {
          throw new AppError(
            "UNSUPPORTED_MEDIA_TYPE",
            `expected a body of one of ${[...parsers.keys()].join(", ")}`,
          );
        }
        setRequestParser(async (bounded) => parser(await textOf(bounded, guard.maxBodyBytes)));
      }
    },
  };
}

/**
 * Reads the body of a request: an object, or an array of a batch.
 *
 * @throws AppError what is wrong with it.
 */
export function parseBody(text: string, guard: RequestGuard<DocumentNode>): object {
  const body = parseJson(text, "the body", guard);
  if (typeof body === "object" && body !== null) return body;
  const got = body === null ? "null" : `a ${typeof body}`;
  throw new AppError("BAD_USER_INPUT", `expected the body to be an object or an array, got ${got}`);
}

function parseJson(text: string, what: string, guard: RequestGuard<DocumentNode>): unknown {
  try {
    return guard.parseJson(text);
  } catch (error) {
    // The parser's own words repeat what was sent.
    if (error instanceof SyntaxError) throw new AppError("BAD_USER_INPUT", `expected ${what} to be JSON`);
    throw error;
  }
}

function checkHeaders({ headers }: Request, maxBytes: number): void {
  const length = Number(headers.get("content-length") ?? 0);
  if (length > maxBytes) throw tooLarge(maxBytes, String(length));
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") {
    throw new AppError("UNSUPPORTED_MEDIA_TYPE", "expected a body that is not compressed");
  }
}

/** Yoga counts the bytes as they come, and breaks off. */
async function textOf(request: Request, maxBytes: number): Promise<string> {
  try {
    return await request.text();
  } catch (error) {
    const { extensions } = error as { readonly extensions?: { readonly code?: unknown } };
    if (extensions?.code === "REQUEST_ENTITY_TOO_LARGE") throw tooLarge(maxBytes, "more");
    // Somebody hung up, or broke off: there is nobody to be told, and nothing to be logged.
    throw new AppError("BAD_USER_INPUT", "expected a whole body", { cause: error });
  }
}

function tooLarge(maxBytes: number, got: string): AppError {
  return new AppError("BODY_TOO_LARGE", `expected a body of at most ${maxBytes} bytes, got ${got}`);
}

/** Without its parameters; of several, which some clients send, the first. */
function mediaTypeOf({ headers }: Request): string {
  const [mediaType = ""] = (headers.get("content-type") ?? "").split(/[;,]/, 1);
  return mediaType.trim().toLowerCase();
}
