import { isDeepStrictEqual } from "node:util";
import type { GraphQLResolveInfo } from "graphql";
import { AppError } from "../core/errors.ts";
import type { Health } from "../core/health.ts";
import { decodeCursor, encodeCursor } from "../core/queue-order.ts";
import {
  countedOrders,
  forecastOrders,
  isAmong,
  type QueueOrder,
  type QueuePage,
  type QueuePageRequest,
  queueOrders,
} from "../core/queue-page.ts";
import type { QueueSnapshot, QueueState, SnapshotParts } from "../core/snapshot.ts";
import type { FieldCost } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import type { Context } from "./context.ts";
import { describedValues } from "./described-values.ts";
import { HealthEnum } from "./health.ts";
import { checkBounds, pageCost } from "./queue-arguments.ts";
import {
  countFields,
  healthCountFields,
  healthPoints,
  QueueConnection,
  readingPoints,
} from "./queue-connection.ts";
import { QueueStateEnum } from "./queue-latency.ts";
import { selectedParts, selectsAny } from "./selected-parts.ts";

const QueueOrderEnum = builder.enumType("QueueOrder", {
  description:
    "Order of queues. All but NAME and SOURCE are worst first; equal queues are ordered by name. By HEALTH, LATENCY, DEPTH and LATENESS a queue whose number is not known, and then one that is INCOMPLETE, comes before the others: it may be the worst. By counts and forecasts it comes last. Orders other than NAME come from one reading of all queues, at most about a second old; of a queue that did not change, health, counts and forecasts may be ten seconds old.",
  values: describedValues(queueOrders, {
    NAME: "By the bytes of the name.",
    HEALTH:
      "STALLED, FALLING_BEHIND, SLOW, UNKNOWN, OK: what is certain comes before what is not known. Of one health, queues whose latency is null, then INCOMPLETE ones, then the others, the highest `latency / objective` first, which counts as 0 without an objective, and then the highest `latency`.",
    LATENCY:
      "Queues whose latency is null, then INCOMPLETE ones, then the others; the highest `latency` first.",
    DEPTH: "Queues whose depth is null, then INCOMPLETE ones, then the others; the highest `depth` first.",
    LATENESS:
      "Of the queues with an objective those whose latency is null, then INCOMPLETE ones, then the others, the highest `latency / objective` first; at the end queues without an objective, by latency.",
    SOURCE: "By `source`, as names are ordered, by its first twelve bytes.",
    STATE: "PAUSED, WAITING, EMPTY.",
    ACCURACY: "Queues that are `stale`, then UNKNOWN, INCOMPLETE, LOWER_BOUND, ESTIMATED, EXACT ones.",
    ENQUEUED_PER_SECOND:
      "The highest `throughput { enqueuedPerSecond }` first; at the end queues whose source does not report it.",
    DEQUEUED_PER_SECOND:
      "The highest `throughput { dequeuedPerSecond }` first; at the end queues whose source does not report it.",
    WAIT_TIME_P95: "The highest `waitTime { p95 }` first; at the end queues whose source does not report it.",
    BREACH_SECONDS:
      "The soonest `forecast { breachSeconds { likely } }` first; at the end queues for which it is null.",
    DRAIN_SECONDS:
      "Queues whose forecast is `unstable`, then the others, the longest `forecast { drainSeconds { likely } }` first; at the end queues for which it is null.",
  }),
});

const maxPageSize = 1000;
/** As many as are put in an order. */
const maxOffset = 10_000;
/** For the counts, and for a forecast, of all queues. */
const countedPoints = 30;
const forecastPoints = 40;
const maxSearchBytes = 200;

interface QueuesArgs {
  readonly orderBy: QueueOrder;
  readonly reverse: boolean;
  readonly prefix?: string | null | undefined;
  readonly search?: string | null | undefined;
  readonly source?: string | null | undefined;
  readonly state?: readonly QueueState[] | null | undefined;
  readonly health?: readonly Health[] | null | undefined;
  readonly first: number;
  readonly after?: string | null | undefined;
  readonly offset: number;
}

type Argument = Parameters<Parameters<typeof builder.queryField>[1]>[0]["arg"];

const queuesArgs = (arg: Argument) => ({
  orderBy: arg({
    type: QueueOrderEnum,
    required: true,
    defaultValue: "NAME",
    description: "Order of the queues.",
  }),
  reverse: arg.boolean({
    required: true,
    defaultValue: false,
    description:
      "Turn the order round: the best first, names from the end. A cursor goes on in the direction asked.",
  }),
  prefix: arg.string({ description: "Only queues whose names begin with this, such as `faktory/`." }),
  search: arg.string({
    description: `Only queues whose names match: a glob of the whole name, \`*\` for any text and \`?\` for one character; without either, a part of the name. Case matters. At most ${maxSearchBytes} bytes.`,
  }),
  source: arg.string({ description: "Only queues of this `source`, such as `events`." }),
  state: arg({ type: [QueueStateEnum], description: "Only queues in one of these states." }),
  health: arg({
    type: [HealthEnum],
    description: "Only queues in one of these healths.",
  }),
  first: arg.int({
    required: true,
    defaultValue: 50,
    description: `Maximum number of queues, 0 to ${maxPageSize}.`,
  }),
  after: arg.string({
    description:
      "Only queues behind this cursor, an `endCursor` with the same `orderBy`. The pages of one walk rank queues by the instant of its first page: each queue comes once, unless its head or depth changes meanwhile; such a queue may come twice or not at all.",
  }),
  offset: arg.int({
    required: true,
    defaultValue: 0,
    description: `Number of matching queues that are skipped before the page, behind \`after\` if it is given; 0 to ${maxOffset}. It jumps to any row; to walk through all, \`after\` is exact.`,
  }),
});

