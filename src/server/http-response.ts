import { type IncomingMessage, type OutgoingHttpHeaders, ServerResponse, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { GraphQLError } from "graphql";
import { AppError, errorStatus } from "../core/errors.ts";
import { acceptedMediaTypes, type MediaType } from "./media-types.ts";

/**
 * On every response: it is of the type that it says, no page of another origin frames, opens or embeds it, it runs nothing,
 * no cache keeps it, and its address is no referrer.
 */
const securityHeaders: Readonly<Record<string, string>> = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": policyOf(),
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

/** A response with the headers of every response. Node takes several times as long to set each of them before its head. */
export class SecuredResponse<
  Request extends IncomingMessage = IncomingMessage,
> extends ServerResponse<Request> {
  /** Beside those that are the same on every response. */
  originHeaders: OutgoingHttpHeaders = {};

  override writeHead(status: number, ...rest: unknown[]): this {
    const headers = rest.at(-1);
    const own = typeof headers === "object" ? headers : {};
    return super.writeHead(status, { ...securityHeaders, ...this.originHeaders, ...own });
  }
}

/** What a page may do, and nothing else. */
export function policyOf(...allowed: readonly string[]): string {
  const refused = ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"];
  return ["default-src 'none'", ...allowed, ...refused].join("; ");
}

export interface ResponseHead {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
}

/**
 * Status and headers of a response to one operation: the highest status that an error asks for, 200 if none does. For
 * `application/json` a document that cannot be parsed or is not valid is 200, as GraphQL over HTTP recommends. A stream of events is
 * 200 with the errors in it, as the protocol of graphql-sse demands: its client takes a 4xx for a broken network, and an `EventSource`
 * cannot read one.
 */
export function headOf(errors: readonly GraphQLError[], mediaType: MediaType): ResponseHead {
  let status = 200;
  const headers: OutgoingHttpHeaders = {};
  for (const { extensions } of errors) {
    const http = extensions.http as Partial<ResponseHead> | undefined;
    Object.assign(headers, http?.headers);
    if (!documentErrors.has(extensions.code)) status = Math.max(status, http?.status ?? 200);
    else if (mediaType === "application/graphql-response+json") status = Math.max(status, 400);
  }
  if (mediaType === "text/event-stream" && status < 500 && !clientStatuses.has(status)) status = 200;
  return { status, headers };
}

/** Of refusals that are no answer to an operation: who the client is, and how it asks. */
const clientStatuses: ReadonlySet<number> = new Set([401, 405, 406, 413, 415]);

const documentErrors: ReadonlySet<unknown> = new Set(["GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED"]);

export function sendText(
  response: ServerResponse,
  mediaType: MediaType | "text/plain",
  text: string,
  { status, headers }: ResponseHead,
): void {
  const length = Buffer.byteLength(text);
  response.writeHead(status, {
    "Content-Type": `${mediaType}; charset=utf-8`,
    "Content-Length": length,
    ...headers,
  });
  // Nearly all are ASCII, which V8 copies as it is.
  response.end(text, length === text.length ? "latin1" : "utf8");
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: Readonly<Record<string, unknown>>,
  headers: OutgoingHttpHeaders = {},
): void {
  sendText(response, "application/json", `${JSON.stringify(body)}\n`, { status, headers });
}

/**
 * Answers a request of which nothing ran, in the form of GraphQL's own errors, and in the media type that the client prefers: Apollo
 * reads the errors of a 4xx or 5xx only from `application/graphql-response+json`.
 */
export function sendRefusal(
  response: ServerResponse,
  error: AppError,
  { status, headers }: RefusalOptions = {},
): void {
  const [preferred = "application/json"] = acceptedMediaTypes(response.req.headers);
  const mediaType = preferred === "text/event-stream" ? "application/json" : preferred;
  sendText(response, mediaType, `${JSON.stringify(bodyOf(error))}\n`, {
    status: status ?? errorStatus[error.code],
    headers: { ...headersOf(error), ...headers },
  });
}

export interface RefusalOptions {
  /** @default the status of the error's code. */
  readonly status?: number;
  readonly headers?: OutgoingHttpHeaders;
}

/** The same for what Node answers no request to, such as an upgrade. Closes the connection. */
export function refuseSocket(
  socket: Duplex,
  error: AppError,
  { status = errorStatus[error.code], headers = {} }: RefusalOptions = {},
): void {
  const body = `${JSON.stringify(bodyOf(error))}\n`;
  const all = {
    ...securityHeaders,
    "Content-Type": "application/json; charset=utf-8",
    "Content-Length": Buffer.byteLength(body),
    Connection: "close",
    ...headersOf(error),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  // A client that does not close its end must not keep ours open.
  socket.once("finish", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
}

function bodyOf({ code, message, retryAfterSeconds }: AppError) {
  const extensions = { code, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
  return { errors: [{ message, extensions }] };
}

function headersOf({ retryAfterSeconds }: AppError): OutgoingHttpHeaders {
  return retryAfterSeconds === undefined ? {} : { "Retry-After": String(retryAfterSeconds) };
}

/** Refuses everything while the server stops: another server takes over, or this one starts again. */
export function leavingError(): AppError {
  return new AppError("SERVICE_UNAVAILABLE", "this server is stopping; retry after 1 s", {
    retryAfterSeconds: 1,
  });
}
