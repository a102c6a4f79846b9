import { isUtf8 } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import { type DocumentNode, type ExecutionArgs, type ExecutionResult, getOperationAST } from "graphql";
import type { Admission, Client, Operation, Variables } from "../core/admission.ts";
import type { SentParams } from "../core/request-guard.ts";
import { callerOf, endpoint, type GraphQLOptions, type GraphQLServer } from "./graphql.ts";
import { admitRequest, isKnown, type Parser, type ReadRequest, readRequest } from "./read-request.ts";
import { createSharedRuns } from "./shared-runs.ts";
import type { Admitted, Begun } from "./use-admission.ts";

/** What is left to be done by Yoga: nothing; or all of it, or the rest. */
type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<"answered" | "to be answered">;

/**
 * Answers the plain case past Yoga's fetch layer, which would be most of its cost: one query or mutation that is posted as JSON,
 * and with which nothing is wrong. It is read, admitted and executed by what Yoga itself uses for that. Of everything else that
 * comes of it Yoga makes the answer, from where it has come to: there is one set of rules, and nothing runs or is charged twice.
 *
 * @param begun is told how far a request has come that Yoga is to go on with.
 */
export function createPlainPosts(
  yoga: GraphQLServer,
  options: Pick<GraphQLOptions, "admit" | "coercedSchema" | "identify" | "maskError" | "guard">,
  admitted: Admitted,
  begun: Begun,
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

  function paramsOf(text: string): SentParams | null {
    try {
      const sent = guard.parseJson(text);
      return isParams(sent) && isKnown(sent) && sent.extensions == null ? sent : null;
    } catch {
      // Yoga finds the same, and says it.
      return null;
    }
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

  return async (request, response) => {
    if (!isPlainPost(request, guard.maxBodyBytes)) return "to be answered";
    let client: Client;
    try {
      // Before the body is read: strangers are not listened to.
      client = identify(callerOf({ req: request }));
    } catch {
      return "to be answered";
    }
    const body = await bodyOf(request);
    // Somebody hung up, or broke off.
    if (body === null) return "answered";

    const text = isUtf8(body) && body[0] !== firstOfByteOrderMark ? body.toString() : null;
    const params = text === null ? null : paramsOf(text);
    if (params === null) {
      leaveToYoga(request, body);
      return "to be answered";
    }
    const post = readPost(params, { req: request, res: response });
    const runnable = runnableOf(post);
    if (runnable === null && post.read.operations.some(({ operation }) => operation !== null)) {
      // A stream: only Yoga knows how to answer with one.
      leaveToYoga(request, body);
      return "to be answered";
    }
    const admission = runnable === null ? null : await admitRequest(admit, client, post.read);
    let ran: Ran = { result: null, data: null };
    if (runnable !== null && admission?.refusal === null) {
      const begin = () => run(runnable, client, admission.variables[0] ?? {});
      ran = await (runnable.isQuery ? shared.run(`${[...client.scopes].join()} ${text}`, begin) : begin());
    }
    if (admission === null || ran.data === null) {
      begun.set(request, { params, client, read: post.read, admission, result: ran.result });
      leaveToYoga(request, body);
      return "to be answered";
    }
    sendData(response, ran.data, admission);
    return "answered";
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

interface Ran {
  /** Null when nothing was run. */
  readonly result: ExecutionResult | null;
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

function sendData(response: ServerResponse, data: string, { costs }: Admission): void {
  const [cost] = costs;
  const text = `{"data":${data}${cost === undefined ? "" : `,"extensions":${JSON.stringify({ cost })}`}}`;
  response.writeHead(200, {
    "Content-Type": "application/json; charset=utf-8",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}
