import { type DocumentNode, GraphQLError, type GraphQLSchema } from "graphql";
import type { Admission, Admit, Client, Operation } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { RequestBudget, RequestGuard, SentParams } from "../core/request-guard.ts";

/** The part of Yoga that parses and validates, with its caches. */
export interface Parser {
  parse(source: string): DocumentNode;
  validate(schema: GraphQLSchema, document: DocumentNode): readonly GraphQLError[];
  readonly schema: GraphQLSchema;
}

/** All operations of one request, as far as they can be understood. */
export interface ReadRequest {
  /** Why nothing of the request may run; null: nothing in its form speaks against it. */
  readonly refusal: AppError | null;
  readonly operations: readonly ReadOperation[];
}

export interface ReadOperation {
  /** Parsed and valid; null when it cannot run. */
  readonly operation: Operation<DocumentNode> | null;
  /** What GraphQL says of a document that cannot run. None where the parameters themselves are wrong: Yoga says how. */
  readonly problems: readonly GraphQLError[];
}

/**
 * @param batch null where the parameters cannot be taken.
 * @param parserFor is to spend the budget on what it parses, before Yoga looks at it.
 */
export function readRequest(
  batch: readonly (SentParams | null)[],
  parserFor: (params: SentParams | null, budget: RequestBudget<DocumentNode>) => Parser,
  guard: RequestGuard<DocumentNode>,
): ReadRequest {
  try {
    const budget = guard.begin(batch);
    return {
      refusal: null,
      operations: batch.map((params) => readOperation(params, parserFor(params, budget))),
    };
  } catch (error) {
    if (error instanceof AppError) return refused(error);
    throw error;
  }
}

export function refused(refusal: AppError): ReadRequest {
  return { refusal, operations: [] };
}

function readOperation(params: SentParams | null, parser: Parser): ReadOperation {
  if (!isWellFormed(params)) return { operation: null, problems: [] };
  const { query, operationName, variables } = params;
  try {
    const document = parser.parse(query);
    const problems = parser.validate(parser.schema, document);
    if (problems.length > 0) return { operation: null, problems };
    return {
      operation: { document, operationName: operationName ?? null, variables: variables ?? {} },
      problems,
    };
  } catch (error) {
    if (error instanceof GraphQLError) return { operation: null, problems: [error] };
    throw error;
  }
}

interface WellFormed extends SentParams {
  readonly query: string;
  readonly operationName?: string | null;
  readonly variables?: Readonly<Record<string, unknown>> | null;
}

function isWellFormed(params: SentParams | null): params is WellFormed {
  if (typeof params?.query !== "string") return false;
  const { operationName, variables, extensions } = params;
  return (
    (operationName == null || typeof operationName === "string") &&
    (variables == null || isRecord(variables)) &&
    (extensions == null || isRecord(extensions))
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Asks for admission of what was read. What is refused for its form costs nothing, and Redis is asked for nothing. */
export async function admitRequest(
  admit: Admit<DocumentNode>,
  client: Client,
  { refusal, operations }: ReadRequest,
): Promise<Admission> {
  if (refusal === null)
    return admit(
      client,
      operations.map(({ operation }) => operation),
    );
  const { costs } = await admit(client, [null]);
  return { refusal, variables: [], costs: costs.map((cost) => ({ ...cost, actualQueryCost: null })) };
}

const names: ReadonlySet<string> = new Set(["query", "operationName", "variables", "extensions"]);

/** Yoga refuses parameters with other names, and nobody shall be charged for what is refused. */
export function isKnown(params: SentParams | null): boolean {
  return Object.entries(params ?? {}).every(([name, value]) => names.has(name) || value == null);
}
