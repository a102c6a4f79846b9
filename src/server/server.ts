import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout } from "node:timers/promises";
import type { Caller, Client, Identify } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { Tracer } from "../core/tracing.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Service } from "../runtime/service.ts";
import { createByteBudget } from "./byte-budget.ts";
import { callerAt, callerOf } from "./caller.ts";
import { createConcurrencyLimiter } from "./concurrency-limiter.ts";
import { createConnectionReader } from "./connection-reader.ts";
import { type CrossOriginProtectionOptions, createCrossOriginProtection } from "./cross-origin-protection.ts";
import { endpoint } from "./endpoint.ts";
import { createFairScheduler } from "./fair-scheduler.ts";
import { createGraphiQL, type ExampleTab } from "./graphiql.ts";
import { createGraphQLHttp } from "./graphql-http.ts";
import { createEventStreams } from "./graphql-sse.ts";
import { createWebSockets } from "./graphql-ws.ts";
import {
  leavingError,
  type RefusalOptions,
  refuseSocket,
  SecuredResponse,
  sendJson,
  sendRefusal,
} from "./http-response.ts";
import { createHttpRouter, type HttpRouterOptions, nothingHere } from "./http-router.ts";
import { type ListenOptions, listen } from "./listen.ts";
import { createOperations, type OperationsOptions } from "./operations.ts";
import { hasSeveral, oneOfEach, pathOf, targetOf } from "./request-target.ts";
import { createStalledSockets } from "./stalled-sockets.ts";
import { createTarpit } from "./tarpit.ts";
import { createTextRoutes } from "./text-routes.ts";
import { type TraceFields, traceFields } from "./trace-fields.ts";
import { traceOperations } from "./traced-operations.ts";

export interface ServerOptions
  extends Omit<OperationsOptions, "scheduler">,
    CrossOriginProtectionOptions,
    ListenOptions,
    Pick<HttpRouterOptions, "routes" | "texts"> {
  /** Who a request is from. */
  readonly identify: Identify;
  /** The rate-limit key of a connection: its client, or its address until a token names the client. */
  readonly rateLimitKeyOf: (caller: Caller) => string;
  /** Maximum number of subscriptions that one client has open. */
  readonly maxSubscriptions: number;
  /** How long a WebSocket may be open before it sends `connection_init`: a round trip and more. @default 6_000 // 6 seconds */
  readonly initMs?: number;
  /** @default "" */
  readonly basePath?: HttpRouterOptions["basePath"];
  readonly dashboard?: NonNullable<HttpRouterOptions["dashboard"]>;
  readonly exampleTabs: readonly ExampleTab[];
  /** Whether a token is required: GraphiQL then asks for one. */
  readonly needsToken: boolean;
  /** Called with the status of every answer over HTTP. */
  readonly onAnswered?: (status: number) => void;
  /** @default null // no traces are sent */
  readonly tracer?: Tracer | null;
  /** How long running requests may take to finish when the server stops. @default 10_000 // 10 seconds */
  readonly graceMs?: number;
  readonly timeouts?: Partial<Timeouts>;
}

/** How long the server waits for a client that keeps a connection open. */
export interface Timeouts {
  /** For the head of a request, also the first one. @default 10_000 // 10 seconds */
  readonly headMs: number;
  /** For all of a request. @default 30_000 // 30 seconds */
  readonly requestMs: number;
  /** For a read of anything that was sent. @default 60_000 // 1 minute */
  readonly unreadMs: number;
  /** How often these are checked. @default 1_000 // 1 second */
  readonly checkEveryMs: number;
}

const defaultTimeouts: Timeouts = {
  headMs: 10_000,
  requestMs: 30_000,
  unreadMs: 60_000,
  checkEveryMs: 1_000,
};
/** Longer than the 60 s for which load balancers keep idle connections: the side that closes first must not be this one. */
const keepAliveMs = 75_000;
/** Requests that one client has in flight beside its subscriptions, over however many connections. */
const maxRequestsAtOnce = 1_000;
/** Bytes that one client has in flight, in and out, by all transports; more where one body may be larger than a quarter of it. */
const minBytesInFlight = 16_000_000;
/**
 * WebSockets with no subscription: of a page that is loaded again and has its old one for a moment, or that only asks. A client
 * with a socket for each subscription has too many subscriptions before it has too many sockets.
 */
