import type { DocumentNode } from "graphql";
import {
  CloseCode,
  GRAPHQL_TRANSPORT_WS_PROTOCOL,
  type Message,
  MessageType,
  parseMessage,
  type SubscribeMessage,
} from "graphql-ws";
import type { Client, Identify } from "../core/admission.ts";
import { AppError, messageOf } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import type { Logger } from "../runtime/logger.ts";
import { leavingError } from "./http-response.ts";
import type { Invalid, Operations, Prepared } from "./operations.ts";
import type { Tarpit } from "./tarpit.ts";
import { traceFields } from "./trace-fields.ts";
import type { SocketSession, WebSocketConnection } from "./websocket-connection.ts";
import { errorMessage, type OperationOwner, SocketOperation } from "./websocket-operation.ts";
import type { WebSocketOutput } from "./websocket-output.ts";

export interface SessionOptions {
  readonly operations: Operations;
  readonly identify: Identify;
  readonly tarpit: Tarpit;
  readonly guard: Pick<RequestGuard<DocumentNode>, "checkJson">;
  /** How long a socket may be open before it sends `connection_init`: a round trip and more. @default 6_000 // 6 seconds */
  readonly initMs?: number;
  readonly logger: Logger;
  /** Whether new operations are refused, since the server stops. */
  readonly isLeaving: () => boolean;
}

/** It comes back with every message. */
const maxIdLength = 256;
/** A message that is shorter is parsed in no time. */
const minCheckedLength = 65_536;
const defaultInitMs = 6_000;
const invalid = "Invalid message received";
export const tooManySockets =
  "too many open WebSockets of one client; one is enough for all its subscriptions";

/**
 * The protocol `graphql-transport-ws` on one socket. The server of the package `graphql-ws` keeps a suspended function and the whole
 * message for each subscription, which take more memory than the socket; its messages and codes are used here.
 */
export class WebSocketSession implements SocketSession, OperationOwner {
  readonly #connection: WebSocketConnection;
  readonly #options: SessionOptions;
  readonly #operations = new Map<string, SocketOperation>();
  /** Operations that the client has ended while they were prepared, by their ids. */
  #ending: Map<string, Promise<void>> | null = null;
  #state: "NEW" | "INITIALISING" | "ACKNOWLEDGED" = "NEW";
  /** Of `connection_init`: browsers cannot set headers on a WebSocket. */
  #authorization: string | null = null;
  /** Of `connection_init`, else of the upgrade; null when it is invalid. */
  #traceparent: unknown;
  #initTimer: NodeJS.Timeout | undefined;

