import {
  type GraphQLArgumentConfig,
  GraphQLList,
  type GraphQLNamedType,
  GraphQLNonNull,
  GraphQLObjectType,
  type GraphQLSchema,
  isInputObjectType,
} from "graphql";
import { createEventScalar } from "./event-input.ts";

/**
 * The schema that requests are validated, coerced and priced against, and mutations run against: the public one, but an event is
 * a scalar there, which takes everything. Not for running queries, in which introspection would find it out.
 */
export function createRequestSchema(schema: GraphQLSchema): GraphQLSchema {
  const input = schema.getType("QueueEventInput");
  const publicMutation = schema.getMutationType();
  if (!isInputObjectType(input) || publicMutation == null) throw new Error("the schema has no recordEvents");
  const event = createEventScalar(input);
  const config = publicMutation.toConfig();
  const { recordEvents } = config.fields;
  if (recordEvents?.args?.events === undefined) throw new Error("the schema has no recordEvents");
  // A null in the list is an event that is wrong, as any other.
  const events: GraphQLArgumentConfig = {
    ...recordEvents.args.events,
    type: new GraphQLNonNull(new GraphQLList(event)),
  };
  const args = { ...recordEvents.args, events };
  const mutation = new GraphQLObjectType({
    ...config,
    fields: { ...config.fields, recordEvents: { ...recordEvents, args } },
  });
  const replaced = new Map<string, GraphQLNamedType>([event, mutation].map((type) => [type.name, type]));
  return Object.create(schema, {
    getType: { value: (name: string) => replaced.get(name) ?? schema.getType(name) },
    getMutationType: { value: () => mutation },
    getRootType: {
      value: (operation: string) =>
        operation === "mutation"
          ? mutation
          : schema.getRootType(operation as Parameters<typeof schema.getRootType>[0]),
    },
  });
}