const spareSockets = 100;

export interface Server extends Service {
  /** Where the server listens, such as `http://127.0.0.1:4000`; known after the start. */
  readonly url: string;
}

export function createServer(options: ServerOptions): Server {
  const { rateLimitKeyOf, identify, guard, maxSubscriptions, logger } = options;
  const { graceMs = 10_000, initMs, basePath = "", dashboard, tracer = null } = options;
  const timeouts = { ...defaultTimeouts, ...options.timeouts };
  const scheduler = createFairScheduler({ shareMs: 0.5 });
  const untraced = createOperations({ ...options, scheduler });
  const operations = tracer === null ? untraced : traceOperations(untraced, tracer);
  const budget = createByteBudget(Math.max(minBytesInFlight, 4 * guard.maxBodyBytes));
  const tarpit = createTarpit();
  const connections = createConnectionReader(scheduler);
  const requests = createConcurrencyLimiter(maxRequestsAtOnce + maxSubscriptions);
  const stalled = createStalledSockets({
    timeoutMs: timeouts.unreadMs,
    onStalled: () => logger.debug({ unreadMs: timeouts.unreadMs }, "cut a connection: it reads nothing"),
  });
  const streams = createEventStreams({ take: connections.take, budget, requests, stalled });
  const answerGraphQL = createGraphQLHttp({
    operations,
    streams,
    budget,
    guard,
    holdBack,
  });
  const webSockets = createWebSockets({
    operations,
    identify,
    rateLimitKeyOf,
    sockets: createConcurrencyLimiter(maxSubscriptions + spareSockets),
    scheduler,
    budget,
    tarpit,
    guard,
    ...(initMs !== undefined && { initMs }),
    logger,
  });
  const browsers = createCrossOriginProtection(options);
  const answer = createHttpRouter({
    ...{ basePath, dashboard, answerGraphQL, browsers, refuse, holdBack },
    ...{ routes: options.routes, texts: options.texts },
    sendText: createTextRoutes(identify, refuse),
    graphiql: createGraphiQL(options.exampleTabs, options.needsToken),
    isLeaving: () => isLeaving,
  });
  const http = createHttpServer({
    ServerResponse: SecuredResponse,
    headersTimeout: timeouts.headMs,
    requestTimeout: timeouts.requestMs,
    connectionsCheckingInterval: timeouts.checkEveryMs,
    keepAliveTimeout: keepAliveMs,
    maxHeaderSize: 16_384,
    // What is read of a connection and not parsed yet. A read returns up to 64 KB; with less there, the next one begins.
    highWaterMark: 16_384,
    // TCP keep-alive detects dead peers on idle connections.
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    // Responses to earlier requests would come between the frames of a WebSocket.
    shouldUpgradeCallback: (request) => wantsWebSocket(request) && !connections.isBusy(request.socket),
  });
  // A client that has closed its end gets the answers to what it sent before. Node has this property, and no option for it.
  Object.assign(http, { httpAllowHalfOpen: true });
  let isLeaving = false;
  let url = "";

  /** Counts a refusal. @returns what resolves when it may be sent. */
  function holdBack(response: ServerResponse, workMs?: number): Promise<void> | null {
    const sendable = tarpit.hold(rateLimitKeyOf(callerOf(response.req)), workMs);
    if (sendable !== null && !response.req.complete) {
      response.setHeader("Connection", "close");
      connections.drop(response);
    }
    return sendable;
  }

  async function refuse(response: ServerResponse, error: AppError, options?: RefusalOptions): Promise<void> {
    await holdBack(response);
    sendRefusal(response, error, options);
  }

  async function refuseUpgrade(request: IncomingMessage, socket: Duplex, error: AppError, status?: number) {
    const trace = traceFields(request.headers.traceparent);
    const message = request.method === "CONNECT" ? "refused a tunnel" : "refused a WebSocket";
    if (trace !== null) logger.debug({ ...trace, code: error.code }, message);
    await tarpit.hold(rateLimitKeyOf(callerOf(request)));
    refuseSocket(socket, error, { ...(status !== undefined && { status }) });
  }

  function logTrace(trace: TraceFields, { headersSent, statusCode }: ServerResponse): void {
    if (headersSent) logger.debug({ ...trace, status: statusCode }, "answered a request");
    else logger.debug({ ...trace }, "request ended without an answer");
  }

  /** The client, or why a request that needs one is refused. */
  function senderOf(caller: Caller): Client | AppError {
    try {
      return identify(caller);
    } catch (error) {
      if (error instanceof AppError) return error;
      throw error;
    }
  }

  http.on("connection", (socket: Socket) => {
    stalled.watch(socket);
    connections.read(socket, rateLimitKeyOf(callerAt(socket)));
  });
  http.on("request", (request: IncomingMessage, response: SecuredResponse) => {
    response.originHeaders = browsers.headersFor(request);
    // After an upgrade that it does not make, Node drops the rest of what it was parsing.
    if (isLeaving || request.headers.upgrade !== undefined) response.setHeader("Connection", "close");
    const caller = callerOf(request);
    const sender = senderOf(caller);
    const client = sender instanceof AppError ? rateLimitKeyOf(caller) : sender.id;
    const trace = traceFields(request.headers.traceparent);
    connections.begin(response, client);
    response.on("close", () => {
      connections.end(response);
      if (trace !== null) logTrace(trace, response);
    });
    const slot = requests.acquire(client);
    if (slot === null) {
      const error = new AppError("THROTTLED", tooManyRequests(maxRequestsAtOnce + maxSubscriptions), {
        retryAfterSeconds: 1,
      });
      void refuse(response, error, { headers: { Connection: "close" } });
      return;
    }
    // It closes once; `once` would keep more for as long as a stream lasts.
    response.on("close", () => {
      slot.release();
      if (response.headersSent) options.onAnswered?.(response.statusCode);
    });
    answer(request, response, sender).catch((error: unknown) => {
      logger.error({ ...trace, err: error }, "unexpected error");
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { error: "unexpected error" });
    });
  });
  http.on("upgrade", (request, socket, head) => {
    connections.release(socket as Socket);
    // A socket that breaks before it is a WebSocket would end the process.
    socket.on("error", () => socket.destroy());
    const refusal = hasSeveral(request)
      ? new AppError("BAD_REQUEST", `expected ${oneOfEach}`)
      : (browsers.refusalOf(request, false) ?? (isLeaving ? leavingError() : null));
    if (refusal !== null) void refuseUpgrade(request, socket, refusal);
    else if (pathOf(targetOf(request, basePath) ?? "") === endpoint)
      webSockets.upgrade(request, socket, head);
    else void refuseUpgrade(request, socket, new AppError("BAD_USER_INPUT", nothingHere), 404);
  });
  http.on("connect", (request, socket) => {
    socket.on("error", () => socket.destroy());
    if (connections.isBusy(request.socket)) {
      connections.cut(request.socket);
      return;
    }
    connections.release(request.socket);
    void refuseUpgrade(request, socket, new AppError("BAD_USER_INPUT", "this is no proxy"), 405);
  });

  return {
    get url() {
      return url;
    },
    async start() {
      url = await listen(http, options);
    },
    async stop() {
      if (!http.listening) return;
      const deadline = monotonicClock.now() + graceMs;
      isLeaving = true;
      tarpit.stop();
      webSockets.leave();
      streams.leave();
      for (const response of connections.unanswered())
        if (!response.headersSent) response.setHeader("Connection", "close");
      // Meanwhile the server still listens: new requests are refused, and probes get the reason.
      const isBusy = () => connections.unanswered().length > 0 || streams.isBusy() || webSockets.isBusy();
      while (isBusy() && monotonicClock.now() < deadline) await setTimeout(10);
      if (isBusy()) logger.warn({ graceMs }, "requests were still running; closed their connections");
      streams.stop();
      await webSockets.stop(Math.max(0, deadline - monotonicClock.now()));
      const closed = new Promise<void>((resolve) => http.close(() => resolve()));
      http.closeAllConnections();
      await closed;
      stalled.stop();
      await operations.stop();
    },
  };
}

const tooManyRequests = (max: number) =>
  `too many concurrent requests (limit ${max} per client); retry after 1 s`;

function wantsWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === "websocket";
}
