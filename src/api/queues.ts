import { AppError } from "../core/errors.ts";
import type { Health } from "../core/health.ts";
import { decodeCursor, encodeCursor } from "../core/queue-order.ts";
import { type QueueOrder, type QueuePage, type QueuePageRequest, queueOrders } from "../core/queue-page.ts";
import type { QueueSnapshot, QueueState, SnapshotParts } from "../core/snapshot.ts";
import type { FieldCost } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import type { Context } from "./context.ts";
import { describedValues } from "./described-values.ts";
import { HealthEnum } from "./health.ts";
import { checkBounds, pageCost } from "./queue-arguments.ts";
import { QueueConnection } from "./queue-connection.ts";
import { QueueStateEnum } from "./queue-latency.ts";
import { selectedParts } from "./selected-parts.ts";

const QueueOrderEnum = builder.enumType("QueueOrder", {
  description:
    "Order of queues. All but NAME are worst first; equal queues are ordered by name. A queue whose number is not known, and then one that is INCOMPLETE, comes before the others: it may be the worst. Orders other than NAME come from one reading of all queues, at most about a second old.",
  values: describedValues(queueOrders, {
    NAME: "By the bytes of the name.",
    LATENCY:
      "Queues whose latency is null, then INCOMPLETE ones, then the others; the highest `latency` first.",
    DEPTH: "Queues whose depth is null, then INCOMPLETE ones, then the others; the highest `depth` first.",
    LATENESS:
      "Of the queues with an objective those whose latency is null, then INCOMPLETE ones, then the others, the highest `latency / objective` first; at the end queues without an objective, by latency.",
  }),
});

const maxPageSize = 1000;
/** For the histories that a page by health may have to read. */
const healthPoints = 20;
/** For the reading of all queues, and for putting them in order or filtering them: up to 10,000. */
const readingPoints = 15;
const maxSearchBytes = 200;

interface QueuesArgs {
  readonly orderBy: QueueOrder;
  readonly prefix?: string | null | undefined;
  readonly search?: string | null | undefined;
  readonly source?: string | null | undefined;
  readonly state?: readonly QueueState[] | null | undefined;
  readonly health?: readonly Health[] | null | undefined;
  readonly first: number;
  readonly after?: string | null | undefined;
}

type Argument = Parameters<Parameters<typeof builder.queryField>[1]>[0]["arg"];

const queuesArgs = (arg: Argument) => ({
  orderBy: arg({
    type: QueueOrderEnum,
    required: true,
    defaultValue: "NAME",
    description: "Order of the queues.",
  }),
  prefix: arg.string({ description: "Only queues whose names begin with this, such as `faktory/`." }),
  search: arg.string({
    description: `Only queues whose names match: a glob of the whole name, \`*\` for any text and \`?\` for one character; without either, a part of the name. Case matters. At most ${maxSearchBytes} bytes.`,
  }),
  source: arg.string({ description: "Only queues of this `source`, such as `events`." }),
  state: arg({ type: [QueueStateEnum], description: "Only queues in one of these states." }),
  health: arg({
    type: [HealthEnum],
    description:
      "Only queues in one of these healths. A page reads at most 100 histories for that: it may have fewer queues than `first` while `hasNextPage` is true, and `endCursor` then goes on behind the last queue that was considered.",
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
});

function costOf(args: QueuesArgs): FieldCost {
  const { first, search } = args;
  checkBounds("first", first, 0, maxPageSize);
  if (search != null && Buffer.byteLength(search) > maxSearchBytes) {
    throw new AppError("BAD_USER_INPUT", `search: expected at most ${maxSearchBytes} bytes`);
  }
  if (args.after != null) decodeCursor(args.orderBy, args.after);
  const request = requestOf(args);
  const cost = pageCost(first);
  const extra = (isDirect(request) ? 0 : readingPoints) + (request.healths === null ? 0 : healthPoints);
  return { ...cost, field: cost.field + extra };
}

function requestOf(args: QueuesArgs): QueuePageRequest {
  return {
    orderBy: args.orderBy,
    prefix: args.prefix || null,
    search: args.search || null,
    source: args.source ?? null,
    states: args.state ?? null,
    healths: args.health ?? null,
    first: args.first,
    after: args.after ?? null,
  };
}

const price = `Costs one point for each ten of \`first\`, at least one, and as many again for each \`throughput\`, \`waitTime\`, \`health\` or \`forecast\` of a queue; ${readingPoints} more for another order than NAME, \`search\`, \`source\`, \`state\` or \`health\`, and for \`health\` another ${healthPoints}.`;

builder.queryField("queues", (t) =>
  t.field({
    type: QueueConnection,
    args: queuesArgs(t.arg),
    complexity: costOf,
    description: `The known queues, a page at a time. ${price} Errors: BAD_USER_INPUT.`,
    async resolve(_, args, { tracker, live, share }, info) {
      const request = requestOf(args);
      const parts = selectedParts(info);
      if (isDirect(request)) return readDirectly(tracker, parts, request);
      return withCounts(await live.readPage(request, share), parts, live);
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
    description: `The page at once, then the whole page whenever it changes, at most every \`minIntervalMs\`. The latency of a queue in which a job waits always changes. A slow reader gets the newest page and skips the others. While Redis does not answer, the last page is pushed once more with every queue \`stale\`. Charged once, when it starts. ${price} Errors: TOO_MANY_SUBSCRIPTIONS, BAD_USER_INPUT.`,
    subscribe: (_, args, { live, share }) => live.watchPage(requestOf(args), args.minIntervalMs, share),
    resolve: (page, _, { live }, info) => withCounts(page, selectedParts(info), live),
  }),
);

/** Until the next reading of all queues. */
const holdMs = 900;

async function withCounts(page: QueuePage, parts: SnapshotParts, live: Context["live"]): Promise<QueuePage> {
  if (parts.throughput.size === 0 && parts.waitTime.size === 0) return page;
  const nodes = await live.withCounts(
    page.edges.map(({ node }) => node),
    parts,
    holdMs,
  );
  return { ...page, edges: page.edges.map((edge, i) => ({ ...edge, node: nodes[i] as QueueSnapshot })) };
}

/** What needs no reading of all queues, since the index is in the order of names. */
function isDirect({ orderBy, search, source, states, healths }: QueuePageRequest): boolean {
  return orderBy === "NAME" && search === null && source === null && states === null && healths === null;
}

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
  return { edges, hasMore, endCursor: edges.at(-1)?.cursor ?? null, measuredAtMs: null, omitted: 0 };
}

function nameCursor(queue: string): string {
  return encodeCursor("NAME", { queue, rank: { first: 0, second: 0 }, atMs: null });
}
