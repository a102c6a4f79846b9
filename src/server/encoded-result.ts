import type { GraphQLError, GraphQLFormattedError } from "graphql";
import type { CostReport } from "../core/admission.ts";
import type { JsonResult } from "./execute.ts";

/** A result as it is written, once for all that get it. */
export interface EncodedResult {
  /** A JSON object with `data`, `errors` or both. */
  readonly json: string;
  /** What decides the status of an HTTP response. */
  readonly errors: readonly GraphQLError[];
  /** The same as a `next` event of a stream. */
  readonly event: Buffer;
}

/** @param result its `data` is JSON, and absent when nothing was executed. */
export function encodeResult({ data, errors }: Partial<JsonResult>): EncodedResult {
  const members = [
    ...(data === undefined ? [] : [`"data":${data}`]),
    ...(errors === undefined ? [] : [`"errors":${JSON.stringify(errors.map(formatError))}`]),
  ];
  const json = `{${members.join(",")}}`;
  let event: Buffer | undefined;
  return {
    json,
    errors: errors ?? [],
    get event() {
      event ??= Buffer.from(eventOf(json));
      return event;
    },
  };
}

/** A `next` event of a stream. */
export function eventOf(json: string): string {
  return `event: next\ndata: ${json}\n\n`;
}

/** The JSON of a result with its cost among the extensions. */
export function withCost(json: string, cost: CostReport | undefined): string {
  if (cost === undefined) return json;
  return `${json.slice(0, -1)},"extensions":${JSON.stringify({ cost })}}`;
}

/** An error as a client sees it: without the status and headers for HTTP. */
export function formatError(error: GraphQLError): GraphQLFormattedError {
  const { extensions: all = {}, ...formatted } = error.toJSON();
  const { http: _, ...extensions } = all;
  return Object.keys(extensions).length === 0 ? formatted : { ...formatted, extensions };
}
