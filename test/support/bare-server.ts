import { buildSchema, type GraphQLSchema } from "graphql";
import { createErrorMask } from "../../src/api/errors.ts";
import { createRequestGuard } from "../../src/limits/request-guard.ts";
import { createServer, type ServerOptions } from "../../src/server/server.ts";
import { silentLogger } from "./logger.ts";

/** Whose one subscription has always more to say, `bytes` at a time; `onEnd` is called when one ends. */
export function endlessSchema(bytes: number, onEnd: () => void): GraphQLSchema {
  const schema = buildSchema("type Query { a: String } type Subscription { text: String }");
  const text = schema.getSubscriptionType()?.getFields().text;
  if (text === undefined) throw new Error("the field was just declared");
  text.subscribe = async function* () {
    try {
      for (let i = 0; ; i++) yield { text: String(i % 10).repeat(bytes) };
    } finally {
      onEnd();
    }
  };
  return schema;
}

/** The room `server` alone, with a schema that says nothing and nobody to ask: for what has to be short, small or odd in it. */
export async function startBareServer(
  options: Partial<ServerOptions> = {},
): Promise<AsyncDisposable & { readonly url: string; stop(): Promise<void> }> {
  const schema = buildSchema("type Query { a: String }");
  const server = createServer({
    host: "127.0.0.1",
    port: 0,
    schema,
    requestSchema: options.schema ?? schema,
    admit: async () => ({ refusal: null, costs: [], variables: [] }),
    identify: () => ({ id: "somebody", scopes: new Set() }),
    rateLimitKeyOf: () => "somebody",
    maxSubscriptions: 50,
    contextOf: () => ({}),
    maskError: createErrorMask(silentLogger),
    guard: createRequestGuard({ maxQueues: 100, maxEvents: 100, introspection: true }),
    logger: silentLogger,
    corsOrigins: [],
    isOwnName: null,
    exampleTabs: [],
    needsToken: false,
    routes: { "/health": async () => ({ status: 200, body: { status: "ok" } }) },
    texts: {},
    ...options,
  });
  await server.start();
  return { url: server.url, stop: server.stop, [Symbol.asyncDispose]: server.stop };
}
