import { isUtf8 } from "node:buffer";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import { type DocumentNode, type ExecutionArgs, type ExecutionResult, getOperationAST } from "graphql";
import type { Client, CostReport, Operation, Variables } from "../core/admission.ts";
import type { SentParams } from "../core/request-guard.ts";
import { callerOf, endpoint, type GraphQLOptions, type GraphQLServer } from "./graphql.ts";
import { admitRequest, isKnown, type Parser, type ReadRequest, readRequest } from "./read-request.ts";
import { createSharedRuns } from "./shared-runs.ts";
import type { Turns } from "./turns.ts";
import { type Admitted, withCost } from "./use-admission.ts";
import { parseBody } from "./use-bounded-body.ts";
import { briefResult } from "./use-brief-errors.ts";
import { writtenResult } from "./written-result.ts";

/** What is left to be done by Yoga: nothing, or all of it. */
type Answered = "answered" | "to be answered";
type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<Answered>;

/**
 * Answers the plain case past Yoga's fetch layer, which would be most of its cost: one query or mutation that is posted as JSON,
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

  async function run(
    { params, operation, enveloped, isQuery }: Runnable,
    client: Client,
    variables: Variables,
  ) {
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

  async function answer(
    request: IncomingMessage,
    response: ServerResponse,
    client: Client,
    body: Buffer,
  ): Promise<Answered> {
    const params = paramsOf(body);
    const post = params === null ? null : readPost(params, { req: request, res: response });
    const runnable = post === null ? null : runnableOf(post);
    if (post === null || (runnable === null && !isRefused(post))) {
      leaveToYoga(request, body);
      return "to be answered";
    }
    const admission = await admitRequest(admit, client, post.read);
    const [cost] = admission.costs;
    if (admission.refusal !== null) sendErrors(response, { errors: [maskError(admission.refusal)] }, cost);
    else if (runnable === null)
      sendErrors(response, { errors: post.read.operations[0]?.problems ?? [] }, cost);
    else {
      const begin = () => run(runnable, client, admission.variables[0] ?? {});
      const key = () => `${[...client.scopes].join()} ${body}`;
      const { result, data } = await (runnable.isQuery ? shared.run(key(), begin) : begin());
      if (data === null) sendErrors(response, result, cost);
      else sendData(response, data, cost);
    }
    return "answered";
  }

  /** In the very words of Yoga. */
  function sendErrors(response: ServerResponse, result: ExecutionResult, cost?: CostReport): void {
    const { text, status, headers } = writtenResult(withCost(briefResult(result, guard), cost));
    send(response, text, status, headers);
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
      sendErrors(response, { errors: [maskError(error)] });
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
  readonly isQuery: boolean;
}

/** Null for what cannot run, or has no single answer. */
function runnableOf(post: Post): Runnable | null {
  const operation = post.read.operations[0]?.operation ?? null;
  if (operation === null || post.enveloped === undefined) return null;
  const kind = getOperationAST(operation.document, operation.operationName)?.operation;
  if (kind !== "query" && kind !== "mutation") return null;
  return { ...post, enveloped: post.enveloped, operation, isQuery: kind === "query" };
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
}

const contentTypes: ReadonlySet<string> = new Set(["application/json", "application/json; charset=utf-8"]);
const accepted: ReadonlySet<string> = new Set(["application/json", "*/*"]);
const firstOfByteOrderMark = 0xef;
/** All that Yoga's plugins ask of a request when they parse: with none, errors would lack the status that they are kept with. */
const asPosted = { method: "POST" };

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

/** Node sees to it that it is as long as was announced. */
function bodyOf(request: IncomingMessage): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.once("end", () => resolve(chunks.length === 1 ? (chunks[0] ?? null) : Buffer.concat(chunks)));
    request.once("close", () => resolve(null));
    request.once("error", () => resolve(null));
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
