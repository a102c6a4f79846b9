import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import {
  type ExecutionArgs,
  type ExecutionResult,
  type FormattedExecutionResult,
  GraphQLError,
} from "graphql";
import {
  CloseCode,
  type Context,
  handleProtocols,
  MessageType,
  makeServer,
  type OperationResult,
  type SubscribePayload,
} from "graphql-ws";
import { isAsyncIterable } from "graphql-yoga";
import { WebSocketServer } from "ws";
import type { Caller, Client, CostReport } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { leavingError, refuseSocket } from "./answers.ts";
import { callerOf, type GraphQLOptions, type GraphQLServer, type ServerContext } from "./graphql.ts";
import { createPlaces } from "./places.ts";
import { jsonOf } from "./push-stream.ts";
import { admitRequest, type Parser, readRequest } from "./read-request.ts";
import { type Admitted, withCost } from "./use-admission.ts";
import { briefErrors, briefResult, withoutHttp } from "./use-brief-errors.ts";
import { type ServedExtra, type ServedSocket, type SocketExtra, serveSocket } from "./websocket-transport.ts";

export interface WebSocketOptions extends GraphQLOptions {
  /** Who pays for a connection: its client, or its address as long as nobody knows whose it is. */
  readonly payerOf: (caller: Caller) => string;
  /** Most subscriptions that one client has open. */
  readonly maxSubscriptions: number;
  /** For how long a socket may be open before it says who it is. @default 3_000 // 3 seconds */
  readonly initMs?: number;
}

export interface WebSockets {
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** From now on operations are refused; what runs goes on. */
  leave(): void;
  /** Whether an operation runs. */
  isBusy(): boolean;
  /** Closes all sockets with 1001 (going away), and cuts those that are still open after `withinMs`. */
  stop(withinMs: number): Promise<void>;
}

type SocketContext = Context<Record<string, unknown>, ServedExtra>;

/** Yoga's pipeline, with all its plugins, for one operation. */
interface Enveloped extends Parser {
  contextFactory(): Promise<object>;
  execute(args: ExecutionArgs): OperationResult;
  subscribe(args: ExecutionArgs): OperationResult;
}

