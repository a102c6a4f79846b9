import { complexityFromQuery } from "@pothos/plugin-complexity";
import {
  type DocumentNode,
  GraphQLError,
  GraphQLIncludeDirective,
  type GraphQLSchema,
  GraphQLSkipDirective,
  getDirectiveValues,
  getOperationAST,
  getVariableValues,
  Kind,
  type SelectionNode,
  visit,
} from "graphql";
import type { Operation } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";

/**
 * Points that an operation costs, with the variables it came with: what its fields declare in the schema, added up over
 * aliases and fragments. What `@skip` and `@include` leave out is free.
 *
 * @param context handed to the fields' own calculations, which also check their arguments.
 * @returns 0 when the operation does not exist: then nothing is executed.
 * @throws AppError what a field says of its arguments; BAD_USER_INPUT when variables do not fit their types;
 *   MAX_COST_EXCEEDED when the cost cannot be told.
 */
export function costOf(schema: GraphQLSchema, operation: Operation<DocumentNode>, context: object): number {
  const node = getOperationAST(operation.document, operation.operationName);
  if (!node) return 0;
  const variables = { ...operation.variables };
  const { coerced, errors } = getVariableValues(schema, node.variableDefinitions ?? [], variables, {
    maxErrors: 1,
  });
  if (errors !== undefined) throw badInput(errors[0]);

  const fragments = operation.document.definitions.filter((each) => each.kind === "FragmentDefinition");
  const document: DocumentNode = { kind: operation.document.kind, definitions: [node, ...fragments] };
  const cost = calculated(() => {
    const priced = withoutFree(document, coerced);
    const { complexity, depth } = complexityFromQuery(priced, { schema, ctx: context, variables });
    if (depth === 0 && node.operation === "subscription") {
      throw new AppError("BAD_USER_INPUT", "expected a subscription with a field that is not skipped");
    }
    return complexity;
  });
  // A cost that is no number would pass every limit.
  if (Number.isFinite(cost) && cost >= 0) return cost;
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

/** The plugin would charge for what is skipped, and for `__typename`, which clients add everywhere. */
function withoutFree(document: DocumentNode, variables: Record<string, unknown>): DocumentNode {
  const prune = (node: SelectionNode) => {
    const isMeta = node.kind === Kind.FIELD && node.name.value.startsWith("__");
    return isMeta || isSkipped(node, variables) ? null : undefined;
  };
  return visit(document, { Field: prune, FragmentSpread: prune, InlineFragment: prune });
}

/** Whether `@skip` or `@include` leaves a selection out. */
export function isSkipped(selection: SelectionNode, variables: Record<string, unknown>): boolean {
  if (!selection.directives?.length) return false;
  if (getDirectiveValues(GraphQLSkipDirective, selection, variables)?.if === true) return true;
  return getDirectiveValues(GraphQLIncludeDirective, selection, variables)?.if === false;
}
