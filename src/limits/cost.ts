import { complexityFromQuery } from "@pothos/plugin-complexity";
import {
  type DocumentNode,
  GraphQLError,
  GraphQLIncludeDirective,
  type GraphQLSchema,
  GraphQLSkipDirective,
  getDirectiveValues,
  getOperationAST,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  visit,
} from "graphql";
import type { Operation, Variables } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { coerceVariables } from "./coerce-variables.ts";

export interface CostOptions {
  readonly schema: GraphQLSchema;
  /** The same schema, for variables that were coerced before. */
  readonly coercedSchema: GraphQLSchema;
  /** Handed to the fields' own calculations, which also check their arguments. */
  readonly context: object;
}

/** What is known of an operation before it runs. */
export interface Price {
  /** Points. */
  readonly cost: number;
  /** The variables as resolvers get them. */
  readonly variables: Variables;
}

/**
 * Points that an operation costs, with the variables it came with: what its fields declare in the schema, added up over
 * aliases and fragments. What `@skip` and `@include` leave out is free.
 *
 * @returns a cost of 0 when the operation does not exist: then nothing is executed.
 * @throws AppError what a field says of its arguments; BAD_USER_INPUT when variables do not fit their types;
 *   MAX_COST_EXCEEDED when the cost cannot be told.
 */
export function priceOf(
  { document, operationName, variables: sent }: Operation<DocumentNode>,
  { schema, coercedSchema, context }: CostOptions,
): Price {
  const node = getOperationAST(document, operationName);
  if (!node) return { cost: 0, variables: sent };
  const { coerced, errors } = coerceVariables(schema, node, sent);
  if (errors !== undefined) throw badInput(errors[0]);

  const cost = calculated(() => {
    const priced = pricedPart(document, node, coerced);
    const ctx = { ...context, operation: node.operation };
    const asked = { schema: coercedSchema, ctx, variables: coerced };
    const { complexity, depth } = complexityFromQuery(priced, asked);
    if (depth === 0 && node.operation === "subscription") {
      throw new AppError("BAD_USER_INPUT", "expected a subscription with a field that is not skipped");
    }
    return complexity;
  });
  // A cost that is no number would pass every limit.
  if (Number.isFinite(cost) && cost >= 0) return { cost, variables: coerced };
  throw new AppError("MAX_COST_EXCEEDED", "the cost of the operation is not a number");
}

function calculated(calculation: () => number): number {
  try {
    return calculation();
  } catch (error) {
    // An argument that is null at run time though its type forbids it: the field would fail, but its neighbours would run.
    if (error instanceof GraphQLError) throw badInput(error);
    throw error;
  }
}

function badInput(error: GraphQLError | undefined): AppError {
  const message = error?.message ?? "the variables do not fit their types";
  return new AppError("BAD_USER_INPUT", message, { cause: error });
}

/** Of operations without directives, in which nothing hangs on the variables, for as long as their documents are kept. */
const pricedParts = new WeakMap<OperationDefinitionNode, DocumentNode>();

/** The plugin would charge for what is skipped, and for `__typename`, which clients add everywhere. */
function pricedPart(
  { kind, definitions }: DocumentNode,
  operation: OperationDefinitionNode,
  variables: Record<string, unknown>,
): DocumentNode {
  const known = pricedParts.get(operation);
  if (known !== undefined) return known;
  let isAlwaysSame = true;
  const prune = (node: SelectionNode) => {
    if (node.directives?.length) isAlwaysSame = false;
    const isMeta = node.kind === Kind.FIELD && node.name.value.startsWith("__");
    return isMeta || isSkipped(node, variables) ? null : undefined;
  };
  const fragments = definitions.filter((each) => each.kind === Kind.FRAGMENT_DEFINITION);
  const document: DocumentNode = { kind, definitions: [operation, ...fragments] };
  const priced = visit(document, { Field: prune, FragmentSpread: prune, InlineFragment: prune });
  if (isAlwaysSame) pricedParts.set(operation, priced);
  return priced;
}

/** Whether `@skip` or `@include` leaves a selection out. */
export function isSkipped(selection: SelectionNode, variables: Record<string, unknown>): boolean {
  if (!selection.directives?.length) return false;
  if (getDirectiveValues(GraphQLSkipDirective, selection, variables)?.if === true) return true;
  return getDirectiveValues(GraphQLIncludeDirective, selection, variables)?.if === false;
}