/** `graphql-transport-ws`, through the same pipeline, admission and masking as HTTP. */
export function createWebSockets(
  yoga: GraphQLServer,
  options: WebSocketOptions,
  admitted: Admitted,
): WebSockets {
  const { admit, maskError, guard, maxSubscriptions, initMs, logger } = options;
  const webSocketServer = new WebSocketServer({
    noServer: true,
    maxPayload: guard.maxBodyBytes,
    handleProtocols,
    // It costs memory by the socket, and lets a small frame become a large one.
    perMessageDeflate: false,
    // Pings are answered by the transport, which counts them.
    autoPong: false,
    // Its types do not know it yet.
    ...{ closeTimeout: closeWithinMs },
  });
  const places = createPlaces(maxSubscriptions + spareSockets);
  const socketLimits = { maxAtOnce: maxSubscriptions + 200, maxBytesAtOnce: 4 * guard.maxBodyBytes };
  /** What an operation cost, until its first answer has said so. */
  const unreported = new WeakMap<object, CostReport>();
  /** What tells the client of a subscription's push. */
  const tellers = new WeakMap<object, (push: ExecutionResult) => Promise<void>>();
  const served = new Set<ServedSocket>();
  let isLeaving = false;

  /** Asked for every operation anew: a token may have been revoked since the last one. */
  function identify({ connectionParams, extra }: SocketContext): Client {
    const caller = callerOf({ req: extra.request });
    // Browsers cannot set headers on a WebSocket.
    const sent = connectionParams?.authorization ?? connectionParams?.Authorization;
    return options.identify(typeof sent === "string" ? { ...caller, authorization: sent } : caller);
  }

  /** What is to be executed, or why nothing is. */
  async function argsFor(
    ctx: SocketContext,
    id: string,
    params: SubscribePayload,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const { request, socket, send } = ctx.extra;
    if (isLeaving) throw leavingError();
    const client = identify(ctx);
    const serverContext: ServerContext = { req: request, res: socket };
    const envelop = (more: object) =>
      yoga.getEnveloped({ ...serverContext, params, ...more }) as unknown as Enveloped;
    const read = readRequest([params], (_, budget) => envelop({ budget }), guard);
    const admission = await admitRequest(admit, client, read);
    const cost = admission.costs[0];
    if (admission.refusal !== null) return withCostIn([maskError(admission.refusal)], cost);
    const { operation = null, problems = [] } = read.operations[0] ?? {};
    if (operation === null) return withCostIn(problems, cost);
    admitted.set(params, client);
    const enveloped = envelop({});
    const args = {
      schema: enveloped.schema,
      document: operation.document,
      operationName: operation.operationName,
      variableValues: operation.variables,
      contextValue: await enveloped.contextFactory(),
      rootValue: enveloped,
    };
    if (cost !== undefined) unreported.set(args, cost);
    const head = `{"id":${JSON.stringify(id)},"type":"${MessageType.Next}","payload":`;
    tellers.set(args, (push) => send(`${head}${jsonOf(answerOf(args, push))}}`));
    return args;
  }

  function answerOf(args: object, result: ExecutionResult): ExecutionResult {
    const cost = unreported.get(args);
    unreported.delete(args);
    return withCost(briefResult(result, guard), cost);
  }

  const server = makeServer<Record<string, unknown>, ServedExtra>({
    ...(initMs !== undefined && { connectionInitWaitTimeout: initMs }),
    onConnect: (ctx) => {
      try {
        if (!ctx.extra.belongTo(identify(ctx).id)) {
          ctx.extra.socket.close(CloseCode.TooManyInitialisationRequests, "Too many sockets of one client");
          return false;
        }
      } catch (error) {
        if (error instanceof AppError) return false;
        throw error;
      }
      // Every subscription listens for the end of its socket.
      ctx.extra.socket.setMaxListeners(0);
      return true;
    },
    execute: (args) => (args.rootValue as Enveloped).execute(args),
    async subscribe(args) {
      const stream = await (args.rootValue as Enveloped).subscribe(args);
      const tell = tellers.get(args);
      return isAsyncIterable(stream) && tell !== undefined ? onlyItsEnd(stream, tell) : stream;
    },
    onSubscribe(ctx, id, params) {
      if (id.length > longestId) {
        ctx.extra.socket.close(CloseCode.BadRequest, "Invalid message received: its id is too long");
        return [new GraphQLError("its id is too long")];
      }
      return argsFor(ctx, id, params).catch((error: unknown) => [maskError(error)]);
    },
    onNext: (_ctx, _id, _payload, args, result) => formatted(answerOf(args, result as ExecutionResult)),
    onError: (_ctx, _id, _payload, errors) => briefErrors(errors, guard).map(withoutHttp),
  });

  return {
    upgrade(request, socket, head) {
      const payer = options.payerOf(callerOf({ req: request }));
      let held = { payer, release: places.take(payer) };
      if (held.release === null) {
        refuseSocket(
          socket,
          new AppError("TOO_MANY_SUBSCRIPTIONS", tooManySockets, { retryAfterSeconds: 1 }),
        );
        return;
      }
      socket.once("close", () => held.release?.());
      const belongTo = (client: string) => {
        if (client === held.payer) return true;
        const release = places.take(client);
        if (release === null) return false;
        held.release?.();
        held = { payer: client, release };
        return true;
      };
      webSocketServer.handleUpgrade(request, socket, head, (webSocket) => {
        const extra: SocketExtra = { request, socket: webSocket, belongTo };
        const each = serveSocket(server, extra, socketLimits, logger);
        served.add(each);
        webSocket.once("close", () => served.delete(each));
      });
    },
    leave() {
      isLeaving = true;
    },
    isBusy: () => [...served].some((each) => each.isBusy()),
    async stop(withinMs) {
      const impatience = setTimeout(() => {
        for (const webSocket of webSocketServer.clients) webSocket.terminate();
      }, withinMs);
      for (const webSocket of webSocketServer.clients) webSocket.close(1001, "Going away");
      await new Promise((resolve) => webSocketServer.close(resolve));
      clearTimeout(impatience);
    },
  };
}

/**
 * A stream that tells each of its pushes itself, and of which graphql-ws learns nothing but the end: it would put every push into
 * a message anew, and check it, though many are told the same.
 */
function onlyItsEnd(
  stream: AsyncIterable<unknown>,
  tell: (push: ExecutionResult) => Promise<void>,
): AsyncIterableIterator<never, undefined> {
  const pushes = stream[Symbol.asyncIterator]();
  const end: AsyncIterableIterator<never, undefined> = {
    async next() {
      for (;;) {
        const { done, value } = await pushes.next();
        if (done === true) return { done, value: undefined };
        try {
          await tell(value as ExecutionResult);
        } catch (error) {
          await pushes.return?.();
          throw error;
        }
      }
    },
    async return() {
      await pushes.return?.();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]: () => end,
  };
  return end;
}

/**
 * Sockets with nothing open: of a page that is loaded again and has its old one for a moment, or that only asks. Whoever has a
 * socket for each subscription is told that it has too many subscriptions, by the one that is too much, before this.
 */
const spareSockets = 100;
/** It comes back with every answer. */
const longestId = 256;
/** For how long a socket that we have closed may take to close its end. */
const closeWithinMs = 2_000;
const tooManySockets =
  "expected fewer open WebSockets of one client: one is enough for all its subscriptions";

/** An `error` message has no extensions of its own, so its first error carries the cost: a copy, since Yoga keeps errors. */
function withCostIn(
  [first, ...others]: readonly GraphQLError[],
  cost: CostReport | undefined,
): readonly GraphQLError[] {
  if (first === undefined) throw new Error("an operation was refused without a reason");
  const extensions = { ...first.extensions, ...(cost && { cost }) };
  const { message, nodes = null, source = null, positions = null } = first;
  return [new GraphQLError(message, { nodes, source, positions, extensions }), ...others];
}

function formatted({ errors, ...result }: ExecutionResult): FormattedExecutionResult {
  return errors === undefined ? result : { ...result, errors: errors.map(withoutHttp) };
}
