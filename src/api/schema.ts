import { type GraphQLSchema, lexicographicSortSchema, printSchema } from "graphql";
import { builder } from "./builder.ts";
import "./alerts.ts";
import "./events.ts";
import "./health.ts";
import "./history.ts";
import "./node.ts";
import "./queue-latency.ts";
import "./queues.ts";
import "./scalars.ts";
import "./waiting-jobs.ts";

builder.queryType({ description: "Read the state of queues and alerts." });
builder.mutationType({ description: "Record job events, and administer queues and alerts." });
builder.subscriptionType({ description: "Push changes of queues and alerts." });

export const schema: GraphQLSchema = builder.toSchema({});

/** The schema as text, sorted, as it is in schema.graphql. */
export function printedSchema(): string {
  return `${printSchema(lexicographicSortSchema(schema))}\n`;
}
