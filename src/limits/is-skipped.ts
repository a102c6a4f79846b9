import {
  GraphQLError,
  GraphQLIncludeDirective,
  GraphQLSkipDirective,
  getDirectiveValues,
  type SelectionNode,
} from "graphql";
import type { Variables } from "../core/admission.ts";

/**
 * Whether `@skip` or `@include` leaves a selection out.
 *
 * @param isLenient a selection whose directives cannot be evaluated is left out, instead of an error being thrown.
 */
export function isSkipped(selection: SelectionNode, variables: Variables, isLenient = false): boolean {
  if (!selection.directives?.length) return false;
  try {
    if (getDirectiveValues(GraphQLSkipDirective, selection, variables)?.if === true) return true;
    return getDirectiveValues(GraphQLIncludeDirective, selection, variables)?.if === false;
  } catch (error) {
    if (isLenient && error instanceof GraphQLError) return true;
    throw error;
  }
}
