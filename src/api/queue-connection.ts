import type { QueueEdge, QueuePage } from "../core/queue-page.ts";
import { type FieldCost, text } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import { QueueLatencyType } from "./queue-latency.ts";

/** Of the longest name, in any order. */
const maxCursorBytes = 400;

const QueueEdgeType = builder.objectRef<QueueEdge>("QueueEdge").implement({
  description: "One queue of a page.",
  fields: (t) => ({
    node: t.expose("node", { type: QueueLatencyType, description: "The queue." }),
    cursor: t.exposeString("cursor", {
      complexity: text(maxCursorBytes),
      description: "Given as `after` with the same `orderBy`, it asks for the queues behind this one.",
    }),
  }),
});

const PageInfo = builder.objectRef<QueuePage>("PageInfo").implement({
  description: "Position of a page among all, as in Relay's connections.",
  fields: (t) => ({
    hasNextPage: t.exposeBoolean("hasMore", {
      description: "Whether there are, or may be, queues behind this page.",
    }),
    hasPreviousPage: t.boolean({
      description: "Always false: pages are only read forwards.",
      resolve: () => false,
    }),
    startCursor: t.string({
      complexity: text(maxCursorBytes),
      nullable: true,
      description: "Cursor of the first queue of the page; null when it is empty.",
      resolve: ({ edges }) => edges.at(0)?.cursor ?? null,
    }),
    endCursor: t.exposeString("endCursor", {
      complexity: text(maxCursorBytes),
      nullable: true,
      description:
        "Cursor of the last queue that was considered, for `after`. Without `health` that is the last queue of the page, and null when it is empty.",
    }),
  }),
});

export const QueueConnection = builder.objectRef<QueuePage>("QueueConnection").implement({
  description: "A page of queues.",
  fields: (t) => ({
    edges: t.field({
      type: [QueueEdgeType],
      // The page has declared how many there are.
      complexity: (): FieldCost => ({ items: 1 }),
      description: "The queues of the page, each with its cursor.",
      resolve: ({ edges }) => edges,
    }),
    pageInfo: t.field({
      type: PageInfo,
      description: "Position of the page among all.",
      resolve: (page) => page,
    }),
    measuredAt: t.field({
      type: "DateTime",
      nullable: true,
      description:
        "When all queues were read, for all clients that ask within that second, by Redis's clock. Null when the queues of this page were read for it: in the order of NAME, filtered by no more than `prefix`.",
      resolve: ({ measuredAtMs }) => (measuredAtMs === null ? null : new Date(measuredAtMs)),
    }),
    omitted: t.exposeInt("omitted", {
      description:
        "Number of known queues that were not considered: they could not be read, or there are more than 10,000, of which those in use are considered. 0 when `measuredAt` is null.",
    }),
  }),
});