  /** @param traceparent that of the upgrade; null when it is invalid. */
  constructor(connection: WebSocketConnection, options: SessionOptions, traceparent: unknown) {
    this.#connection = connection;
    this.#traceparent = traceparent;
    this.#options = options;
    if (connection.protocol !== GRAPHQL_TRANSPORT_WS_PROTOCOL) {
      connection.close(CloseCode.SubprotocolNotAcceptable, "Subprotocol not acceptable");
      return;
    }
    const { initMs = defaultInitMs } = options;
    // In two parts: what arrived while the server was busy is read after its timers have run.
    this.#initTimer = setTimeout(
      () => {
        this.#initTimer = setTimeout(() => {
          connection.close(CloseCode.ConnectionInitialisationTimeout, "Connection initialisation timeout");
        }, initMs / 4);
      },
      initMs - initMs / 4,
    );
  }

  get output(): WebSocketOutput {
    return this.#connection.output;
  }

  async handle(text: string): Promise<void> {
    if (text.length >= minCheckedLength && !(await this.#isBounded(text))) return;
    let message: Message;
    try {
      message = parseMessage(text);
    } catch {
      this.#connection.close(CloseCode.BadRequest, invalid);
      return;
    }
    switch (message.type) {
      case MessageType.ConnectionInit:
        return this.#begin(message.payload ?? {});
      case MessageType.Ping:
        if (this.#connection.takePing())
          await this.output.send(JSON.stringify({ ...message, type: MessageType.Pong }));
        return;
      case MessageType.Pong:
        return;
      case MessageType.Subscribe:
        return this.#subscribe(message);
      case MessageType.Complete:
        this.#complete(message.id);
        return;
      default:
        // The protocol knows it, but only a server sends it.
        this.#connection.close(CloseCode.BadRequest, invalid);
    }
  }

  end(): void {
    clearTimeout(this.#initTimer);
    for (const operation of this.#operations.values()) operation.leave();
  }

  remove(id: string): void {
    this.#operations.delete(id);
  }

  revoke(reason: string): void {
    // After the errors of the socket's other operations, which come in the same tick.
    setImmediate(() => this.#connection.close(CloseCode.Forbidden, reason));
  }

  /** Refuses JSON that is over a bound. */
  async #isBounded(text: string): Promise<boolean> {
    try {
      this.#options.guard.checkJson(text);
      return true;
    } catch (error) {
      const [, id = null] =
        /^\s*\{[^{]*"id"\s*:\s*("[^"\\]{1,256}")/.exec(text.slice(0, minCheckedLength)) ?? [];
      if (id === null) this.#connection.close(CloseCode.BadRequest, `${invalid}: ${messageOf(error)}`);
      else await this.output.send(errorMessage(id, this.#options.operations.refuse(error)));
      return false;
    }
  }

  async #begin(payload: Readonly<Record<string, unknown>>): Promise<void> {
    const trace = traceFields(payload.traceparent);
    const log = (message: string, fields = {}) => {
      if (trace !== null) this.#options.logger.debug({ ...trace, ...fields }, message);
    };
    const refuse = (code: CloseCode, reason: string) => {
      log("refused a WebSocket session", { code });
      this.#connection.close(code, reason);
    };
    if (this.#state !== "NEW") {
      refuse(CloseCode.TooManyInitialisationRequests, "Too many initialisation requests");
      return;
    }
    this.#state = "INITIALISING";
    if (trace !== null) this.#traceparent = payload.traceparent;
    clearTimeout(this.#initTimer);
    const authorization = payload.authorization ?? payload.Authorization;
    if (typeof authorization === "string") this.#authorization = authorization;
    try {
      if (!this.#connection.accept(this.#identify().id)) {
        await this.#holdBack();
        refuse(CloseCode.TooManyInitialisationRequests, tooManySockets);
        return;
      }
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      await this.#holdBack();
      const reason = `connection_init needs { "authorization": "Bearer TOKEN" }: ${error.code}`;
      refuse(CloseCode.Forbidden, reason);
      return;
    }
    this.#state = "ACKNOWLEDGED";
    log("began a WebSocket session");
    await this.output.send(`{"type":"${MessageType.ConnectionAck}"}`);
  }

  async #subscribe({ id, payload }: SubscribeMessage): Promise<void> {
    if (this.#state !== "ACKNOWLEDGED") {
      this.#connection.close(CloseCode.Unauthorized, "Unauthorized");
      return;
    }
    if (this.#operations.has(id)) {
      this.#connection.close(CloseCode.SubscriberAlreadyExists, `Subscriber for ${id} already exists`);
      return;
    }
    if (id.length > maxIdLength) {
      this.#connection.close(CloseCode.BadRequest, `${invalid}: its id is too long (limit ${maxIdLength})`);
      return;
    }
    const operation = new SocketOperation(id, this);
    this.#operations.set(id, operation);
    // It would hold its slot beside this one.
    const earlier = this.#ending?.get(id);
    if (earlier !== undefined) await this.#connection.pauseUntil(earlier);
    const running = this.#run(operation, payload);
    operation.running = running;
    await running.finally(() => {
      operation.running = null;
    });
  }

  #complete(id: string): void {
    const operation = this.#operations.get(id);
    if (operation === undefined) return;
    operation.leave();
    this.#operations.delete(id);
    if (operation.running === null) return;
    this.#ending ??= new Map();
    const ended = operation.running
      .catch(() => {})
      .finally(() => {
        if (this.#ending?.get(id) === ended) this.#ending.delete(id);
      });
    this.#ending.set(id, ended);
  }

  async #run(operation: SocketOperation, params: unknown): Promise<void> {
    const prepared = await this.#prepare(params);
    if ("errors" in prepared) {
      await this.#holdBack(prepared.workMs);
      await operation.refuse(prepared);
      return;
    }
    const { operations } = this.#options;
    const { kind, cost } = prepared;
    const result = await (kind === "subscription"
      ? operations.subscribe(prepared)
      : operations.execute(prepared));
    if ("json" in result) await operation.answer(result, cost);
    else operation.begin(result, cost);
  }

  async #prepare(params: unknown): Promise<Prepared | Invalid> {
    const { operations, isLeaving } = this.#options;
    if (isLeaving()) return operations.refuse(leavingError());
    let client: Client;
    try {
      client = this.#identify();
    } catch (error) {
      return operations.refuse(error);
    }
    const { refusal, operations: [operation] = [] } = await operations.prepare(client, { params }, () => {}, {
      transport: "websocket",
      traceparent: this.#traceparent,
    });
    const prepared = refusal ?? operation;
    if (prepared === undefined) throw new Error("an operation was lost");
    return prepared;
  }

  /** For every operation anew: a token may have been revoked since the last one. */
  #identify(): Client {
    const { caller } = this.#connection;
    const authorization = this.#authorization;
    return this.#options.identify(authorization === null ? caller : { ...caller, authorization });
  }

  /** Counts a refusal, and waits until it may be sent. Nothing more of the socket is read meanwhile. */
  async #holdBack(workMs?: number): Promise<void> {
    const sendable = this.#options.tarpit.hold(this.#connection.client, workMs);
    if (sendable !== null) await this.#connection.pauseUntil(sendable);
  }
}
