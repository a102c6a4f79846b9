import { isUtf8 } from "node:buffer";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  getOperationAST,
  type OperationTypeNode,
} from "graphql";
import type { Client, CostReport, Operation, Variables } from "../core/admission.ts";
import type { SentParams } from "../core/request-guard.ts";
import { callerOf, endpoint, type GraphQLOptions, type GraphQLServer } from "./graphql.ts";
import { sendOnePush, sendPushes } from "./push-stream.ts";
import { admitRequest, isKnown, type Parser, type ReadRequest, readRequest } from "./read-request.ts";
import { createSharedRuns } from "./shared-runs.ts";
import type { Turns } from "./turns.ts";
import { type Admitted, withCost } from "./use-admission.ts";
import { parseBody } from "./use-bounded-body.ts";
import { briefResult } from "./use-brief-errors.ts";
import { isPushes, subscribePushes } from "./use-shared-pushes.ts";
import { writtenResult } from "./written-result.ts";

/** What is left to be done by Yoga: nothing, or all of it. */
type Answered = "answered" | "to be answered";
type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<Answered>;

/**
 * Answers the plain case past Yoga's fetch layer, which would be most of its cost: one operation that is posted as JSON,
 * whether it is run or refused. It is read, admitted, executed and answered by what Yoga itself uses for that: there is one set
 * of rules. Yoga gets all else, of which nothing has run yet, and nothing was charged.
 */
export function createPlainPosts(
  yoga: GraphQLServer,
  options: Pick<GraphQLOptions, "admit" | "coercedSchema" | "identify" | "maskError" | "guard">,
  admitted: Admitted,
  turns: Turns,
): Answer {
  const { admit, coercedSchema, identify, maskError, guard } = options;
  const shared = createSharedRuns<Ran>();

  function readPost(params: SentParams, serverContext: object): Post {
    let enveloped: Enveloped | undefined;
    const read = readRequest(
      [params],
      (_, budget) => {
        enveloped = yoga.getEnveloped({
          ...serverContext,
          request: asPosted,
          params,
          budget,
        }) as unknown as Enveloped;
        return enveloped;
      },
      guard,
    );
    return { params, read, enveloped };
  }

  /** Null for what Yoga is to read, and refuse if need be. @throws AppError */
  function paramsOf(body: Buffer): SentParams | null {
    if (!isUtf8(body) || body[0] === firstOfByteOrderMark) return null;
    const sent = parseBody(body.toString(), guard);
    return isParams(sent) && isKnown(sent) && sent.extensions == null ? sent : null;
  }

  async function run({ params, operation, enveloped, kind }: Runnable, client: Client, variables: Variables) {
    const isQuery = kind === "query";
    admitted.set(params, client);
    try {
      const result = await enveloped.execute({
        schema: isQuery ? enveloped.schema : coercedSchema,
        document: operation.document,
        operationName: operation.operationName,
        variableValues: isQuery ? operation.variables : variables,
        contextValue: await enveloped.contextFactory(),
      });
      return { result, data: isPlain(result) ? JSON.stringify(result.data) : null };
    } catch (error) {
      return { result: { errors: [maskError(error)] }, data: null };
    }
  }

  async function open({ params, operation, enveloped }: Runnable, client: Client) {
    admitted.set(params, client);
    try {
      return await subscribePushes(enveloped, {
        schema: enveloped.schema,
        document: operation.document,
        operationName: operation.operationName,
        variableValues: operation.variables,
        contextValue: await enveloped.contextFactory(),
      });
    } catch (error) {
      return { errors: [maskError(error)] };
    }
  }

  async function answer(
    request: IncomingMessage,
    response: ServerResponse,
    client: Client,
    body: Buffer,
  ): Promise<Answered> {
    const params = paramsOf(body);
    const post = params === null ? null : readPost(params, { req: request, res: response });
    const runnable = post === null ? null : runnableOf(post, isStream(request));
    if (post === null || (runnable === null && !isRefused(post))) {
      leaveToYoga(request, body);
      return "to be answered";
    }
    const admission = await admitRequest(admit, client, post.read);
    const [cost] = admission.costs;
    const refuse = (result: ExecutionResult) => sendErrors(request, response, result, cost);
    if (admission.refusal !== null) refuse({ errors: [maskError(admission.refusal)] });
    else if (runnable === null) refuse({ errors: post.read.operations[0]?.problems ?? [] });
    else if (runnable.kind === "subscription") {
      const result = await open(runnable, client);
      if (isPushes(result)) sendPushes(response, result, cost);
      else refuse(result);
    } else {
      const begin = () => run(runnable, client, admission.variables[0] ?? {});
      const key = () => `${[...client.scopes].join()} ${body}`;
      const { result, data } = await (runnable.kind === "query" ? shared.run(key(), begin) : begin());
      if (data === null) refuse(result);
      else sendData(response, data, cost);
    }
    return "answered";
  }

  /** In the very words of Yoga. */
  function sendErrors(
    request: IncomingMessage,
    response: ServerResponse,
    result: ExecutionResult,
    cost?: CostReport,
  ): void {
    const written = writtenResult(withCost(briefResult(result, guard), cost));
    if (isStream(request)) sendOnePush(response, written);
    else send(response, written.text, written.status, written.headers);
  }

  return async (request, response) => {
    if (!isPlainPost(request, guard.maxBodyBytes)) return "to be answered";
    try {
      // Before the body is read: strangers are not listened to.
      const client = identify(callerOf({ req: request }));
      const body = await bodyOf(request);
      // Somebody hung up, or broke off.
      if (body === null) return "answered";
      return await turns.begin(client.id, () => answer(request, response, client, body));
    } catch (error) {
      sendErrors(request, response, { errors: [maskError(error)] });
      return "answered";
    }
  };
}

