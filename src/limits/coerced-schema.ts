import { type GraphQLNamedType, GraphQLScalarType, type GraphQLSchema, isInputType } from "graphql";

const coerced = new GraphQLScalarType({
  name: "Coerced",
  description: "Stands for the types of variables that have been coerced. Clients never see it.",
});

/**
 * The same schema for executing with variables that were coerced before: they are taken as they are, which for a batch of events
 * is nearly all the work of coercing it. Not for executing queries, in which `__type` would show it.
 */
export function createCoercedSchema(schema: GraphQLSchema): GraphQLSchema {
  return Object.create(schema, {
    getType: {
      value(name: string): GraphQLNamedType | undefined {
        const type = schema.getType(name);
        return isInputType(type) ? coerced : type;
      },
    },
  });
}
