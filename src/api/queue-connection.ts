import { type Health, healths } from "../core/health.ts";
import { compareNames } from "../core/queue-order.ts";
import type { QueueCounts, QueueEdge, QueuePage } from "../core/queue-page.ts";
import { type FieldCost, text } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import { HealthEnum } from "./health.ts";
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
      description: "Whether there are queues behind this page.",
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
      description: "Cursor of the last queue of the page, for `after`; null when it is empty.",
    }),
  }),
});

interface CountOf<T> {
  readonly of: T;
  readonly count: number;
}

const HealthCount = builder.objectRef<CountOf<Health>>("HealthCount").implement({
  description: "Number of queues of one health.",
  fields: (t) => ({
    health: t.expose("of", { type: HealthEnum, description: "The health." }),
    count: t.exposeInt("count", { description: "Number of queues; 0 when there is none." }),
  }),
});

const SourceCount = builder.objectRef<CountOf<string>>("SourceCount").implement({
  description: "Number of queues of one source.",
  fields: (t) => ({
    source: t.exposeString("of", { description: 'The source: "events", or the name of a job system.' }),
    count: t.exposeInt("count", { description: "Number of queues; at least 1." }),
  }),
});

/** The fields for which a page needs its counts, and those for which it needs the health of all queues. */
export const countFields = ["totalCount", "healthCounts", "sourceCounts"];
export const healthCountFields = ["healthCounts"];

/** For the reading of all queues, and for putting them in order or filtering them: up to 10,000. */
export const readingPoints = 15;
/** For the health of all queues. */
export const healthPoints = 20;

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
    totalCount: t.int({
      complexity: (): FieldCost => ({ once: readingPoints }),
      description: `Number of queues that match the arguments, on all pages, of those that were considered: see \`omitted\`. Costs ${readingPoints} points.`,
      resolve: (page) => countsOf(page).total,
    }),
    healthCounts: t.field({
      type: [HealthCount],
      complexity: (): FieldCost => ({ once: readingPoints + healthPoints, items: healths.length }),
      description: `By health, from OK to UNKNOWN, the number of queues that match the arguments but for \`health\`. Costs ${readingPoints + healthPoints} points.`,
      resolve(page) {
        const { byHealth } = countsOf(page);
        if (byHealth === null) throw new Error("a page with counts by health has none");
        return healths.map((of) => ({ of, count: byHealth[of] }));
      },
    }),
    sourceCounts: t.field({
      type: [SourceCount],
      complexity: (): FieldCost => ({ once: readingPoints }),
      description: `By source, in the order of their names, the number of queues that match the arguments but for \`source\`; sources without one are left out. Costs ${readingPoints} points.`,
      resolve: (page) =>
        [...countsOf(page).bySource]
          .map(([of, count]) => ({ of, count }))
          .sort((a, b) => compareNames(a.of, b.of)),
    }),
    measuredAt: t.field({
      type: "DateTime",
      nullable: true,
      description:
        "When all queues were read, for all clients that ask within that second, by Redis's clock. Null when the queues of this page were read for it: in the order of NAME, filtered by no more than `prefix`, with none of the counts.",
      resolve: ({ measuredAtMs }) => (measuredAtMs === null ? null : new Date(measuredAtMs)),
    }),
    omitted: t.exposeInt("omitted", {
      description:
        "Number of known queues that were not considered: they could not be read, or there are more than 10,000, of which those in use are considered. 0 when `measuredAt` is null.",
    }),
  }),
});

function countsOf({ counts }: QueuePage): QueueCounts {
  if (counts === null) throw new Error("a page whose counts are selected has none");
  return counts;
}
