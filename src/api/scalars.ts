import { GraphQLScalarType } from "graphql";
import { DateTimeResolver } from "graphql-scalars";
import { builder } from "./builder.ts";

const dateTime = new GraphQLScalarType<Date, Date>({
  ...DateTimeResolver.toConfig(),
  description:
    "An instant as RFC 3339 text, such as 2026-11-23T08:15:30.250Z. Given in UTC with milliseconds; taken with any offset.",
});
builder.addScalarType("DateTime", dateTime);
