import { type ExecutionResult, GraphQLError, type GraphQLFormattedError } from "graphql";
import { isAsyncIterable, mapAsyncIterator, type Plugin } from "graphql-yoga";

const longestMessage = 300;
const mostLocations = 2;

export interface BriefOptions {
  /** Most errors in one answer; the operations of a batch share them, but each has one. */
  readonly maxErrors: number;
  /** Whether a message may suggest names of the schema. */
  readonly introspection: boolean;
}

/** Keeps answers small whatever was asked: few errors, and messages that do not repeat the request at length. */
export function useBriefErrors(options: BriefOptions): Plugin {
  return {
    onResultProcess({ result, setResult, resultProcessor, setResultProcessor }) {
      if (isAsyncIterable(result)) {
        const pushes = result[Symbol.asyncIterator]() as AsyncIterableIterator<ExecutionResult>;
        setResult(mapAsyncIterator(pushes, (push) => briefResult(push, options)));
      } else if (Array.isArray(result)) {
        const maxErrors = Math.ceil(options.maxErrors / Math.max(1, result.length));
        setResult(result.map((each) => briefResult(each, { ...options, maxErrors })));
      } else {
        const brief = briefResult(result, options);
        setResult(brief);
        // Yoga would say nothing at all to a client that takes none of its media types.
        if (resultProcessor === undefined)
          setResultProcessor((_, { Response }) => jsonOf(brief, Response), "");
      }
    },
  };
}

/** The same result with few and short errors. */
export function briefResult<T extends ExecutionResult>(result: T, options: BriefOptions): T {
  return result.errors === undefined ? result : { ...result, errors: briefErrors(result.errors, options) };
}

/** The first of the errors, each with a short message, few locations, and no suggestion if introspection is off. */
export function briefErrors(errors: readonly GraphQLError[], options: BriefOptions): readonly GraphQLError[] {
  return errors.slice(0, options.maxErrors).map((error) => briefError(error, options));
}

function briefError(error: GraphQLError, { introspection }: BriefOptions): GraphQLError {
  const { source, path, originalError, extensions } = error;
  const suggestionAt = introspection ? -1 : error.message.lastIndexOf(" Did you mean ");
  const message = suggestionAt < 0 ? error.message : error.message.slice(0, suggestionAt);
  const isShort = message.length <= longestMessage;
  if (isShort && message === error.message && (error.positions?.length ?? 0) <= mostLocations) return error;
  return new GraphQLError(isShort ? message : `${message.slice(0, longestMessage - 1)}…`, {
    source: source ?? null,
    positions: error.positions?.slice(0, mostLocations) ?? null,
    path: path ?? null,
    originalError: originalError ?? null,
    extensions,
  });
}

/** An error as it goes out: status and headers for HTTP are not for the client to read. */
export function withoutHttp(error: GraphQLError | GraphQLFormattedError): GraphQLFormattedError {
  const formatted = "toJSON" in error ? error.toJSON() : error;
  const { http: _http, ...extensions } = formatted.extensions ?? {};
  return { ...formatted, extensions };
}

function jsonOf(result: ExecutionResult, AnyResponse: typeof Response): Response {
  const http = result.errors?.[0]?.extensions.http as { readonly status?: number } | undefined;
  return new AnyResponse(JSON.stringify({ ...result, errors: result.errors?.map(withoutHttp) }), {
    status: http?.status ?? 406,
    headers: { "Content-Type": "application/json; charset=utf-8" },
  });
}
