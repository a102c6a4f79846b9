import { buildSchema, type GraphQLSchema } from "graphql";
import { createErrorMask } from "../../src/api/errors.ts";
import type { PushSource } from "../../src/core/push-source.ts";
import { createRequestGuard } from "../../src/limits/request-guard.ts";
import { createServer, type ServerOptions } from "../../src/server/server.ts";
import { silentLogger } from "./logger.ts";

/** Whose one subscription has always more to push, `bytes` at a time; `onEnd` is called when a group of it ends. */
export function endlessSchema(bytes: number, onEnd: () => void): GraphQLSchema {
  const schema = buildSchema("type Query { a: String } type Subscription { text: String }");
  const text = schema.getSubscriptionType()?.getFields().text;
  if (text === undefined) throw new Error("the field was just declared");
  text.subscribe = (): PushSource<object> => {
    const done = { done: true, value: undefined } as const;
    let number = 0;
    let isEnded = false;
    const push = () => ({ text: String(number % 10).repeat(bytes) });
    const source: PushSource<object> = {
      minIntervalMs: 0,
      join: async () => ({ pushes: [push()], number }),
      since: async () => ({ push: push(), number }),
      async next() {
        if (isEnded) return done;
        number += 1;
        return { done: false, value: push() };
      },
      async return() {
        if (!isEnded) onEnd();
        isEnded = true;
        return done;
      },
      [Symbol.asyncIterator]: () => source,
    };
    return source;
  };
  return schema;
}

/** The room `server` alone, with a schema that says nothing and no client: for what has to be short, small or odd in it. */
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
    identify: () => ({ id: "a-client", scopes: new Set() }),
    rateLimitKeyOf: () => "a-client",
    maxSubscriptions: 50,
    takeSlot: () => () => {},
    contextOf: () => ({}),
    maskError: createErrorMask(silentLogger),
    guard: createRequestGuard({ maxQueues: 100, maxEvents: 100, introspection: true }),
    logger: silentLogger,
    corsOrigins: [],
    isTrustedHost: null,
    exampleTabs: [],
    needsToken: false,
    routes: { "/health": async () => ({ status: 200, body: { status: "ok" } }) },
    texts: {},
    ...options,
  });
  await server.start();
  return { url: server.url, stop: server.stop, [Symbol.asyncDispose]: server.stop };
}
