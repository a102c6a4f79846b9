import type { initGraphQLTada } from "gql.tada";
import type { Introspection } from "./introspection.ts";

export type { ResultOf, VariablesOf } from "gql.tada";

type Graphql = ReturnType<
  typeof initGraphQLTada<{
    introspection: Introspection;
    scalars: { DateTime: string };
    disableMasking: true;
  }>
>;

/**
 * A document with the types of its result and variables, which come from schema.graphql. It is sent as it is written: the browser parses
 * no GraphQL.
 *
 * @param fragments that it spreads.
 */
export const graphql = ((text: string, fragments: readonly string[] = []) =>
  [...new Set([text, ...fragments])].join("\n")) as unknown as Graphql;
