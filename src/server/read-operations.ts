import { type DocumentNode, GraphQLError, getOperationAST, type OperationTypeNode } from "graphql";
import type { Operation } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { RequestBudget, RequestGuard } from "../core/request-guard.ts";
import { createTextKeyedCache } from "../runtime/text-keyed-cache.ts";
import type { PersistedDocuments } from "./persisted-documents.ts";
import { documentIdOf, operationParams } from "./request-params.ts";
import { parseText, type Sent } from "./sent-request.ts";

/** The part of the engine that parses and validates, with its caches. */
export interface Parser {
  parse(source: string): DocumentNode;
  validate(document: DocumentNode): readonly GraphQLError[];
}

/** An operation whose document is parsed and valid, or its errors. */
export type ReadOperation = ValidOperation | InvalidOperation;

export interface InvalidOperation {
  readonly errors: readonly Error[];
  /** Absent when it was refused before it was validated. */
  readonly document?: DocumentNode;
}

export interface ValidOperation {
  readonly kind: OperationTypeNode;
  readonly operation: Operation<DocumentNode>;
}

export function isValid(read: ReadOperation): read is ValidOperation {
  return "kind" in read;
}

/** A request that is parsed. */
export interface ParsedRequest {
  /** How many operations came as a batch; null: it is none. */
  readonly batchLength: number | null;
  /** Of each operation, unchecked. */
  readonly params: readonly unknown[];
  /** Of a text that was read before. */
  readonly operations: readonly ReadOperation[] | null;
  /** Of the documents that could run. */
  readonly version: unknown;
  /** Called with what was read of it. */
  readonly keep: (operations: readonly ReadOperation[]) => void;
}

/** Reads the operations of requests, each step only when the steps before it allow it. */
export interface OperationReader {
  /** @throws AppError when it is not JSON, or beyond a bound. */
  parse(sent: Sent): ParsedRequest;
  /**
   * Errors of one operation are its own.
   *
   * @throws AppError when the request as a whole is beyond a bound: none of its operations may run.
   */
  read(request: ParsedRequest): readonly ReadOperation[];
}

const maxBatch = 50;

/** Clients ask the same again and again: a text that was read, and only asks, is not read again. */
export function createOperationReader(
  parser: Parser,
  guard: RequestGuard<DocumentNode>,
  documents: PersistedDocuments,
): OperationReader {
  const byBody = createTextKeyedCache<ParsedRequest>({ sizeOf: namedCharacters });
  const byTarget = createTextKeyedCache<ParsedRequest>({ sizeOf: namedCharacters });
  const serials = new WeakMap<DocumentNode, number>();
  let lastSerial = 0;

  function serialOf(document: DocumentNode): number {
    const serial = serials.get(document) ?? ++lastSerial;
    serials.set(document, serial);
    return serial;
  }

  function readOne(sent: unknown, budget: RequestBudget<DocumentNode>): ReadOperation {
    const { query, operationName, variables, documentId } = operationParams(sent);
    documents.assertAllowed(query, documentId);
    const document = parser.parse(query);
    budget.spend(document);
    const kind = getOperationAST(document, operationName)?.operation;
    if (kind === undefined) throw unknownOperation(operationName);
    const errors = parser.validate(document);
    if (errors.length > 0) return { errors, document };
    if (documentId !== null) documents.keep(query, documentId);
    const operation = { document, operationName, variables };
    if (kind !== "query") return { kind, operation };
    const key = `${serialOf(document)} ${operationName} ${JSON.stringify(variables)}`;
    return { kind, operation: { ...operation, key } };
  }

  function read(sent: readonly unknown[]): readonly ReadOperation[] {
    if (sent.length > maxBatch) {
      throw new AppError(
        "BAD_USER_INPUT",
        `too many operations in a batch (limit ${maxBatch}), got ${sent.length}`,
      );
    }
    const params = sent.map(documents.withText);
    const budget = guard.begin(params.map((each) => (typeof each === "object" ? each : null)));
    return params.map((each) => {
      try {
        return readOne(each, budget);
      } catch (error) {
        const isOwn =
          error instanceof GraphQLError || (error instanceof AppError && ownErrors.has(error.code));
        if (isOwn) return { errors: [error] };
        throw error;
      }
    });
  }

  return {
    parse(sent) {
      if ("params" in sent) return requestOf(sent.params);
      const [cache, text] = "body" in sent ? [byBody, sent.body] : [byTarget, sent.target];
      const known = cache.get(text);
      const version = documents.version();
      if (known !== undefined && known.version === version) return known;
      const request = { ...requestOf(parseText(sent, guard)), version };
      // A document that comes with its hash is kept under it, each time: it may have been dropped.
      if (request.params.some(isRegistration)) return request;
      return { ...request, keep: (operations) => cache.set(text, { ...request, params: [], operations }) };
    },
    read({ params, operations, keep }) {
      if (operations !== null) return operations;
      const all = read(params);
      if (all.every((each) => isValid(each) && each.kind === "query")) keep(all);
      return all;
    },
  };
}

/** A short text may name long documents by their hashes, and keeping it keeps them. */
function namedCharacters({ operations }: ParsedRequest, text: string): number {
  const all = (operations ?? []).map((each) => (isValid(each) ? (each.operation.document.loc?.end ?? 0) : 0));
  return Math.max(0, all.reduce((sum, length) => sum + length, 0) - text.length);
}

/** @param parsed the parameters of an operation, or a list of them. */
function requestOf(parsed: unknown): ParsedRequest {
  const isBatch = Array.isArray(parsed);
  return {
    batchLength: isBatch ? parsed.length : null,
    params: isBatch ? parsed : [parsed],
    operations: null,
    version: null,
    keep: () => {},
  };
}

/** Errors of one operation of a batch, beside which the others run. */
const ownErrors: ReadonlySet<string> = new Set([
  "BAD_REQUEST",
  "OPERATION_RESOLUTION_FAILURE",
  "PERSISTED_QUERY_NOT_FOUND",
  "UNTRUSTED_DOCUMENT",
]);

function isRegistration(sent: unknown): boolean {
  const { query } = (sent ?? {}) as { readonly query?: unknown };
  return query != null && query !== "" && documentIdOf(sent) !== null;
}

function unknownOperation(operationName: string | null): AppError {
  return new AppError(
    "OPERATION_RESOLUTION_FAILURE",
    operationName === null
      ? "the document has no operation, or several; name one of them in operationName"
      : `the document has no operation "${operationName}"`,
  );
}
