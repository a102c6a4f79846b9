import { GraphQLError } from "graphql";
import type { JsonResult } from "../executor/execute.ts";

const maxMessageLength = 300;
const maxLocations = 2;

export interface ErrorBounds {
  /** Maximum number of errors in one response; the operations of a batch share them, but each has one. */
  readonly maxErrors: number;
  /** Whether a message may suggest names of the schema. */
  readonly introspection: boolean;
}

/** Keeps responses small whatever was asked: few errors, whose messages do not repeat the request at length. */
export function boundResult(result: Partial<JsonResult>, bounds: ErrorBounds): Partial<JsonResult> {
  return result.errors === undefined ? result : { ...result, errors: boundErrors(result.errors, bounds) };
}

/** The first errors, each with a short message, few locations, and no suggestion if introspection is off. */
export function boundErrors(errors: readonly GraphQLError[], bounds: ErrorBounds): readonly GraphQLError[] {
  return errors.slice(0, bounds.maxErrors).map((error) => boundError(error, bounds));
}

function boundError(error: GraphQLError, { introspection }: ErrorBounds): GraphQLError {
  const { source, path, originalError, extensions } = error;
  const suggestionAt = introspection ? -1 : error.message.lastIndexOf(" Did you mean ");
  const message = suggestionAt < 0 ? error.message : error.message.slice(0, suggestionAt);
  const isShort = message.length <= maxMessageLength;
  if (isShort && message === error.message && (error.positions?.length ?? 0) <= maxLocations) return error;
  return new GraphQLError(isShort ? message : `${message.slice(0, maxMessageLength - 1)}…`, {
    source: source ?? null,
    positions: error.positions?.slice(0, maxLocations) ?? null,
    path: path ?? null,
    originalError: originalError ?? null,
    extensions,
  });
}
