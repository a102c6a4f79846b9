import { GraphQLError } from "graphql";
import { AppError, errorStatus, withoutStackTrace } from "../core/errors.ts";
import type { Logger } from "../runtime/logger.ts";

/** An error as clients see it: its code in the extensions, and the HTTP status and headers of the response. */
function toGraphQLError(error: AppError, at?: GraphQLError): GraphQLError {
  const { code, retryAfterSeconds, details } = error;
  const headers = {
    ...(retryAfterSeconds === undefined ? {} : { "Retry-After": String(retryAfterSeconds) }),
    ...(code === "UNAUTHENTICATED" ? { "WWW-Authenticate": "Bearer" } : {}),
    ...(code === "METHOD_NOT_ALLOWED" ? { Allow: "POST" } : {}),
  };
  const http = { status: errorStatus[code], headers };
  const options = {
    ...(at?.nodes === undefined ? {} : { nodes: at.nodes }),
    ...(at?.path === undefined ? {} : { path: at.path }),
    originalError: error,
    extensions: { ...details, code, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }), http },
  };
  return withoutStackTrace(() => new GraphQLError(error.message, options));
}

/**
 * What a client may see of an error: our own errors and what GraphQL itself says of a request as they are; anything else
 * becomes a line in the log, and "Unexpected error" with no detail.
 */
export function createErrorMask(logger: Logger): (error: unknown) => GraphQLError {
  return (error) => {
    const original = error instanceof GraphQLError ? innermost(error) : error;
    if (original instanceof AppError) {
      return toGraphQLError(original, error instanceof GraphQLError ? error : undefined);
    }
    if (error instanceof GraphQLError && original instanceof GraphQLError) return error;
    const path = error instanceof GraphQLError ? error.path?.join(".") : undefined;
    logger.error({ err: original, path }, "unexpected error");
    return new GraphQLError("Unexpected error", {
      ...(error instanceof GraphQLError && error.path !== undefined ? { path: error.path } : {}),
      extensions: { code: "INTERNAL_SERVER_ERROR", http: { status: 500 } },
    });
  };
}

function innermost(error: GraphQLError): unknown {
  let inner: unknown = error;
  while (inner instanceof GraphQLError && inner.originalError !== undefined) inner = inner.originalError;
  return inner;
}
