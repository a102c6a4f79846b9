import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import type { DocumentNode, GraphQLError, GraphQLSchema } from "graphql";
import { createYoga, type YogaServerInstance } from "graphql-yoga";
import type { Admit, Caller, Client, Identify } from "../core/admission.ts";
import type { Logger } from "../core/logger.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import { createDocumentCache } from "./document-cache.ts";
import type { Turns } from "./turns.ts";
import { type Admitted, useAdmission } from "./use-admission.ts";
import { useBoundedBody } from "./use-bounded-body.ts";
import { useBriefErrors } from "./use-brief-errors.ts";
import { useSharedPushes } from "./use-shared-pushes.ts";

export const endpoint = "/graphql";

export interface GraphQLOptions {
  readonly schema: GraphQLSchema;
  /** The schema that documents are validated against. */
  readonly requestSchema: GraphQLSchema;
  /** The same schema, for variables that admission has coerced. */
  readonly coercedSchema: GraphQLSchema;
  readonly admit: Admit<DocumentNode>;
  /** Who a request is from. */
  readonly identify: Identify;
  /** What resolvers may use, for one operation of a client. */
  readonly contextOf: (client: Client, onGone: OnGone) => object;
  /** What a client may see of an error. */
  readonly maskError: (error: unknown) => GraphQLError;
  /** What a request may be made of. */
  readonly guard: RequestGuard<DocumentNode>;
  readonly logger: Logger;
}

/**
 * Calls back once when the client is gone, or was answered in full: whatever is still open for it can be closed.
 *
 * @returns a function that takes the callback back.
 */
export type OnGone = (callback: () => void) => () => void;

/** What resolvers get as their context, beside what `contextOf` adds. */
export interface ServerContext {
  /** Node's request, or the one that a WebSocket began with. */
  readonly req?: CallingPart;
  /** Node's response, or the WebSocket. */
  readonly res?: Closable;
}

/** Of a request, what tells who it is from. */
export interface CallingPart {
  readonly socket: { readonly remoteAddress?: string | undefined };
  readonly headers: IncomingHttpHeaders;
}

interface Closable {
  once(event: "close", callback: () => void): unknown;
  off(event: "close", callback: () => void): unknown;
  readonly closed?: boolean;
  readonly readyState?: number;
}

export type GraphQLServer = YogaServerInstance<ServerContext, object>;

const maxBatch = 50;

/** GraphQL over HTTP and over server-sent events. Needs no socket: `fetch` answers a Request. */
export function createGraphQL(options: GraphQLOptions, admitted: Admitted, turns: Turns): GraphQLServer {
  const { schema, requestSchema, coercedSchema, admit, contextOf, maskError, guard, logger } = options;
  const identify = (context: object) => options.identify(callerOf(context));
  return createYoga<ServerContext, object>({
    schema,
    graphqlEndpoint: endpoint,
    context(context) {
      const client = admitted.get(context.params);
      // What was not admitted is not executed, and needs nothing.
      return client === undefined ? {} : contextOf(client, (callback) => whenGone(context, callback));
    },
    plugins: [
      useAdmission({ admit, admitted, turns, requestSchema, coercedSchema, identify, guard, maxBatch }),
      useBoundedBody(guard),
      useBriefErrors(guard),
      useSharedPushes({ maskError, guard }),
    ],
    batching: { limit: maxBatch },
    // What is no GraphQL is read anew each time: an error that is kept has the HTTP status of how it was met first.
    parserAndValidationCache: {
      documentCache: createDocumentCache(),
      errorCache: { get: () => undefined, set() {} },
    },
    maskedErrors: { maskError },
    maxRequestBodySize: guard.maxBodyBytes,
    multipart: false,
    cors: false,
    graphiql: false,
    landingPage: false,
    // What clients cause is answered; what is unexpected is logged by the mask, once.
    logging: {
      debug() {},
      info: (...said) => logger.debug({ said }, "Yoga says"),
      warn: (...said) => logger.debug({ said }, "Yoga says"),
      error: (...said) => logger.debug({ said }, "Yoga says"),
    },
  });
}

/** What is known of who sent a request. */
export function callerOf({ req }: ServerContext): Caller {
  const forwardedFor = req?.headers["x-forwarded-for"];
  return {
    address: req?.socket.remoteAddress,
    forwardedFor: Array.isArray(forwardedFor) ? forwardedFor.join() : forwardedFor,
    authorization: req?.headers.authorization,
  };
}

/** What {@link callerOf} looks at, without the rest of the request: for what stays open after it. */
export function callingPart({ socket: { remoteAddress }, headers }: IncomingMessage): CallingPart {
  const { authorization, "x-forwarded-for": forwardedFor } = headers;
  return {
    socket: { remoteAddress },
    headers: {
      ...(authorization !== undefined && { authorization }),
      ...(forwardedFor !== undefined && { "x-forwarded-for": forwardedFor }),
    },
  };
}

const webSocketIsOpen = 1;

function whenGone({ res }: ServerContext, callback: () => void): () => void {
  if (res === undefined) return () => {};
  if (res.closed === true || (res.readyState ?? webSocketIsOpen) !== webSocketIsOpen) callback();
  else res.once("close", callback);
  return () => res.off("close", callback);
}
