import type { GraphQLError, GraphQLFormattedError } from "graphql";
import type { CostReport } from "../core/admission.ts";
import type { JsonResult } from "../executor/execute.ts";
import { bytesOf } from "./text-frame.ts";

/** A result as it is written, once for all that get it. */
export interface EncodedResult {
  /** A JSON object with `data`, `errors` or both, without the brace that closes it. */
  readonly open: string;
  readonly json: string;
  /** What decides the status of an HTTP response. */
  readonly errors: readonly GraphQLError[];
  /** The same as a chunk of an HTTP response: a `next` event of a stream. */
  readonly chunk: Buffer;
  /** The end of a `next` message of a WebSocket, behind what differs for each subscription: its bytes, a character each. */
  readonly messageEnd: string;
}

/** @param result its `data` is JSON, and absent when nothing was executed. */
export function encodeResult({ data, errors }: Partial<JsonResult>): EncodedResult {
  if (errors === undefined) return encoded(`{"data":${data}`, []);
  const head = data === undefined ? "{" : `{"data":${data},`;
  return encoded(`${head}"errors":${JSON.stringify(errors.map(formatError))}`, errors);
}

function encoded(open: string, errors: readonly GraphQLError[]): EncodedResult {
  let chunk: Buffer | undefined;
  let messageEnd: string | undefined;
  return {
    open,
    errors,
    get json() {
      return `${open}}`;
    },
    get chunk() {
      chunk ??= chunkOf(eventOf(`${open}}`));
      return chunk;
    },
    get messageEnd() {
      messageEnd ??= bytesOf(`${open}}}`);
      return messageEnd;
    },
  };
}

/** A `next` event of a stream. */
export function eventOf(json: string): string {
  return `event: next\ndata: ${json}\n\n`;
}

/** A chunk of an HTTP response (RFC 9112, section 7.1). */
export function chunkOf(text: string): Buffer {
  return Buffer.from(chunkTextOf(text));
}

/** The end of an HTTP response in chunks, with a text before it. */
export function lastChunks(text: string): string {
  return `${text === "" ? "" : chunkTextOf(text)}0\r\n\r\n`;
}

function chunkTextOf(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

/** The same result with its cost among the extensions. */
export function resultWithCost({ open, errors }: EncodedResult, cost: CostReport | undefined): EncodedResult {
  return encoded(openWithCost(open, cost), errors);
}

/** The JSON of a result with its cost among the extensions. */
export function withCost({ open }: Pick<EncodedResult, "open">, cost: CostReport | undefined): string {
  return `${openWithCost(open, cost)}}`;
}

function openWithCost(open: string, cost: CostReport | undefined): string {
  return cost === undefined ? open : `${open},"extensions":${JSON.stringify({ cost })}`;
}

/** An error as a client sees it: without the status and headers for HTTP. */
export function formatError(error: GraphQLError): GraphQLFormattedError {
  const { extensions: all = {}, ...formatted } = error.toJSON();
  const { http: _, ...extensions } = all;
  return Object.keys(extensions).length === 0 ? formatted : { ...formatted, extensions };
}
