import { GraphQLError, GraphQLID, GraphQLScalarType } from "graphql";
import { DateTimeResolver } from "graphql-scalars";
import { builder } from "./builder.ts";

const dateTime = new GraphQLScalarType<Date, string>({
  ...DateTimeResolver.toConfig(),
  // JSON.stringify takes several times as long for a Date.
  serialize: (value) => DateTimeResolver.serialize(value).toISOString(),
  specifiedByURL: "https://scalars.graphql.org/andimarek/date-time.html",
  description:
    "An instant as RFC 3339 text, such as 2026-11-23T08:15:30.250Z. Given in UTC with milliseconds; taken with any offset.",
});
builder.addScalarType("DateTime", dateTime);

/**
 * Refuses integers of JSON beyond 2^53 - 1: JSON.parse has rounded them, and two ids would become one. As a string, or in a document,
 * they keep their digits. Pothos builds every ID as graphql's own scalar, so this changes that one.
 */
const parseId = GraphQLID.parseValue;
GraphQLID.parseValue = (value) => {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return parseId(value);
  const problem = Number.isInteger(value) ? "an integer beyond 2^53 - 1" : "a number that is not an integer";
  throw new GraphQLError(`ID cannot represent ${problem}; send it as a string`);
};
