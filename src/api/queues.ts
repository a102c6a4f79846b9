import { AppError } from "../core/errors.ts";
import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import type { FieldCost } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import type { Context } from "./context.ts";
import { checkBounds, pageCost } from "./queue-arguments.ts";
import { QueueLatencyType } from "./queue-latency.ts";
import { selectedParts } from "./selected-parts.ts";

interface Edge {
  readonly cursor: string;
  readonly node: QueueSnapshot;
}

interface Page {
  readonly edges: readonly Edge[];
  readonly hasMore: boolean;
}

const QueueEdge = builder.objectRef<Edge>("QueueEdge").implement({
  description: "One queue of a page. Free beyond the points of `queues`.",
  fields: (t) => ({
    node: t.expose("node", { type: QueueLatencyType, description: "The queue, as it stands now. Free." }),
    cursor: t.exposeString("cursor", {
      description: "Given as `after`, it asks for what is behind this queue. Free.",
    }),
  }),
});

const PageInfo = builder.objectRef<Page>("PageInfo").implement({
  description: "Where a page lies among all, as Relay's connections tell it.",
  fields: (t) => ({
    hasNextPage: t.exposeBoolean("hasMore", {
      description: "Whether there are queues behind this page. Free.",
    }),
    hasPreviousPage: t.boolean({
      description: "Always false: pages are only read forwards. Free.",
      resolve: () => false,
    }),
    startCursor: t.string({
      nullable: true,
      description: "Cursor of the first queue of the page; null when it is empty. Free.",
      resolve: ({ edges }) => edges.at(0)?.cursor ?? null,
    }),
    endCursor: t.string({
      nullable: true,
      description: "Cursor of the last queue of the page, for `after`; null when it is empty. Free.",
      resolve: ({ edges }) => edges.at(-1)?.cursor ?? null,
    }),
  }),
});

const QueueConnection = builder.objectRef<Page>("QueueConnection").implement({
  description: "A page of queues, ordered by the bytes of their names.",
  fields: (t) => ({
    edges: t.field({
      type: [QueueEdge],
      // The page has declared how many there are.
      complexity: (): FieldCost => ({ items: 1 }),
      description: "The queues of the page, each with its cursor. Free.",
      resolve: ({ edges }) => [...edges],
    }),
    pageInfo: t.field({
      type: PageInfo,
      description: "Where the page lies among all. Free.",
      resolve: (page) => page,
    }),
  }),
});

const mostPerPage = 1000;

builder.queryField("queues", (t) =>
  t.field({
    type: QueueConnection,
    args: {
      prefix: t.arg.string({ description: "Only queues whose names begin with this, such as `faktory/`." }),
      first: t.arg.int({
        required: true,
        defaultValue: 50,
        description: `At most so many, 0 to ${mostPerPage}.`,
      }),
      after: t.arg.string({
        description: "Only queues behind this cursor: the `endCursor` of the page before.",
      }),
    },
    complexity({ first, after }): FieldCost {
      checkBounds("first", first, 0, mostPerPage);
      if (after != null) nameOf(after);
      return pageCost(first);
    },
    description:
      "All queues that are known, by name. Costs one point for each ten of `first`, at least one, and as many again for each `throughput`, `waitTime`, `health` or `forecast`. Errors: BAD_USER_INPUT.",
    async resolve(_, { prefix, first, after }, { tracker }, info) {
      const parts = selectedParts(info);
      const found = await readPage(tracker, parts, {
        prefix: prefix ?? "",
        after: after == null ? null : nameOf(after),
        first,
      });
      const edges = found.snapshots.map((node) => ({ node, cursor: cursorOf(node.queue) }));
      return { edges, hasMore: found.hasMore };
    },
  }),
);

/** A name may stand in the index for a moment longer than its queue: what turns out to be MISSING is passed over. */
async function readPage(
  tracker: Context["tracker"],
  parts: SnapshotParts,
  page: { readonly prefix: string; readonly after: string | null; readonly first: number },
): Promise<{ readonly snapshots: QueueSnapshot[]; readonly hasMore: boolean }> {
  const snapshots: QueueSnapshot[] = [];
  let { after } = page;
  for (;;) {
    const wanted = page.first - snapshots.length;
    const names = await tracker.list({ prefix: page.prefix, after, limit: wanted + 1 });
    const read = await tracker.read(names.slice(0, wanted), parts);
    snapshots.push(...read.filter(({ state }) => state !== "MISSING"));
    const hasMore = names.length > wanted;
    if (!hasMore || snapshots.length === page.first) return { snapshots, hasMore };
    after = names.at(wanted - 1) ?? null;
  }
}

function cursorOf(name: string): string {
  return Buffer.from(name).toString("base64url");
}

function nameOf(cursor: string): string {
  const name = Buffer.from(cursor, "base64url").toString();
  if (name !== "" && cursorOf(name) === cursor) return name;
  throw new AppError("BAD_USER_INPUT", "after: expected the cursor of an edge, or the endCursor of a page");
}