interface Post {
  readonly params: SentParams;
  readonly read: ReadRequest;
  readonly enveloped: Enveloped | undefined;
}

interface Runnable extends Post {
  readonly enveloped: Enveloped;
  readonly operation: Operation<DocumentNode>;
  readonly kind: OperationTypeNode;
}

/** Null for what cannot run, or is not to be answered in the usual way: one answer as a stream, or a stream as one answer. */
function runnableOf(post: Post, asStream: boolean): Runnable | null {
  const operation = post.read.operations[0]?.operation ?? null;
  if (operation === null || post.enveloped === undefined) return null;
  const kind = getOperationAST(operation.document, operation.operationName)?.operation;
  if (kind === undefined || (kind === "subscription") !== asStream) return null;
  return { ...post, enveloped: post.enveloped, operation, kind };
}

/** Whether all that there is to say of it is what is wrong with it. */
function isRefused({ read: { refusal, operations } }: Post): boolean {
  return refusal !== null || operations.some(({ problems }) => problems.length > 0);
}

interface Ran {
  readonly result: ExecutionResult;
  /** As JSON; null when there is anything to be said beside it. */
  readonly data: string | null;
}

/** The part of Yoga that executes, with its plugins. */
interface Enveloped extends Parser {
  contextFactory(): Promise<object>;
  execute(args: ExecutionArgs): Promise<ExecutionResult>;
  subscribe(args: ExecutionArgs): unknown;
}

const contentTypes: ReadonlySet<string> = new Set(["application/json", "application/json; charset=utf-8"]);
const eventStream = "text/event-stream";
const accepted: ReadonlySet<string> = new Set(["application/json", "*/*", eventStream]);
const firstOfByteOrderMark = 0xef;
/** All that Yoga's plugins ask of a request when they parse: with none, errors would lack the status that they are kept with. */
const asPosted = { method: "POST" };

function isStream({ headers }: IncomingMessage): boolean {
  return headers.accept === eventStream;
}

/** What most clients send, and only that: all the others are Yoga's. */
function isPlainPost({ method, url, headers }: IncomingMessage, maxBytes: number): boolean {
  const length = headers["content-length"] ?? "";
  return (
    method === "POST" &&
    url === endpoint &&
    contentTypes.has(headers["content-type"] ?? "") &&
    accepted.has(headers.accept ?? "*/*") &&
    headers["content-encoding"] === undefined &&
    /^[1-9]\d*$/.test(length) &&
    Number(length) <= maxBytes
  );
}

/** Node sees to it that it is as long as was announced. Leaves nothing at the request, which stays as long as a stream does. */
function bodyOf(request: IncomingMessage): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const finish = (body: Buffer | null) => {
      for (const [event, listener] of Object.entries(listeners)) request.off(event, listener);
      resolve(body);
    };
    const listeners = {
      data: (chunk: Buffer) => void chunks.push(chunk),
      end: () => finish(chunks.length === 1 ? (chunks[0] ?? null) : Buffer.concat(chunks)),
      close: () => finish(null),
      error: () => finish(null),
    };
    for (const [event, listener] of Object.entries(listeners)) request.on(event, listener);
  });
}

/** Yoga's adapter takes what was read already from the property `body`, and looks at the names of whatever it has. */
function leaveToYoga(request: IncomingMessage, body: Buffer): void {
  const again = {
    async *[Symbol.asyncIterator]() {
      yield body;
    },
    isReadAlready: true,
  };
  Object.assign(request, { body: again });
}

function isParams(sent: unknown): sent is SentParams {
  return typeof sent === "object" && sent !== null && !Array.isArray(sent);
}

function isPlain(result: ExecutionResult): boolean {
  return Object.keys(result).every((name) => name === "data") && result.data != null;
}

function sendData(response: ServerResponse, data: string, cost: CostReport | undefined): void {
  const text = `{"data":${data}${cost === undefined ? "" : `,"extensions":${JSON.stringify({ cost })}`}}`;
  send(response, text, 200, { "Content-Type": "application/json; charset=utf-8" });
}

function send(response: ServerResponse, text: string, status: number, headers: OutgoingHttpHeaders): void {
  response.writeHead(status, { ...headers, "Content-Length": Buffer.byteLength(text) });
  response.end(text);
}
