import { hash } from "node:crypto";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { DocumentNode, OperationTypeNode } from "graphql";
import type { Client } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { type EncodedResult, encodeResult, withCost } from "./encoded-result.ts";
import { type EventStreams, sendOneEvent } from "./graphql-sse.ts";
import { headOf, type ResponseHead, sendText } from "./http-response.ts";
import { acceptedMediaTypes, type MediaType, mediaTypes } from "./media-types.ts";
import type { Invalid, Operations, Prepared } from "./operations.ts";
import { createBodyReader, tooManyBytesInFlight } from "./request-body.ts";
import { hasCurrent } from "./send-page.ts";
import type { Sent } from "./sent-request.ts";

export interface GraphQLHttpOptions {
  readonly operations: Operations;
  readonly streams: EventStreams;
  readonly budget: ByteBudget;
  readonly guard: Pick<RequestGuard<DocumentNode>, "maxBodyBytes">;
  /** Counts a refusal. @returns what resolves when it may be sent. */
  readonly holdBack: (response: ServerResponse, workMs: number) => Promise<void> | null;
}

/** @param sender the client, or why there is none. */
export type AnswerGraphQL = (
  request: IncomingMessage,
  response: ServerResponse,
  sender: Client | AppError,
) => Promise<void>;

/** GraphQL over HTTP: GET, POST and batches, answered as JSON or as a stream of events. */
export function createGraphQLHttp({
  operations,
  streams,
  budget,
  guard,
  holdBack,
}: GraphQLHttpOptions): AnswerGraphQL {
  const bodies = createBodyReader({ maxBytes: guard.maxBodyBytes, budget });

  /** @returns null when the client hung up. @throws AppError */
  async function read(
    request: IncomingMessage,
    response: ServerResponse,
    client: Client,
  ): Promise<Sent | null> {
    if (request.method !== "POST") return { target: request.url ?? "" };
    const body = await bodies.read(request, client.id);
    if (body === null) return null;
    response.once("close", body.release);
    return { body: body.text };
  }

  /**
   * Of a batch, an entry for each operation: clients look for the errors of each in its place. While this is held back, nothing is kept of
   * what is refused.
   */
  function sendInvalid(
    response: ServerResponse,
    mediaType: MediaType,
    { errors, cost, workMs }: Invalid,
    batchLength: number | null = null,
  ): void {
    const entry = withCost(encodeResult({ errors }), cost);
    const isListed = batchLength !== null && batchLength > 0 && batchLength <= maxListed;
    const text = isListed ? `[${Array(batchLength).fill(entry).join(",")}]` : entry;
    const head = headOf(errors, mediaType);
    const sendable = holdBack(response, workMs);
    if (sendable === null) write(response, mediaType, text, head);
    else void sendable.then(() => write(response, mediaType, text, head));
  }

  /** Sends a result. @throws AppError THROTTLED when the client has too much that it has not read. */
  function send(
    response: ServerResponse,
    mediaType: MediaType,
    client: string,
    text: string,
    errors: EncodedResult["errors"],
    tags: Tags | null = null,
  ): void {
    const release = budget.reserve(client, text.length);
    if (release === null) throw tooManyBytesInFlight(budget);
    response.once("close", release);
    const head = headOf(errors, mediaType);
    write(
      response,
      mediaType,
      text,
      tags === null ? head : { ...head, headers: { ...head.headers, ...tags } },
    );
  }

  async function respond(
    request: IncomingMessage,
    response: ServerResponse,
    accepted: readonly MediaType[],
    client: Client | AppError,
  ) {
    const [mediaType] = accepted;
    // Before the body is read: a stranger has no say.
    if (client instanceof AppError) throw client;
    if (mediaType === undefined) throw notAcceptable();
    const sent = await read(request, response, client);
    if (sent === null) return;
    const prepared = await operations.prepare(
      client,
      sent,
      (kind, isBatch) => assertServed(kind, request, isBatch, accepted),
      {
        transport: mediaType === "text/event-stream" ? "sse" : "http",
        traceparent: request.headers.traceparent,
      },
    );
    const { batchLength, refusal, operations: all } = prepared;
    const type = batchLength === null ? mediaType : jsonType(mediaType);
    if (refusal !== null) sendInvalid(response, type, refusal, batchLength);
    else if (batchLength === null) await sendOne(response, type, all[0]);
    else {
      // All have the time of the request.
      const [invalid] = all.every((each) => "errors" in each) ? all : [];
      if (invalid !== undefined) await holdBack(response, invalid.workMs);
      const results = await Promise.all(all.map((each) => jsonOf(each)));
      send(response, type, client.id, `[${results.join(",")}]`, []);
    }
  }

  async function sendOne(
    response: ServerResponse,
    mediaType: MediaType,
    operation: Prepared | Invalid | undefined,
  ): Promise<void> {
    if (operation === undefined) throw new Error("an operation was lost");
    if ("errors" in operation) return sendInvalid(response, mediaType, operation);
    const { client, kind, cost } = operation;
    const result = await (kind === "subscription"
      ? operations.subscribe(operation)
      : operations.execute(operation));
    if ("json" in result) {
      const tags = tagsOf(response.req, mediaType, result);
      if (tags !== null && hasCurrent(response.req, tags.ETag)) response.writeHead(304, tags).end();
      else send(response, mediaType, client.id, withCost(result, cost), result.errors, tags);
    } else await streams.send(response, result, client.id, cost);
  }

  async function jsonOf(operation: Prepared | Invalid): Promise<string> {
    const result = "errors" in operation ? encodeResult(operation) : await operations.execute(operation);
    return withCost(result, operation.cost);
  }

  return async (request, response, sender) => {
    const accepted = acceptedMediaTypes(request.headers);
    try {
      await respond(request, response, accepted, sender);
    } catch (error) {
      // The rest of a large body is not parsed only to be thrown away.
      if (!request.complete && isLarge(request)) {
        request.pause();
        response.setHeader("Connection", "close");
      }
      sendInvalid(response, accepted[0] ?? "application/json", operations.refuse(error));
    }
  };
}

