import type { DocumentNode, GraphQLError, GraphQLSchema } from "graphql";
import { createYoga, type YogaServerInstance } from "graphql-yoga";
import type { Admit, Caller } from "../core/admission.ts";
import type { Logger } from "../core/logger.ts";
import { useAdmission } from "./use-admission.ts";

export const endpoint = "/graphql";

export interface GraphQLOptions {
  readonly schema: GraphQLSchema;
  readonly admit: Admit<DocumentNode>;
  /** Who a request is charged to. */
  readonly clientOf: (caller: Caller) => string;
  /** What resolvers may use, for one client. */
  readonly contextOf: (client: string) => object;
  /** What a client may see of an error. */
  readonly maskError: (error: unknown) => GraphQLError;
  readonly maxBodyBytes: number;
  readonly logger: Logger;
}

/** What resolvers get as their context, beside what `contextOf` adds. */
export interface ServerContext {
  /** Node's request, or the one that a WebSocket began with. */
  readonly req?: { readonly socket: { readonly remoteAddress?: string | undefined } };
}

export type GraphQLServer = YogaServerInstance<ServerContext, object>;

const maxBatch = 50;

/** GraphQL over HTTP and over server-sent events. Needs no socket: `fetch` answers a Request. */
export function createGraphQL(options: GraphQLOptions): GraphQLServer {
  const { schema, admit, contextOf, maskError, maxBodyBytes, logger } = options;
  const clientOf = (context: object) => options.clientOf({ address: addressOf(context) });
  return createYoga<ServerContext, object>({
    schema,
    graphqlEndpoint: endpoint,
    context: (context) => contextOf(clientOf(context)),
    plugins: [useAdmission({ admit, clientOf, maxBatch })],
    batching: { limit: maxBatch },
    maskedErrors: { maskError },
    maxRequestBodySize: maxBodyBytes,
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

export function addressOf(context: ServerContext): string | undefined {
  return context.req?.socket.remoteAddress;
}
