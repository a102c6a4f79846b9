import { type GraphQLNamedType, GraphQLScalarType, type GraphQLSchema, isInputObjectType } from "graphql";

const coerced = new GraphQLScalarType({
  name: "Coerced",
  description:
    "Stands for input objects whose values are what resolvers get already. No client ever sees it.",
});

/**
 * The same schema for whoever is handed variables that were coerced before: input objects in them are taken as they are, which
 * of a batch of events is nearly all the work of coercing it. Not for executing queries, in which `__type` would find it out.
 */
export function createCoercedSchema(schema: GraphQLSchema): GraphQLSchema {
  return Object.create(schema, {
    getType: {
      value(name: string): GraphQLNamedType | undefined {
        const type = schema.getType(name);
        // Also what only stands for an input object: see api/request-schema.ts.
        return isInputObjectType(type) || type?.extensions.isInputObject === true ? coerced : type;
      },
    },
  });
}
