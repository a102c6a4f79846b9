import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type DocumentNode, type ExecutionArgs, GraphQLError, type GraphQLSchema } from "graphql";
import { CloseCode, type Context, handleProtocols, MessageType, makeServer } from "graphql-ws";
import { WebSocketServer } from "ws";
import type { Caller, Client, CostReport, Identify } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import type { Logger } from "../runtime/logger.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { callerOf } from "./caller.ts";
import type { ConcurrencyLimiter } from "./concurrency-limiter.ts";
import { type EncodedResult, formatError, resultWithCost } from "./encoded-result.ts";
import type { FairScheduler } from "./fair-scheduler.ts";
import { leavingError, refuseSocket } from "./http-response.ts";
import type { Invalid, Operations, Prepared } from "./operations.ts";
import type { Subscription } from "./subscription-group.ts";
import type { Tarpit } from "./tarpit.ts";
import { asciiJson } from "./text-frame.ts";
import {
  closeReason,
  type ServedConnection,
  type ServedExtra,
  type SocketExtra,
  serveConnection,
} from "./websocket-connection.ts";

export interface WebSocketOptions {
  readonly operations: Operations;
  readonly schema: GraphQLSchema;
  readonly identify: Identify;
  /** The rate-limit key of a connection: its client, or its address until a token names the client. */
  readonly rateLimitKeyOf: (caller: Caller) => string;
  /** Open sockets of each client. */
  readonly sockets: ConcurrencyLimiter;
  readonly scheduler: FairScheduler;
  readonly budget: ByteBudget;
  readonly tarpit: Tarpit;
  readonly guard: Pick<RequestGuard<DocumentNode>, "maxBodyBytes" | "checkJson">;
  /** How long a socket may be open before it sends `connection_init`. @default 3_000 // 3 seconds */
  readonly initMs?: number;
  readonly logger: Logger;
}

export interface WebSockets {
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** From now on operations are refused. A socket is closed with 1001 as soon as it runs nothing but subscriptions. */
  leave(): void;
  /** Whether a query or a mutation runs. */
  isBusy(): boolean;
  /** Closes all sockets with 1001, and cuts those that are still open after `withinMs`. */
  stop(withinMs: number): Promise<void>;
}

type SocketContext = Context<Record<string, unknown>, ServedExtra>;

/** An operation of a socket, from its preparation to its end. */
interface SocketOperation {
  /** Until it runs: graphql-ws keeps the operation for as long as it lasts. */
  prepared: Prepared | null;
  readonly extra: ServedExtra;
  /** What its messages begin with, before the result. */
  readonly head: string;
}

