/** The same field on Fastify with Mercurius and its just-in-time compiler: no limits, no costs, no authentication. */
import Fastify from "fastify";
import mercurius from "mercurius";
import { createQueueReader } from "./read-queues.ts";

const schema = `
  enum QueueState { MISSING EMPTY WAITING PAUSED }
  enum Accuracy { EXACT ESTIMATED LOWER_BOUND INCOMPLETE UNKNOWN }
  scalar DateTime
  type QueueLatency {
    queue: String!
    state: QueueState!
    latency: Float
    depth: Int
    oldestSince: DateTime
    accuracy: Accuracy!
    measuredAt: DateTime!
    stale: Boolean!
  }
  type Query { queueLatency(queues: [String!]!): [QueueLatency!]! }
`;

const readQueues = createQueueReader(process.env.REDIS_URL ?? "");
const app = Fastify();
await app.register(mercurius, {
  schema,
  resolvers: {
    Query: {
      queueLatency: (_: unknown, { queues }: { readonly queues: readonly string[] }) => readQueues(queues),
    },
  },
  // After how many executions a query is compiled.
  jit: 1,
});
console.log(await app.listen({ host: "127.0.0.1", port: 0 }));