/** Of more operations, a list would be far larger than the request was worth. */
const maxListed = 100;

function write(response: ServerResponse, mediaType: MediaType, text: string, head: ResponseHead): void {
  if (mediaType === "text/event-stream") sendOneEvent(response, text, head);
  else sendText(response, mediaType, text, head);
}

/**
 * Headers of an answer to GET, with a tag of its data, without its cost, which is another one each time. Null for what has none: a POST, a stream,
 * an answer with errors.
 */
function tagsOf(
  { method }: IncomingMessage,
  mediaType: MediaType,
  { open, errors }: EncodedResult,
): Tags | null {
  if (method === "POST" || mediaType === "text/event-stream" || errors.length > 0) return null;
  return {
    ETag: `W/"${hash("sha256", open, "base64url").slice(0, 27)}"`,
    // A browser keeps the answer, and asks each time whether it is still true; no shared cache does.
    "Cache-Control": "private, no-cache",
    Vary: "Accept, Authorization, Origin",
  };
}

interface Tags extends OutgoingHttpHeaders {
  readonly ETag: string;
}

function isLarge({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 65_536;
}

/** A batch is answered as JSON whatever is preferred. */
function jsonType(mediaType: MediaType): MediaType {
  return mediaType === "text/event-stream" ? "application/json" : mediaType;
}

function assertServed(
  kind: OperationTypeNode,
  { method }: IncomingMessage,
  isBatch: boolean,
  accepted: readonly MediaType[],
): void {
  if (kind === "mutation" && method !== "POST") {
    throw new AppError("METHOD_NOT_ALLOWED", "a mutation by GET; send it by POST");
  }
  if (kind !== "subscription") return;
  // Its response has no body, so it would push to no reader until the client goes.
  if (method === "HEAD") {
    throw new AppError("METHOD_NOT_ALLOWED", "a subscription by HEAD; send it by GET or POST");
  }
  if (isBatch) throw new AppError("BAD_USER_INPUT", "a subscription in a batch; send it alone");
  if (accepted.includes("text/event-stream")) return;
  throw new AppError(
    "NOT_ACCEPTABLE",
    "a subscription needs Accept: text/event-stream (graphql-sse in distinct connections mode), or a WebSocket with graphql-transport-ws; multipart/mixed is not supported",
  );
}

function notAcceptable(): AppError {
  return new AppError("NOT_ACCEPTABLE", `expected an Accept header with one of ${mediaTypes.join(", ")}`);
}