/** GraphQL over WebSocket, with the protocol `graphql-transport-ws`. */
export function createWebSockets(options: WebSocketOptions): WebSockets {
  const { operations, schema, sockets, tarpit, guard, initMs, logger } = options;
  const webSocketServer = new WebSocketServer({
    noServer: true,
    maxPayload: guard.maxBodyBytes,
    handleProtocols,
    // It costs memory by the socket, and lets a small frame become a large one.
    perMessageDeflate: false,
    // Pings are answered by the connection, which counts them.
    autoPong: false,
    // One message of a socket in each tick of the event loop: a flood of small ones comes in between others, not before them.
    allowSynchronousEvents: false,
    // Its types do not know these yet. No client fragments what fits into one frame.
    ...{ closeTimeout: closeWithinMs, maxFragments, maxBufferedChunks },
  });
  const limits = {
    scheduler: options.scheduler,
    budget: options.budget,
    refusalOf,
  };
  const served = new Set<ServedConnection>();
  let isLeaving = false;

  /** The answer to a message whose JSON is over a bound. @throws AppError when the message names no operation. */
  function refusalOf(text: string): string | null {
    // What is shorter is parsed in no time.
    if (text.length < minCheckedLength) return null;
    try {
      guard.checkJson(text);
      return null;
    } catch (error) {
      const [, id = null] =
        /^\s*\{[^{]*"id"\s*:\s*("[^"\\]{1,256}")/.exec(text.slice(0, minCheckedLength)) ?? [];
      if (id === null) throw error;
      const payload = JSON.stringify(operations.refuse(error).errors.map(formatError));
      return `{"id":${id},"type":"${MessageType.Error}","payload":${payload}}`;
    }
  }

  /** For every operation anew: a token may have been revoked since the last one. */
  function identify({ connectionParams, extra: { caller } }: SocketContext): Client {
    // Browsers cannot set headers on a WebSocket.
    const sent = connectionParams?.authorization ?? connectionParams?.Authorization;
    return options.identify(typeof sent === "string" ? { ...caller, authorization: sent } : caller);
  }

  async function prepare(
    ctx: SocketContext,
    id: string,
    params: unknown,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const prepared = await prepareNow(ctx, id, params);
    if (!("schema" in prepared)) await holdBack(ctx);
    return prepared;
  }

  /** Prepares an operation whose id had another one, which the client has ended. */
  async function prepareAfter(earlierEnded: Promise<void>, ctx: SocketContext, id: string, params: unknown) {
    // graphql-ws knows operations by their ids: the earlier one would take this one for itself, go on, and end it.
    delete ctx.subscriptions[id];
    const { extra } = ctx;
    await extra.pauseUntil(
      earlierEnded.then(() => {
        // When the socket has closed, no operation of it is open, nor ended by it.
        if (extra.socket.readyState === extra.socket.OPEN) Reflect.set(ctx.subscriptions, id, null);
      }),
    );
    return prepare(ctx, id, params);
  }

  /** Of a refused operation nothing is kept for as long as its errors are held back. */
  async function prepareNow(
    ctx: SocketContext,
    id: string,
    params: unknown,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    if (isLeaving) return operations.refuse(leavingError()).errors;
    let client: Client;
    try {
      client = identify(ctx);
    } catch (error) {
      return operations.refuse(error).errors;
    }
    const { refusal, operations: [operation] = [] } = await operations.prepare(client, [params], () => {});
    empty(params);
    const result = refusal ?? operation;
    if (result === undefined) throw new Error("an operation was lost");
    if ("errors" in result) return errorsOf(result);
    const { document, operationName } = result;
    return { schema, document, operationName, contextValue: operationOf(ctx, id, result) };
  }

  /** Counts a refusal, and waits until it may be sent. Nothing more of the socket is read meanwhile. */
  async function holdBack({ extra }: SocketContext): Promise<void> {
    const sendable = tarpit.hold(extra.client());
    if (sendable !== null) await extra.pauseUntil(sendable);
  }

  /** Apart from the preparation, so that nothing else of it is kept for as long as a subscription lasts. */
  function operationOf({ extra }: SocketContext, id: string, prepared: Prepared): SocketOperation {
    return { prepared, extra, head: `{"id":${asciiJson(id)},"type":"${MessageType.Next}","payload":` };
  }

  function execute(operation: SocketOperation): OwnMessages {
    const { extra, head } = operation;
    const prepared = take(operation);
    return oneMessage(async () => {
      const { json } = resultWithCost(await operations.execute(prepared), prepared.cost);
      return `${head}${json}}`;
    }, extra);
  }

  async function subscribe(operation: SocketOperation): Promise<OwnMessages> {
    const { extra, head } = operation;
    const prepared = take(operation);
    const result = await operations.subscribe(prepared);
    if (!("json" in result)) return manyMessages(result, prepared.cost, extra, head);
    return oneMessage(async () => `${head}${resultWithCost(result, prepared.cost).json}}`, extra);
  }

  const server = makeServer<Record<string, unknown>, ServedExtra>({
    ...(initMs !== undefined && { connectionInitWaitTimeout: initMs }),
    onConnect: async (ctx) => {
      const { socket, reassignTo } = ctx.extra;
      try {
        if (!reassignTo(identify(ctx).id)) {
          await holdBack(ctx);
          socket.close(CloseCode.TooManyInitialisationRequests, tooManySockets);
          return false;
        }
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        await holdBack(ctx);
        socket.close(
          CloseCode.Forbidden,
          `connection_init needs { "authorization": "Bearer TOKEN" }: ${error.code}`,
        );
        return false;
      }
      return true;
    },
    // Only what `prepare` returned gets here.
    execute: ({ contextValue }) => execute(contextValue as SocketOperation),
    subscribe: ({ contextValue }) => subscribe(contextValue as SocketOperation),
    onSubscribe(ctx, id, params) {
      if (id.length > maxIdLength) {
        ctx.extra.socket.close(
          CloseCode.BadRequest,
          `Invalid message received: its id is too long (limit ${maxIdLength})`,
        );
        return [new GraphQLError("its id is too long")];
      }
      const earlierEnded = ctx.extra.begin(id);
      return earlierEnded === null ? prepare(ctx, id, params) : prepareAfter(earlierEnded, ctx, id, params);
    },
    onError({ extra: { socket } }, _id, _payload, errors) {
      const revoked = errors.find(({ extensions }) => extensions.code === "UNAUTHENTICATED");
      // After the errors of the socket's other operations, which come in the same tick.
      if (revoked !== undefined)
        setImmediate(() => socket.close(CloseCode.Forbidden, closeReason(revoked.message)));
      return errors.map(formatError);
    },
  });

  return {
    upgrade(request, socket, head) {
      const caller = callerOf(request);
      let key = options.rateLimitKeyOf(caller);
      let release = sockets.acquire(key);
      if (release === null) {
        const error = new AppError("TOO_MANY_SUBSCRIPTIONS", tooManySockets, { retryAfterSeconds: 1 });
        void Promise.resolve(tarpit.hold(key)).then(() => refuseSocket(socket, error));
        return;
      }
      socket.once("close", () => release?.());
      const reassignTo = (client: string) => {
        if (client === key) return true;
        const acquired = sockets.acquire(client);
        if (acquired === null) return false;
        release?.();
        [key, release] = [client, acquired];
        return true;
      };
      webSocketServer.handleUpgrade(request, socket, head, (webSocket) => {
        const extra: SocketExtra = { caller, socket: webSocket, client: () => key, reassignTo };
        const maxAtOnce = () =>
          Math.min(maxOfSocket, Math.max(1, Math.floor(maxOfClient / sockets.count(key))));
        const connection = serveConnection(server, extra, { ...limits, maxAtOnce, source: socket }, logger);
        served.add(connection);
        webSocket.once("close", () => served.delete(connection));
        if (isLeaving) connection.leave();
      });
    },
    leave() {
      isLeaving = true;
      for (const connection of served) connection.leave();
    },
    isBusy: () => [...served].some((connection) => connection.isBusy()),
    async stop(withinMs) {
      const forceCloseTimer = setTimeout(() => {
        for (const webSocket of webSocketServer.clients) webSocket.terminate();
      }, withinMs);
      for (const webSocket of webSocketServer.clients) webSocket.close(1001, "Going away");
      await new Promise((resolve) => webSocketServer.close(resolve));
      clearTimeout(forceCloseTimer);
    },
  };
}

function take(operation: SocketOperation): Prepared {
  const { prepared } = operation;
  if (prepared === null) throw new Error("an operation runs twice");
  operation.prepared = null;
  return prepared;
}

/** Its document and variables have been read, and graphql-ws keeps the message for as long as the operation lasts. */
function empty(params: unknown): void {
  if (typeof params !== "object" || params === null) return;
  for (const name of Object.keys(params)) Reflect.set(params, name, null);
}

/** An operation that sends its messages itself: graphql-ws would encode each again, though many sockets get the same. */
type OwnMessages = AsyncIterableIterator<never, undefined>;
type End = IteratorResult<never, undefined>;
const done: End = { done: true, value: undefined };

function oneMessage(run: () => Promise<string>, { send }: ServedExtra): OwnMessages {
  let isEnded = false;
  const messages: OwnMessages = {
    async next() {
      const message = await run();
      if (!isEnded) await send(message);
      return done;
    },
    async return() {
      isEnded = true;
      return done;
    },
    [Symbol.asyncIterator]: () => messages,
  };
  return messages;
}

function manyMessages(
  subscription: Subscription,
  cost: CostReport | undefined,
  { isReady, push, holdStream }: ServedExtra,
  head: string,
): OwnMessages {
  const { promise, resolve, reject } = Promise.withResolvers<End>();
  const release = holdStream();
  let unreported = cost;
  const messages: OwnMessages = {
    next() {
      subscription.begin({
        isReady: () => isReady(subscription.drained),
        write(result: EncodedResult) {
          const { messageEnd } = unreported === undefined ? result : resultWithCost(result, unreported);
          unreported = undefined;
          push(head, messageEnd);
        },
        end(error) {
          release();
          if (error === null) resolve(done);
          else reject(error);
        },
      });
      return promise;
    },
    async return() {
      release();
      subscription.leave();
      resolve(done);
      return done;
    },
    [Symbol.asyncIterator]: () => messages,
  };
  return messages;
}

/** Queries, mutations, and subscriptions that begin: in flight on one socket, and on all sockets of a client. */
const [maxOfSocket, maxOfClient] = [200, 1_000];
const maxFragments = 128;
/** Reads of a socket that make up one message. */
const maxBufferedChunks = 4_096;
/** It comes back with every message. */
const maxIdLength = 256;
/** How long a socket that the server has closed may take to close its end. */
const closeWithinMs = 2_000;
/** A stranger sends no longer message. */
const minCheckedLength = 65_536;
const tooManySockets = "too many open WebSockets of one client; one is enough for all its subscriptions";

/**
 * An `error` message has no extensions, so its first error carries the cost. All are copies: Yoga caches errors, and their nodes are the
 * whole document.
 */
function errorsOf({ errors, cost }: Invalid): readonly GraphQLError[] {
  if (errors.length === 0) throw new Error("an operation was refused without an error");
  return errors.map(({ message, source, positions, extensions }, i) => {
    const ofFirst = i === 0 && cost !== undefined ? { cost } : {};
    return new GraphQLError(message, {
      source: source ?? null,
      positions: positions ?? null,
      extensions: { ...extensions, ...ofFirst },
    });
  });
}
