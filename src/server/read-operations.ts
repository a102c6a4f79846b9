import { type DocumentNode, GraphQLError, getOperationAST, type OperationTypeNode } from "graphql";
import type { Operation } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { RequestGuard } from "../core/request-guard.ts";
import { operationParams } from "./request-params.ts";

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

const maxBatch = 50;

/**
 * Reads the operations of one request, each step only when the steps before it allow it. Errors of one operation are its own.
 *
 * @param sent the parameters of each operation, unchecked.
 * @throws AppError when the request as a whole is beyond a bound: none of its operations may run.
 */
export function readOperations(
  sent: readonly unknown[],
  parser: Parser,
  guard: RequestGuard<DocumentNode>,
): readonly ReadOperation[] {
  if (sent.length > maxBatch) {
    throw new AppError(
      "BAD_USER_INPUT",
      `too many operations in a batch (limit ${maxBatch}), got ${sent.length}`,
    );
  }
  const budget = guard.begin(sent.map((each) => (typeof each === "object" ? each : null)));

  function read(params: unknown): ReadOperation {
    const { query, operationName, variables } = operationParams(params);
    const document = parser.parse(query);
    budget.spend(document);
    const kind = getOperationAST(document, operationName)?.operation;
    if (kind === undefined) throw unknownOperation(operationName);
    const errors = parser.validate(document);
    if (errors.length > 0) return { errors, document };
    return { kind, operation: { document, operationName, variables } };
  }

  return sent.map((params) => {
    try {
      return read(params);
    } catch (error) {
      const isOwn = error instanceof GraphQLError || (error instanceof AppError && ownErrors.has(error.code));
      if (isOwn) return { errors: [error] };
      throw error;
    }
  });
}

/** Errors of one operation of a batch, beside which the others run. */
const ownErrors: ReadonlySet<string> = new Set([
  "BAD_REQUEST",
  "OPERATION_RESOLUTION_FAILURE",
  "PERSISTED_QUERY_NOT_SUPPORTED",
]);

function unknownOperation(operationName: string | null): AppError {
  return new AppError(
    "OPERATION_RESOLUTION_FAILURE",
    operationName === null
      ? "the document has no operation, or several; name one of them in operationName"
      : `the document has no operation "${operationName}"`,
  );
}
