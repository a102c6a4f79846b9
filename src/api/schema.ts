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
import "./viewer.ts";
import "./waiting-jobs.ts";

const common =
  "Beside the errors that a field names, it can fail with SERVICE_UNAVAILABLE when Redis does not answer, and a request with THROTTLED or MAX_COST_EXCEEDED.";
builder.queryType({ description: `Read the state of queues and alerts. ${common}` });
builder.mutationType({ description: `Record job events, and administer queues and alerts. ${common}` });
builder.subscriptionType({
  description:
    "Push changes of queues and alerts. A request can be refused with THROTTLED, MAX_COST_EXCEEDED, or SERVICE_UNAVAILABLE when Redis does not answer; a stream that is open stays open meanwhile.",
});

export const schema: GraphQLSchema = builder.toSchema({});

/** The schema as text, sorted, as it is in schema.graphql. */
export function printedSchema(): string {
  return `${printSchema(lexicographicSortSchema(schema))}\n`;
}
