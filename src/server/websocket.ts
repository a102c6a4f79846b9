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
import { WebSocketServer } from "ws";
import type { Caller, Client, CostReport } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { leavingError, refuseSocket } from "./answers.ts";
import {
  callerOf,
  callingPart,
  type GraphQLOptions,
  type GraphQLServer,
  type ServerContext,
} from "./graphql.ts";
import { createPlaces } from "./places.ts";
import { jsonOf } from "./push-stream.ts";
import { admitRequest, type Parser, readRequest } from "./read-request.ts";
import { type Admitted, withCost } from "./use-admission.ts";
import { briefErrors, briefResult, withoutHttp } from "./use-brief-errors.ts";
import { isPushes, type Pushes, subscribePushes } from "./use-shared-pushes.ts";
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

/** What an operation is run with. */
interface Run {
  readonly enveloped: Enveloped;
  readonly args: ExecutionArgs;
  readonly tell: (push: ExecutionResult) => Promise<void>;
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
  /** By what graphql-ws keeps of an operation for as long as it lasts, which is little: the rest goes once it has begun. */
  const runs = new WeakMap<object, Run>();
  const served = new Set<ServedSocket>();
  let isLeaving = false;

  /** Asked for every operation anew: a token may have been revoked since the last one. */
  function identify({ connectionParams, extra }: SocketContext): Client {
    const caller = callerOf({ req: extra.req });
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
    const { req, socket, send } = ctx.extra;
    if (isLeaving) throw leavingError();
    const client = identify(ctx);
    const serverContext: ServerContext = { req, res: socket };
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
    const { schema } = enveloped;
    const { document, operationName } = operation;
    const contextValue = await enveloped.contextFactory();
    const args = { schema, document, operationName, variableValues: operation.variables, contextValue };
    const kept = { schema, document, operationName };
    runs.set(kept, { enveloped, args, tell: tellerOf(id, kept, send) });
    if (cost !== undefined) unreported.set(kept, cost);
    return kept;
  }

  /** Apart, so that nothing else of the beginning is kept. */
  function tellerOf(id: string, kept: object, send: ServedExtra["send"]): Run["tell"] {
    const head = `{"id":${JSON.stringify(id)},"type":"${MessageType.Next}","payload":`;
    return (push) => send(`${head}${jsonOf(answerOf(kept, push))}}`);
  }

  function takeRun(kept: object): Run {
    const run = runs.get(kept);
    if (run === undefined) throw new Error("an operation runs once, after it was admitted");
    runs.delete(kept);
    return run;
  }

  function answerOf(kept: object, result: ExecutionResult): ExecutionResult {
    const cost = unreported.get(kept);
    unreported.delete(kept);
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
    execute(kept) {
      const { enveloped, args } = takeRun(kept);
      return enveloped.execute(args);
    },
    async subscribe(kept) {
      const { enveloped, args, tell } = takeRun(kept);
      const result = await subscribePushes(enveloped, args);
      return isPushes(result) ? onlyItsEnd(result, tell) : result;
    },
    onSubscribe(ctx, id, params) {
      if (id.length > longestId) {
        ctx.extra.socket.close(CloseCode.BadRequest, "Invalid message received: its id is too long");
        return [new GraphQLError("its id is too long")];
      }
      return argsFor(ctx, id, params).catch((error: unknown) => [maskError(error)]);
    },
    onNext: (_ctx, _id, _payload, kept, result) => formatted(answerOf(kept, result as ExecutionResult)),
    onError: (_ctx, _id, _payload, errors) => briefErrors(errors, guard).map(withoutHttp),
  });

  return {
    upgrade(request, socket, head) {
      const req = callingPart(request);
      const payer = options.payerOf(callerOf({ req }));
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
        const extra: SocketExtra = { req, socket: webSocket, belongTo };
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
function onlyItsEnd(pushes: Pushes, tell: Run["tell"]): AsyncIterableIterator<never, undefined> {
  type End = IteratorResult<never, undefined>;
  const { promise, resolve, reject } = Promise.withResolvers<End>();
  const ask = () => void pushes.next().then(told, reject);
  const told = ({ done, value }: IteratorResult<ExecutionResult, undefined>) => {
    if (done === true) resolve({ done, value });
    else tell(value).then(ask, stop);
  };
  const stop = async (error: unknown) => {
    await pushes.return();
    reject(error);
  };
  const end: AsyncIterableIterator<never, undefined> = {
    next() {
      ask();
      return promise;
    },
    async return() {
      await pushes.return();
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