function costOf(args: QueuesArgs): FieldCost {
  const { first, search } = args;
  checkBounds("first", first, 0, maxPageSize);
  checkBounds("offset", args.offset, 0, maxOffset);
  if (search != null && Buffer.byteLength(search) > maxSearchBytes) {
    throw new AppError("BAD_USER_INPUT", `search: expected at most ${maxSearchBytes} bytes`);
  }
  if (args.after != null) decodeCursor(args.orderBy, args.after);
  const cost = pageCost(first);
  return { ...cost, field: cost.field + extraPoints(requestOf(args)) };
}

function extraPoints(request: QueuePageRequest): number {
  const { orderBy, healths } = request;
  return (
    (isDirect(request) ? 0 : readingPoints) +
    (orderBy === "HEALTH" || healths !== null ? healthPoints : 0) +
    (isAmong(countedOrders, orderBy) ? countedPoints : 0) +
    (isAmong(forecastOrders, orderBy) ? forecastPoints : 0)
  );
}

/** @param info of the field; without it, a page with no counts. */
function requestOf(args: QueuesArgs, info?: GraphQLResolveInfo): QueuePageRequest {
  const { throughput = [], waitTime = [] } = info === undefined ? {} : selectedParts(info);
  return {
    orderBy: args.orderBy,
    reverse: args.reverse,
    prefix: args.prefix || null,
    search: args.search || null,
    source: args.source ?? null,
    states: args.state ?? null,
    healths: args.health ?? null,
    first: args.first,
    after: args.after ?? null,
    offset: args.offset,
    hasCounts: info !== undefined && selectsAny(info, countFields),
    hasHealthCounts: info !== undefined && selectsAny(info, healthCountFields),
    throughput: [...throughput].sort(),
    waitTime: [...waitTime].sort(),
  };
}

const price = `Costs one point for each ten of \`first\`, at least one, and as many again for each \`throughput\`, \`waitTime\`, \`health\` or \`forecast\` of a queue; ${readingPoints} more for another order than NAME, \`reverse\`, \`offset\`, \`search\`, \`source\`, \`state\` or \`health\`, another ${healthPoints} for \`health\` or the order HEALTH, ${countedPoints} for an order by throughput or wait times, and ${forecastPoints} for one by a forecast.`;

builder.queryField("queues", (t) =>
  t.field({
    type: QueueConnection,
    args: queuesArgs(t.arg),
    complexity: costOf,
    description: `The known queues, a page at a time. ${price} Errors: BAD_USER_INPUT.`,
    async resolve(_, args, { tracker, live, share }, info) {
      const request = requestOf(args, info);
      if (isDirect(request)) return readDirectly(tracker, selectedParts(info), request);
      return live.readPage(request, share);
    },
  }),
);

builder.subscriptionField("queues", (t) =>
  t.field({
    type: QueueConnection,
    args: {
      ...queuesArgs(t.arg),
      minIntervalMs: t.arg.int({
        required: true,
        defaultValue: 1000,
        description: "Two pushes are at least this many milliseconds apart; 1000 to 60000.",
      }),
    },
    complexity(args) {
      checkBounds("minIntervalMs", args.minIntervalMs, 1000, 60_000);
      return costOf(args);
    },
    description: `The page at once, then the whole page whenever it or a count that is selected changes, at most every \`minIntervalMs\`. The latency of a queue in which a job waits always changes. A \`forecast\` alone causes no push: that of a queue in which no job waits comes with the next one. A slow reader gets the newest page and skips the others. While Redis does not answer, the last page is pushed once more with every queue \`stale\`. Charged once, when it starts. ${price} Errors: TOO_MANY_SUBSCRIPTIONS, BAD_USER_INPUT.`,
    subscribe: (_, args, { live, share }, info) =>
      live.watchPage(requestOf(args, info), args.minIntervalMs, share),
    resolve: (page) => page,
  }),
);

/** What needs no reading of all queues, since the index is in the order of names. */
function isDirect({ prefix, first, after, throughput, waitTime, ...rest }: QueuePageRequest): boolean {
  return isDeepStrictEqual(rest, directRequest);
}

const directRequest = {
  orderBy: "NAME",
  reverse: false,
  search: null,
  source: null,
  states: null,
  healths: null,
  offset: 0,
  hasCounts: false,
  hasHealthCounts: false,
} satisfies Partial<QueuePageRequest>;

/** A name may be in the index for a moment longer than its queue: a MISSING queue is skipped. */
async function readDirectly(
  tracker: Context["tracker"],
  parts: SnapshotParts,
  { prefix, first, after: cursor }: QueuePageRequest,
): Promise<QueuePage> {
  const snapshots: QueueSnapshot[] = [];
  let after = cursor === null ? null : decodeCursor("NAME", cursor).queue;
  for (;;) {
    const wanted = first - snapshots.length;
    const names = await tracker.list({ prefix: prefix ?? "", after, limit: wanted + 1 });
    const read = await tracker.read(names.slice(0, wanted), parts);
    snapshots.push(...read.filter(({ state }) => state !== "MISSING"));
    const hasMore = names.length > wanted;
    if (!hasMore || snapshots.length === first) return directPage(snapshots, hasMore);
    after = names.at(wanted - 1) ?? null;
  }
}

function directPage(snapshots: readonly QueueSnapshot[], hasMore: boolean): QueuePage {
  const edges = snapshots.map((node) => ({ node, cursor: nameCursor(node.queue) }));
  const endCursor = edges.at(-1)?.cursor ?? null;
  return { edges, hasMore, endCursor, counts: null, measuredAtMs: null, omitted: 0 };
}

function nameCursor(queue: string): string {
  return encodeCursor("NAME", { queue, rank: [], atMs: null });
}
