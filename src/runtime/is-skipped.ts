import {
  GraphQLIncludeDirective,
  GraphQLSkipDirective,
  getDirectiveValues,
  type SelectionNode,
} from "graphql";
import type { Variables } from "../core/admission.ts";

/** Whether `@skip` or `@include` leaves a selection out. @throws GraphQLError when a condition is null, or no boolean. */
export function isSkipped(selection: SelectionNode, variables: Variables): boolean {
  if (!selection.directives?.length) return false;
  if (getDirectiveValues(GraphQLSkipDirective, selection, variables)?.if === true) return true;
  return getDirectiveValues(GraphQLIncludeDirective, selection, variables)?.if === false;
}
