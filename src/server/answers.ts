import type { OutgoingHttpHeaders, ServerResponse } from "node:http";
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { AppError, errorStatus } from "../core/errors.ts";

/**
 * On every answer: it is what it says it is, no page of others frames, opens or embeds it, it may do nothing itself, nobody
 * keeps it, and where it was read is told to nobody.
 */
export const securityHeaders: Readonly<Record<string, string>> = {
  "Cache-Control": "no-store",
  "Content-Security-Policy":
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};

export function sendJson(
  response: ServerResponse,
  status: number,
  body: Readonly<Record<string, unknown>>,
  headers: OutgoingHttpHeaders = {},
): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, { ...typeOf(text), ...headers });
  response.end(text);
}

/** Answers a request of which nothing was run, in the shape that GraphQL's own errors have. */
export function sendRefusal(
  response: ServerResponse,
  error: AppError,
  { status, headers }: RefusalOptions = {},
): void {
  sendJson(response, status ?? errorStatus[error.code], bodyOf(error), { ...headersOf(error), ...headers });
}

export interface RefusalOptions {
  /** Where HTTP has a better word than the error's own. */
  readonly status?: number;
  readonly headers?: OutgoingHttpHeaders;
}

/** The same for what is no request that Node answers, such as an upgrade, and the end of its connection. */
export function refuseSocket(
  socket: Duplex,
  error: AppError,
  { status = errorStatus[error.code], headers = {} }: RefusalOptions = {},
): void {
  const body = `${JSON.stringify(bodyOf(error))}\n`;
  const all = {
    ...securityHeaders,
    ...typeOf(body),
    Connection: "close",
    ...headersOf(error),
    ...headers,
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  // Who does not close its end must not keep ours.
  socket.once("finish", () => socket.destroy());
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join("\r\n")}\r\n\r\n${body}`);
}

function bodyOf({ code, message, retryAfterSeconds }: AppError) {
  const extensions = { code, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
  return { errors: [{ message, extensions }] };
}

function typeOf(json: string): OutgoingHttpHeaders {
  return { "Content-Type": "application/json; charset=utf-8", "Content-Length": Buffer.byteLength(json) };
}

function headersOf({ retryAfterSeconds }: AppError): OutgoingHttpHeaders {
  return retryAfterSeconds === undefined ? {} : { "Retry-After": String(retryAfterSeconds) };
}

/** What is said to everybody while the server stops: another one is there, or soon this one again. */
export function leavingError(): AppError {
  return new AppError("SERVICE_UNAVAILABLE", "this server is stopping; try again", { retryAfterSeconds: 1 });
}
